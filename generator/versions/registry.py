"""The registry as seen from the site: mirroring it into rows, following its alias, carrying out switches."""

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
    """Mirror the registry into rows; return the version to follow when the champion alias was moved outside of the admin."""
    source = registry()
    mirror.versions_mirror(_row(source, version) for version in source.versions())
    champion = source.champion()
    target = (
        ModelVersion.objects.filter(version=champion, is_live=False).first() if champion else None
    )
    return None if ledger.promotions_open() else target


def follow(
    target: ModelVersion, reason: str = "The champion alias was moved in the registry."
) -> None:
    """Make the version live that the alias points to, if it passes every check; otherwise note once which one failed.

    Raises RegistryError for what may pass: the next look at the alias tries again.
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
    usable = [version for version in registered if not version.problem]
    if usable and source.champion() is None:
        best = min(
            usable,
            key=lambda version: version.metrics.get("validation_nats_per_char", float("inf")),
        )
        source.set_champion(best.version)
    for version in (
        usable if titles else ()
    ):  # of a registry that had some, each is fetched when somebody wants it
        if not is_complete(settings.VERSIONS_DIR / version.digest):
            _fetch_if_possible(source, version)
    if target := sync():
        follow(target, reason="The bundled versions were registered.")
    return titles


def _fetch_if_possible(source: Registry, version: RegisteredVersion) -> None:
    """One version that cannot be had must not keep the others from being served."""
    try:
        source.fetch(version.version, settings.VERSIONS_DIR / version.digest)
    except (VersionError, RegistryError) as error:
        logger.warning("version %s of the registry is not fetched: %s", version.version, error)


def verify(version: ModelVersion, *, anew: bool = False) -> str:
    """Load a version as a worker would, check it, and return what was checked. Raises VersionError or RegistryError."""
    folder = version_folder(version, anew=anew)
    found = read_version(folder)
    if found.digest != version.digest:
        raise VersionError(f"the files of {version} have another digest than the registry says")
    load_engine(folder, version.digest, max_streams=1, threads=1, step=settings.ENGINE_STEP).close()
    return f"Files, hashes, shapes, values and the golden text of {version.digest[:12]} are as they should be."


def carry_out(promotion: Promotion) -> None:
    """Switch to a version that passes every check; otherwise say in the ledger which one failed.

    The registry is free while the files are fetched and checked, which may take a minute.
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
    """Raise RegistryError unless the registry holds the version, with the digest that its texts were written with."""
    with _in_use:
        entry = registry().version(version.version)
    if entry.digest != version.digest:
        raise VersionRefused(
            f"the digest of version {version.version} was changed in the registry, "
            f"from {version.digest[:12]} to {entry.digest[:12]}"
        )
