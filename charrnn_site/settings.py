"""All settings, read from the environment once. `.env.example` explains each variable."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import ssl
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from dotenv import load_dotenv

from charrnn_site import env

BASE_DIR = env.readable(Path(__file__).resolve().parent.parent, "The project's folder")
load_dotenv(BASE_DIR / ".env")

from charrnn_site.limits import *  # noqa: E402, F403 (not before .env has been read)

# Where state lives
DATA_DIR = env.path("DATA_DIR", BASE_DIR / "data" / "var", "data/var")
os.umask(0o077)  # it holds texts, sessions and password hashes: no other user may read our files
BUNDLED_MODELS_DIR = BASE_DIR / "data" / "models"


def _kept(name: str, make: Any) -> str:
    """Return a value made once and kept in DATA_DIR, so that all processes agree on it."""
    file = DATA_DIR / name
    try:
        DATA_DIR.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            whole = file.with_name(f"{name}.{os.getpid()}")  # a sibling never reads half a value
            whole.touch(mode=0o600)
            whole.write_text(make())
            with contextlib.suppress(FileExistsError):
                os.link(whole, file)
            whole.unlink()
        return file.read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"DATA_DIR {DATA_DIR} cannot be used ({error.strerror}); choose another folder."
        ) from None


# Web
DEBUG = env.boolean("DEBUG", False)
SECRET_KEY = env.text("SECRET_KEY") or _kept("secret-key", lambda: secrets.token_urlsafe(50))
HOST = env.text("HOST", "127.0.0.1")
PORT = env.integer("PORT", 8000, minimum=1, maximum=65_535)
ALLOWED_HOSTS = env.items("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env.items("CSRF_TRUSTED_ORIGINS")
TRUSTED_PROXIES = env.integer("TRUSTED_PROXIES", 0)  # each adds to X-Forwarded-For
BASE_PATH = env.path_prefix("BASE_PATH")  # "" for the whole host
HTTPS = env.boolean("HTTPS", False)  # served behind TLS: secure cookies, HSTS, redirect

# A browser sends cookies to every port of a host, so copies on one host need cookies of different
# names. The processes of one copy share the key, and so the names.
_COPY = hmac.digest(SECRET_KEY.encode(), b"names of cookies", "sha256").hex()[:8]
SESSION_COOKIE_NAME = f"session-{_COPY}"
CSRF_COOKIE_NAME = f"csrf-{_COPY}"
VISITOR_COOKIE_NAME = f"visitor-{_COPY}"
MESSAGES_COOKIE_NAME = f"messages-{_COPY}"
MESSAGE_STORAGE = "charrnn_site.storage.MessageStorage"

ROOT_URLCONF = "charrnn_site.urls"
ASGI_APPLICATION = "charrnn_site.asgi.application"

INSTALLED_APPS = [
    "daphne",  # before staticfiles: it takes over runserver
    "servestatic.runserver_nostatic",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "generator",
]

MIDDLEWARE = [  # of pages; files under STATIC_URL are served before it, by charrnn_site/pages.py
    "charrnn_site.middleware.CompressionMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "charrnn_site.middleware.ContentSecurityPolicyMiddleware",
    "charrnn_site.middleware.BusyDatabaseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "generator.web.identity.IdentityMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "charrnn_site.context.cookies",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

FORCE_SCRIPT_NAME = BASE_PATH or None
STATIC_URL = f"{BASE_PATH}/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "charrnn_site.storage.HashedStaticStorage"},
}


def SERVESTATIC_ADD_HEADERS_FUNCTION(headers: Any, path: str, url: str) -> None:
    """Give files the header that pages get from SecurityMiddleware, which files do not pass."""
    headers["X-Content-Type-Options"] = "nosniff"


FILE_UPLOAD_PERMISSIONS = None  # the umask decides, also about collected files

SECURE_CSP = {
    "default-src": ["'none'"],
    "script-src": ["'self'"],
    "style-src": ["'self'"],
    "img-src": ["'self'"],
    "font-src": ["'self'"],
    "connect-src": ["'self'"],
    "form-action": ["'self'"],
    "base-uri": ["'none'"],
    "frame-ancestors": ["'none'"],
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = VISITOR_COOKIE_AGE = 60 * 60 * 24 * 365  # visitors keep their history a year
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = f"{BASE_PATH}/"  # other paths of the host are other sites
CSRF_FAILURE_VIEW = "charrnn_site.errors.csrf_failure"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 60 * 60 * 24 * 365 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 100

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "desk"
LOGOUT_REDIRECT_URL = "desk"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"


# Database
def _database_settings(url: str) -> dict[str, Any]:
    """Return what DATABASE_URL says, or without one a file in DATA_DIR."""
    if not url:  # not as a URL: DATA_DIR may hold marks that cut one
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(DATA_DIR / "db.sqlite3")}
    marks = {"#": "%23"} | ({"?": "%3F"} if url.startswith("sqlite:") else {})
    for mark, instead in marks.items():
        if mark in url:  # the name would end there
            raise ImproperlyConfigured(
                f"DATABASE_URL holds a {mark}, at which an address is cut; write {instead} instead."
            )
    try:
        return dict(dj_database_url.parse(url))
    except (dj_database_url.ParseError, dj_database_url.UnknownSchemeError, ValueError):
        raise ImproperlyConfigured(
            "DATABASE_URL is not understood; it looks like postgres://user:password@host:5432/name"
        ) from None


_database = _database_settings(env.text("DATABASE_URL"))
DATABASES: dict[str, Any] = {"default": _database}
if _database["ENGINE"].endswith("sqlite3"):
    # A deferred transaction fails with "locked" at its first write when another process writes; an
    # immediate one waits its turn.
    _database["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }


# Redis: broker, channel layer and stream log; disposable
def _redis_url() -> str:
    """Return REDIS_URL, else the server that `manage.py up` started, else a local default."""
    if url := env.text("REDIS_URL"):
        return url
    written = DATA_DIR / "redis-url"
    return written.read_text().strip() if written.exists() else "redis://127.0.0.1:6379/0"


REDIS_URL = _redis_url()
CHANNEL_LAYERS = {
    "default": {
        # Channels' core layer drops frames beyond 100 for a slow reader. A socket timeout would
        # close idle connections.
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": None}], "prefix": "charrnn"},
    }
}

CELERY_BROKER_URL = REDIS_URL
# Redis, without messages that are not ours.
CELERY_BROKER_TRANSPORT = "generator.redis_store.broker:Transport"
CELERY_BROKER_USE_SSL = (
    {"ssl_cert_reqs": ssl.CERT_REQUIRED} if REDIS_URL.startswith("rediss:") else False
)
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False  # only somebody who has broken into Redis would use it
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
# A failed publish leaves the row queued, and housekeeping sends it again.
CELERY_TASK_PUBLISH_RETRY = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "global_keyprefix": "charrnn:",
    # Seconds, by the workers' own clocks, after which an unconfirmed message comes back. Nothing
    # waits for that: housekeeping sees from the row that a worker died, and sends it again.
    "visibility_timeout": 86_400,
    "socket_connect_timeout": 2,
    "socket_timeout": 2,
    "socket_keepalive": True,
    "max_retries": 1,  # of a publish: the default holds up a submit for 6 s when Redis is away
    "interval_start": 0.1,
    "interval_step": 0,
}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_DEFAULT_QUEUE = "housekeeping"
CELERY_TASK_ROUTES = {"generator.tasks.generate": {"queue": "generate"}}
# Without expiry, which would compare two machines' clocks; ticks that pile up count as one.
CELERY_BEAT_SCHEDULE = {
    "requeue": {"task": "generator.tasks.requeue", "schedule": 2.0},
    "forget-ended": {"task": "generator.tasks.forget_ended", "schedule": 3600.0},
    "registry-sync": {"task": "generator.tasks.registry_sync", "schedule": 10.0},
}

# Models
MLFLOW_TRACKING_URI = env.text("MLFLOW_TRACKING_URI") or f"sqlite:///{DATA_DIR / 'mlflow.db'}"
VERSIONS_DIR = DATA_DIR / "versions"  # files of model versions by digest, fetched from the registry
# Subprocesses that fetch versions, of all workers that share VERSIONS_DIR; each takes 240 MB.
FETCHES_AT_ONCE = 2
FETCH_TIMEOUT = 120.0  # seconds
FETCH_FAILED_KEPT = 4.0  # seconds until a version is fetched again after a failure
FETCH_REFUSED_KEPT = 300.0  # the same after a failure that another try would not change
ENGINE_STEP = env.choice("ENGINE_STEP", "onnx", ("onnx", "torch"))
ENGINE_THREADS = env.integer("ENGINE_THREADS", 2, minimum=1, maximum=256)
# Each stream is a thread of a worker.
ENGINE_MAX_STREAMS = env.integer("ENGINE_MAX_STREAMS", 64, minimum=1, maximum=4_096)
ENGINE_STATES_MB = env.integer("ENGINE_STATES_MB", 64, minimum=0)  # for each version; 0: none
ENGINE_VERSIONS_LOADED = env.integer("ENGINE_VERSIONS_LOADED", 3, minimum=1)

# Logging
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "filters": {"refusals": {"()": "charrnn_site.logs.RefusalsWithoutTraceback"}},
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["refusals"]}
    },
    "root": {
        "handlers": ["console"],
        "level": env.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
    },
    "loggers": {  # a line for each request and each tick would hide the rest
        name: {"level": "WARNING"}
        for name in (
            "daphne.http_protocol",
            "celery.app.trace",
            "celery.beat",
            "celery.worker.strategy",
        )
    },
}
