"""States kept from streams, so that a text that goes on need not be read again from its start.

A state is found only by the very ids that led to it, and a copy of it is exact. So a text is the
same with a kept state as without. Every `INTERVAL` ids a stream passes a mark. A state is kept
under the hash of the ids up to the last mark before it and the few ids behind that mark. A new
stream looks for its own ids, the last mark first, and finds the longest kept beginning wherever an
earlier stream paused or ended. Not thread-safe: the engine's thread alone uses this.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import TypeAlias

from ml.vocabulary import Ids

INTERVAL = 256  # ids; a lone stream reads as many in some 20 ms
OVERHEAD = 500  # bytes that a kept state takes besides its own and those of the ids behind the mark
STATE_BYTES = 64_000_000  # kept unless something else is asked for

Key: TypeAlias = tuple[bytes, bytes]  # hash of the ids up to a mark, and the ids behind it


class Trail:
    """The ids that a stream reads, in order, and their hashes at the marks."""

    def __init__(self, ids: Ids, interval: int) -> None:
        """Begin with the `ids` that are given; those that are sampled follow."""
        self.given = len(ids)
        self.begun = 0  # step of the whole batch at which a decoding row would have read nothing
        self._interval = interval
        self._width = ids.itemsize
        self._ids = bytearray(ids.tobytes())
        self._hash = blake2b(digest_size=32)
        self._marks = [self._hash.digest()]

    def __len__(self) -> int:
        return len(self._ids) // self._width

    def next_mark(self, step: int) -> int:
        """Return the step after `step` at which a decoding row passes a mark."""
        return step + self._interval - (step - self.begun) % self._interval

    def extend(self, ids: Ids) -> None:
        """Add ids that were sampled."""
        self._ids += ids.tobytes()

    def mark(self, index: int) -> bytes:
        """Return the hash of the first `index` intervals."""
        size = self._interval * self._width
        for start in range((len(self._marks) - 1) * size, index * size, size):
            self._hash.update(self._ids[start : start + size])
            self._marks.append(self._hash.digest())
        return self._marks[index]

    def key(self, count: int) -> Key:
        """Return what the state after the first `count` ids is kept under."""
        index = count // self._interval
        behind = self._ids[index * self._interval * self._width : count * self._width]
        return self.mark(index), bytes(behind)

    def keys(self, count: int) -> Iterator[tuple[int, Key]]:
        """Return `count`, its key and those of lower counts back to the mark, highest first."""
        mark, behind = self.key(count)
        for size in range(len(behind), -1, -self._width):
            yield count, (mark, behind[:size])
            count -= 1


class States:
    """Kept states of one version, up to a number of bytes; the least recently used go first."""

    def __init__(self, limit: int, interval: int = INTERVAL) -> None:
        """Keep at most `limit` bytes, 0 for none; the marks are `interval` ids apart."""
        self.size = 0  # bytes
        self.limit = limit
        self.interval = interval
        self._states: OrderedDict[Key, bytes] = OrderedDict()
        self._marks: Counter[bytes] = Counter()  # the states kept behind each mark

    def __len__(self) -> int:
        return len(self._states)

    def keep(self, trail: Trail, count: int, save: Callable[[], bytes]) -> None:
        """Keep what `save` returns as the state after the first `count` ids of `trail`."""
        if not self.limit or not 0 < count <= len(trail):
            return
        key = trail.key(count)
        if key in self._states:
            self._states.move_to_end(key)
            return
        self._states[key] = state = save()
        self._marks[key[0]] += 1
        self.size += _size(key, state)
        while self.size > self.limit:
            self._drop_oldest()

    def longest(self, trail: Trail) -> tuple[int, bytes] | None:
        """Return the kept state that has read most of `trail` but its last id, and how many ids.

        The last id is always left to read, because what follows it is sampled.
        """
        if not self._states:
            return None
        count = len(trail) - 1
        while count >= 0:
            if trail.mark(count // self.interval) in self._marks:
                for found, key in trail.keys(count):
                    if key in self._states:
                        self._states.move_to_end(key)
                        return found, self._states[key]
            count -= count % self.interval + 1
        return None

    def _drop_oldest(self) -> None:
        key, state = self._states.popitem(last=False)
        self.size -= _size(key, state)
        self._marks[key[0]] -= 1
        if not self._marks[key[0]]:
            del self._marks[key[0]]


def _size(key: Key, state: bytes) -> int:
    return len(state) + len(key[1]) + OVERHEAD
