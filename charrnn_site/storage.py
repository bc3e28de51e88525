"""Storage of static files, under hashed names that browsers may cache for ever, and of messages."""

from __future__ import annotations

from django.conf import settings
from django.contrib.messages.storage.cookie import CookieStorage
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.messages.storage.session import SessionStorage
from servestatic.storage import CompressedManifestStaticFilesStorage


class HashedStaticStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Also hashes the names in imports between ES modules, which Django leaves by default."""

    support_js_module_import_aggregation = True


class _CookieStorage(CookieStorage):
    cookie_name = settings.MESSAGES_COOKIE_NAME


class MessageStorage(FallbackStorage):
    """Django's default, with a cookie that copies on one host do not share."""

    storage_classes = (_CookieStorage, SessionStorage)
