"""Settings for tests inside the pytest process: an empty state folder, no .env, no servers."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_folder = tempfile.mkdtemp(prefix="charrnn-tests-")
Path(_folder, "static").mkdir()  # empty, but there: its absence is worth a warning
atexit.register(shutil.rmtree, _folder, ignore_errors=True)
for _name in list(os.environ):
    if _name.startswith(("ENGINE_", "MLFLOW_")):
        del os.environ[_name]
os.environ.update(
    PYTHON_DOTENV_DISABLED="1",
    DATA_DIR=_folder,
    DATABASE_URL="",
    MLFLOW_TRACKING_URI="",
    # Refuses connections at once: tests that need Redis belong in tests/integration.
    REDIS_URL="redis://127.0.0.1:1/0",
    SECRET_KEY="only for tests",
    DEBUG="false",
    HTTPS="false",
    ALLOWED_HOSTS="localhost,127.0.0.1,[::1],testserver",
    CSRF_TRUSTED_ORIGINS="",
)

from charrnn_site.settings import *  # noqa: E402, F403
from charrnn_site.settings import CELERY_BROKER_TRANSPORT_OPTIONS, STORAGES  # noqa: E402

CELERY_BROKER_TRANSPORT_OPTIONS["interval_start"] = 0  # before the second try to reach no Redis

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Hashed names need collectstatic; tests/integration has it.
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
