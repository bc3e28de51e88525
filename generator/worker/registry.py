"""The registry as seen from the site: mirroring it into rows, carrying out switches, fetching the files of a version."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from django.conf import settings

from generator import versions
from generator.models import ModelVersion, Promotion
from ml.checkpoint import CheckpointError, read_version
from ml.engine_cache import EngineCache
from ml.registry import RegisteredVersion, Registry, RegistryError

logger = logging.getLogger(__name__)
FETCH_TIMEOUT = 120  # seconds


def registry() -> Registry:
    """Return the registry of the settings. A server keeps artefacts itself; for a local file they lie beside it."""
    local = settings.MLFLOW_TRACKING_URI.startswith("sqlite:")
    return Registry(settings.MLFLOW_TRACKING_URI, settings.DATA_DIR / "mlartifacts" if local else None)


def sync(reason: str = "The champion alias was moved in the registry.") -> None:
    """Mirror the registry into rows, and follow a champion alias that was moved outside of the admin."""
    source = registry()
    versions.versions_mirror(_row(version) for version in source.versions())
    champion = source.champion()
    target = ModelVersion.objects.filter(version=champion, is_live=False).first() if champion else None
    if target is None or versions.promotions_open():
        return
    try:
        verify(target)
    except (CheckpointError, RegistryError) as error:
        versions.alias_refused(version=target, reason=reason, evidence=str(error))
    else:
        versions.alias_followed(version=target, reason=reason)


def _row(version: RegisteredVersion) -> dict[str, object]:
    row = asdict(version)
    row["created_at"] = row.pop("created")
    del row["source"]
    return row


def register_bundled() -> list[str]:
    """Register the versions that come with the product, unless the registry has some; return their titles.

    The best validation loss becomes the champion.
    """
    if ModelVersion.objects.exists():
        return []
    source = registry()
    registered = source.versions()
    titles: list[str] = []
    if not registered:
        folders = sorted(path.parent for path in settings.BUNDLED_MODELS_DIR.glob("*/model.json"))
        for folder in folders:
            registered.append(source.register(folder))
            titles.append(registered[-1].title)
    if registered and source.champion() is None:
        best = min(registered, key=lambda version: version.metrics.get("validation_nats_per_char", float("inf")))
        source.set_champion(best.version)
    for version in registered:
        if not (settings.VERSIONS_DIR / version.digest).exists():
            source.fetch(version.version, settings.VERSIONS_DIR / version.digest)
    sync(reason="The bundled versions were registered.")
    return titles


def version_folder(version: ModelVersion) -> Path:
    """Return the folder with a version's files; one that is not here is fetched by a subprocess, once.

    Raises RegistryError when it cannot be had. The files are verified by whoever loads them.
    """
    folder: Path = settings.VERSIONS_DIR / version.digest
    if not folder.exists():
        command = [sys.executable, "-m", "ml", "fetch", "--version", str(version.version), "--out", str(folder)]
        environment = {**os.environ, "MLFLOW_TRACKING_URI": settings.MLFLOW_TRACKING_URI}
        try:
            done = subprocess.run(
                command, env=environment, cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=FETCH_TIMEOUT
            )
        except subprocess.TimeoutExpired:
            raise RegistryError(f"fetching {version} took longer than {FETCH_TIMEOUT} s") from None
        if done.returncode:
            raise RegistryError(done.stderr.strip().removeprefix("error: ") or f"{version} could not be fetched")
    return folder


def verify(version: ModelVersion) -> str:
    """Load a version as a worker would, check it, and return what was checked. Raises CheckpointError or RegistryError."""
    folder = version_folder(version)
    found = read_version(folder)
    if found.digest != version.digest:
        raise CheckpointError(f"the files of {version} have another digest than the registry says")
    cache = EngineCache(size=1, max_streams=1, threads=1, step=settings.ENGINE_STEP)
    try:
        cache.get(folder, version.digest)
    finally:
        cache.close()
    return f"Files, hashes, shapes, values and the golden text of {version.digest[:12]} are as they should be."


def carry_out(promotion: Promotion) -> None:
    """Switch to a version that passes every check; otherwise say in the ledger which one failed."""
    try:
        evidence = verify(promotion.to_version)
        registry().set_champion(promotion.to_version.version)
    except (CheckpointError, RegistryError) as error:
        versions.promotion_refuse(promotion=promotion, evidence=str(error))
        logger.warning("promotion %s refused: %s", promotion.pk, error)
    else:
        versions.promotion_accept(promotion=promotion, evidence=evidence)
        logger.info("promotion %s: %s is live", promotion.pk, promotion.to_version)
