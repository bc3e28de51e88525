"""Static files under hashed names, cached for ever by browsers."""

from __future__ import annotations

from servestatic.storage import CompressedManifestStaticFilesStorage


class HashedStaticStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Also rewrites the imports between ES modules, which Django leaves alone by default."""

    support_js_module_import_aggregation = True
