"""The weights of a version, stored in float16 as `weights.safetensors`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from ml.versions.errors import VersionError
from ml.versions.version import WEIGHTS, Version, parameter_shapes

Arrays = dict[str, npt.NDArray[np.float32]]
HalfArrays = dict[str, npt.NDArray[np.float16]]


def read_weights(version: Version) -> Arrays:
    """Return the weights in float32, by torch's names.

    Raises VersionError for wrong names, shapes or types, and for values that are not finite.
    """
    return {name: tensor.astype(np.float32) for name, tensor in _tensors(version)}


def check_weights(version: Version) -> None:
    """Raise VersionError as `read_weights` does. Holds one tensor in memory at a time."""
    for _ in _tensors(version):
        pass


def _tensors(version: Version) -> Iterator[tuple[str, npt.NDArray[np.float16]]]:
    shapes = parameter_shapes(version.model)
    try:
        with safe_open(version.folder / WEIGHTS, "numpy") as file:
            if names := sorted(set(file.keys()) ^ set(shapes)):
                raise VersionError(
                    f"{WEIGHTS} has other tensors than this architecture: {names[0][:80]!r}"
                )
            for name, shape in shapes.items():
                view = file.get_slice(name)
                found = tuple(view.get_shape())
                if found != shape:
                    raise VersionError(f"{WEIGHTS}: {name} has the shape {found}, expected {shape}")
                if view.get_dtype() != "F16":
                    raise VersionError(f"{WEIGHTS}: {name} is {view.get_dtype()}, expected F16")
                tensor = file.get_tensor(name)
                if not np.isfinite(tensor).all():
                    raise VersionError(
                        f"{WEIGHTS}: {name} holds values that are not finite numbers"
                    )
                yield name, tensor
    except SafetensorError as error:
        raise VersionError(f"{WEIGHTS} is not a safetensors file: {str(error)[:200]}") from None


def half_precision(weights: Mapping[str, npt.NDArray[np.float32]]) -> HalfArrays:
    """Return `weights` as they are stored. Raises VersionError if a value does not fit."""
    halves = {name: tensor.astype(np.float16) for name, tensor in weights.items()}
    for name, tensor in halves.items():
        if not np.isfinite(tensor).all():
            raise VersionError(f"{name} holds values that are not finite numbers in float16")
    return halves


def stored_precision(halves: HalfArrays) -> Arrays:
    """Return stored weights as every reader gets them: rounded to float16, held in float32."""
    return {name: tensor.astype(np.float32) for name, tensor in halves.items()}
