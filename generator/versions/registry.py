"""The registry as the site sees it: mirror it in rows, follow its alias, carry out switches."""

from __future__ import annotations

import logging
import threading
from dataclasses import asdict

from django.conf import settings

from generator.models import ModelVersion, Promotion
from generator.versions import ledger, mirror
from generator.versions.files import version_folder
from ml.versions.entries import RegisteredVersion
from ml.versions.errors import RegistryError, VersionError, VersionRefused
from ml.versions.load import load_engine
from ml.versions.registry import Registry
from ml.versions.version import is_complete, read_version

logger = logging.getLogger(__name__)
# One call at a time, so that switches and the mirror cannot interleave.
_in_use = threading.Lock()
_following = threading.Lock()
MOVED = "The champion alias was moved in the registry."


def registry() -> Registry:
    """Return the registry of the settings."""
    return Registry(settings.MLFLOW_TRACKING_URI)


def look() -> None:
    """Mirror the registry and follow its alias, unless another thread is at it."""
    if not _in_use.acquire(blocking=False):
        return  # waiting would take a thread from housekeeping's other tasks
    try:
        target = sync()
    except RegistryError as error:
        logger.warning("%s", error)
        return
    finally:
        _in_use.release()
    if target and _following.acquire(blocking=False):  # fetching may take a minute
        try:
            follow(target)
        except RegistryError as error:
            logger.warning("%s", error)
        finally:
            _following.release()


def sync() -> ModelVersion | None:
    """Mirror the registry in rows. Return the version to follow if its champion alias was moved."""
    source = registry()
    mirror.versions_mirror(_row(source, version) for version in source.versions())
    champion = source.champion()
    if ledger.promotions_open() or champion is None:
        return None
    return ModelVersion.objects.filter(version=champion, is_live=False).first()


def follow(target: ModelVersion, reason: str = MOVED) -> None:
    """Make the alias's version live if it passes every check; else enter once which one failed.

    Raises RegistryError for a failure that may pass; the next look tries again.
    """
    try:
        if target.problem:
            raise VersionRefused(
                f"version {target.version} of the registry cannot be used: {target.problem}"
            )
        verify(target)
    except (VersionError, VersionRefused) as error:
        ledger.alias_refused(version=target, reason=reason, evidence=str(error))
        return
    with _in_use:
        if registry().champion() == target.version and not ledger.promotions_open():
            ledger.alias_followed(version=target, reason=reason)


def _row(source: Registry, version: RegisteredVersion) -> dict[str, object]:
    row = asdict(version)
    if not version.problem and not (
        source.has_files(version) or (settings.VERSIONS_DIR / version.digest).is_dir()
    ):
        row["problem"] = "its files are not in the registry"
    row["created_at"] = row.pop("created")
    del row["source"]
    return row


def register_bundled() -> list[str]:
    """Register the bundled versions, unless the registry has some; return their titles.

    The version with the best validation loss becomes the champion.
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
    usable = [version for version in registered if not version.problem]
    if usable and source.champion() is None:
        source.set_champion(min(usable, key=_loss).version)
    # Versions that the registry had already are fetched when somebody wants them.
    for version in usable if titles else ():
        if not is_complete(settings.VERSIONS_DIR / version.digest):
            _fetch_if_possible(source, version)
    if target := sync():
        follow(target, reason="The bundled versions were registered.")
    return titles


def _loss(version: RegisteredVersion) -> float:
    return float(version.metrics.get("validation_nats_per_char", float("inf")))


def _fetch_if_possible(source: Registry, version: RegisteredVersion) -> None:
    """Fetch a version's files. A version that cannot be fetched must not stop the others."""
    try:
        source.fetch(version.version, settings.VERSIONS_DIR / version.digest)
    except (VersionError, RegistryError) as error:
        logger.warning("version %s of the registry is not fetched: %s", version.version, error)


def verify(version: ModelVersion, *, anew: bool = False) -> str:
    """Load a version as a worker would, and return which checks it passed.

    Raises VersionError for a check that failed, RegistryError for files that cannot be fetched.
    """
    folder = version_folder(version, anew=anew)
    found = read_version(folder)
    if found.digest != version.digest:
        raise VersionError(f"the files of {version} have another digest than the registry says")
    load_engine(folder, version.digest, max_streams=1, threads=1, step=settings.ENGINE_STEP).close()
    checked = "Files, hashes, shapes, values and the golden text"
    return f"{checked} of {version.digest[:12]} are as they should be."


def carry_out(promotion: Promotion) -> None:
    """Switch to a version that passes every check; else enter in the ledger which one failed.

    The lock is not held while the files are fetched and checked, which may take a minute.
    """
    target = promotion.to_version
    try:
        _check_entry(target)
        evidence = verify(target, anew=True)
        with _in_use:
            if not ledger.promotion_is_open(promotion=promotion):
                return
            registry().set_champion(target.version)
            ledger.promotion_accept(promotion=promotion, evidence=evidence)
    except (VersionError, RegistryError) as error:
        ledger.promotion_refuse(promotion=promotion, evidence=str(error))
        logger.warning("promotion %s refused: %s", promotion.pk, error)
    else:
        logger.info("promotion %s: %s is live", promotion.pk, target)


def _check_entry(version: ModelVersion) -> None:
    """Raise RegistryError unless the registry has the version, with the digest that we mirror."""
    with _in_use:
        entry = registry().version(version.version)
    if entry.digest != version.digest:
        raise VersionRefused(
            f"the digest of version {version.version} was changed in the registry, "
            f"from {version.digest[:12]} to {entry.digest[:12]}"
        )
