"""Uniform random numbers as a pure function of seed and position.

They come from the counter-based generator Philox4x64-10: there is no state to save, and the number
for a position does not depend on how many were drawn before.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def uniforms(seed: int, position: int, count: int) -> npt.NDArray[np.float64]:
    """Return u(seed, p) in [0, 1) for p = position … position + count - 1.

    u(seed, p) is the upper 53 bits of word p of numpy's Philox (4x64, 10 rounds) with the key
    (seed, 0): word p % 4 of the block with counter p // 4 + 1, because numpy increments the counter
    before it draws.
    """
    block, skipped = divmod(position, 4)
    raw = np.random.Philox(key=seed, counter=block).random_raw(skipped + count)
    return (raw[skipped:] >> np.uint64(11)).astype(np.float64) * 2.0**-53
