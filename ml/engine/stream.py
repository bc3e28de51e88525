"""What the engine is asked for, what it returns, and how stop strings are found."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from ml.engine.probabilities import surprisal
from ml.sampling import Sampling
from ml.vocabulary import Ids, Vocabulary, normalize

START = "\n"  # every stream is fed this first, so that an empty prompt begins a new line


class FinishReason(StrEnum):
    """Why a stream ended. After LENGTH and STOP a text is complete, else it can be resumed."""

    LENGTH = "length"
    STOP = "stop"
    CANCELLED = "cancelled"
    DEADLINE = "deadline"
    DRAINED = "drained"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Request:
    """A text to generate. Equal requests give equal texts, and so does resuming from any part."""

    prompt: str  # raw: the engine normalises it; unknown characters become the unknown symbol
    sampling: Sampling  # its length includes the characters of `text`
    text: str = ""  # what was generated already: sampling goes on at position len(text)
    deadline: float | None = None  # seconds from submit

    def __post_init__(self) -> None:
        """Raise ValueError for a stop string of which normalisation leaves nothing."""
        if not all(normalize(stop) for stop in self.sampling.stop):
            raise ValueError("a stop string must not be empty")

    def prefix(self, vocabulary: Vocabulary) -> Ids:
        """Return the ids, at least one, that the model reads before the first sampled character."""
        return vocabulary.encode(START + normalize(self.prompt) + self.text)


class StopStrings:
    """Finds the first stop string in a text that arrives character by character.

    Each string is searched for with the algorithm of Knuth, Morris and Pratt.
    """

    def __init__(self, strings: tuple[str, ...]) -> None:
        self._strings = [normalize(string) for string in strings]
        self._borders = [_borders(string) for string in self._strings]
        self._matched = [0] * len(strings)

    def feed(self, character: str) -> int:
        """Return the length of the longest stop string that ends with `character`, or 0."""
        found = 0
        for index, string in enumerate(self._strings):
            matched = self._matched[index]
            while matched and string[matched] != character:
                matched = self._borders[index][matched - 1]
            if string[matched] == character:
                matched += 1
            if matched == len(string):
                found = max(found, matched)
                matched = self._borders[index][matched - 1]
            self._matched[index] = matched
        return found

    @property
    def held(self) -> int:
        """How many of the last characters may be the start of a stop string."""
        return max(self._matched, default=0)


def _borders(string: str) -> list[int]:
    """Return for each prefix of `string` its longest border.

    That is the length of the longest proper prefix of it that is also its suffix.
    """
    borders = [0] * len(string)
    matched = 0
    for index in range(1, len(string)):
        while matched and string[matched] != string[index]:
            matched = borders[matched - 1]
        if string[matched] == string[index]:
            matched += 1
        borders[index] = matched
    return borders


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive characters. `offset` counts code points of the generated text."""

    offset: int
    text: str
    surprisal: list[float]  # bits of each character


class Stream:
    """A text being generated: the engine's thread writes; any thread may read, wait and cancel.

    The writer takes no lock. It appends and then increases `_visible`; readers look at nothing
    beyond that.
    """

    def __init__(self, request: Request, wake: Callable[[], None] | None = None) -> None:
        self.request = request
        self.finished = threading.Event()
        self.reason: FinishReason | None = None
        self.error: str | None = None
        self.submitted_at = time.monotonic()
        self.first_character_at: float | None = None
        self.finished_at: float | None = None
        self.deadline_at = (
            math.inf if request.deadline is None else self.submitted_at + request.deadline
        )
        self.cancelled = False
        self._wake = wake
        self._base = request.text
        self._characters: list[str] = []
        self._distances: list[float] = []  # arguments of `surprisal`, which is worked out on demand
        self._totals: list[float] = []
        self._visible = 0
        self._taken = 0
        self._take_lock = threading.Lock()
        self._stops = StopStrings(request.sampling.stop) if request.sampling.stop else None

    @property
    def text(self) -> str:
        """The request's text and what follows, but for what may be the start of a stop string."""
        return self._base + "".join(self._characters[: self._visible])

    @property
    def surprisal(self) -> list[float]:
        """Bits of each character that this stream added to the text of its request."""
        return self._surprisal(0, self._visible)

    def take(self) -> Chunk | None:
        """Return the characters since the last call, or None. After the end it returns the rest."""
        with self._take_lock:
            start, end = self._taken, self._visible
            if start >= end:
                return None
            self._taken = end
            return Chunk(
                len(self._base) + start,
                "".join(self._characters[start:end]),
                self._surprisal(start, end),
            )

    def _surprisal(self, start: int, end: int) -> list[float]:
        bits: list[float] = surprisal(self._distances[start:end], self._totals[start:end]).tolist()
        return bits

    def cancel(self) -> None:
        """Ask the stream to end. It ends within a step, and no character is added after that."""
        self.cancelled = True
        if wake := self._wake:
            wake()

    def wait(self, timeout: float | None = None) -> bool:
        """Return whether the stream has finished, after at most `timeout` seconds."""
        return self.finished.wait(timeout)

    # Only the thread that writes the stream calls the methods below.

    def replay(self) -> FinishReason | None:
        """Return the reason if the stream ends within the request's text, which is then cut."""
        for index, character in enumerate(self._base):
            found = self._stops.feed(character) if self._stops else 0
            if found:
                self._base = self._base[: index + 1 - found]
                return FinishReason.STOP
        if len(self._base) >= self.request.sampling.length:
            self._base = self._base[: self.request.sampling.length]
            return FinishReason.LENGTH
        return None

    def append(self, character: str, distance: float, total: float) -> FinishReason | None:
        """Add a character and the arguments of its surprisal; return the reason if it is the last.

        Raises ValueError if `distance` is not a finite number.
        """
        if not math.isfinite(distance):
            raise ValueError("the model's output is not a finite number")
        self._distances.append(distance)
        self._totals.append(total)
        self._characters.append(character)
        count = len(self._characters)
        length = len(self._base) + count
        if self._stops:
            if found := self._stops.feed(character):
                self._visible = max(0, count - found)
                self._base = self._base[: max(0, length - found)]
                return FinishReason.STOP
            if length < self.request.sampling.length:
                count -= min(count, self._stops.held)
        self._visible = count
        if self.first_character_at is None and count:
            self.first_character_at = time.monotonic()
        return FinishReason.LENGTH if length >= self.request.sampling.length else None

    def sampled(self, start: int, stop: int) -> str:
        """Return characters that this stream sampled, those that are not visible included."""
        return "".join(self._characters[start:stop])

    def finish(self, reason: FinishReason, error: str | None = None) -> None:
        """End the stream and wake the threads that wait for it."""
        self.reason = reason
        self.error = error
        self.finished_at = time.monotonic()
        self._wake = None
        self.finished.set()
