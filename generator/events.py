"""Messages between processes: their names, their shapes, and what a browser may send.

Offsets count code points.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import IntEnum
from typing import Any, Literal, NotRequired, TypedDict
from urllib.parse import parse_qs
from uuid import UUID

from generator.models import Generation, Owner

WORKERS_GROUP = "workers"
OFFSET_LIMIT = 10**9


def group_name(generation_id: UUID) -> str:
    """Return the channel-layer group of the sockets that watch a generation."""
    return f"generation.{generation_id.hex}"


def owner_group(owner: Owner) -> str:
    """Return the channel-layer group of an owner's sockets."""
    return f"owner.user.{owner.user_id}" if owner.user_id else f"owner.visitor.{owner.visitor}"


class SnapshotFrame(TypedDict):
    """The first frame on a socket: the text from `offset` on, as far as it is written."""

    type: Literal["snapshot"]
    id: str
    offset: int
    text: str
    state: str
    length: int  # characters asked for
    unknown_characters: str
    queue_position: int | None
    note: str  # tells people why no character comes yet


class CharsFrame(TypedDict):
    """New characters. `surprisal` has one number for each, in bits."""

    type: Literal["chars"]
    offset: int
    text: str
    surprisal: list[float]
    unknown_characters: NotRequired[str]  # in the prompt; only in the first frame of an attempt


class Stats(TypedDict):
    """Timings in seconds; None if it has not come to that."""

    queued: float | None
    first_character: float | None
    writing: float | None
    characters_per_second: float | None


class EndFrame(TypedDict):
    """The last frame. `length` and `sha256` are of the whole text."""

    type: Literal["end"]
    state: str
    finish_reason: str
    error: str
    length: int
    sha256: str
    stats: Stats


class AliveFrame(TypedDict):
    """Sent every 5 s without characters: the server is there, and the generation waits or runs."""

    type: Literal["alive"]
    state: str
    queue_position: int | None
    note: str


class ErrorFrame(TypedDict):
    """The client's message was not understood."""

    type: Literal["error"]
    code: str
    message: str


Frame = SnapshotFrame | CharsFrame | EndFrame | AliveFrame | ErrorFrame


class CloseCode(IntEnum):
    """Why the server closes a socket."""

    ENDED = 1000  # all is said
    BAD_MESSAGES = 4400
    NOT_SIGNED_IN = 4401  # or signed in as another by now
    NOT_YOURS = 4404  # or there is no such generation
    STALLED = 4408  # nothing was confirmed for too long
    TOO_MANY = 4429  # sockets or messages
    BUSY = 4503  # the database is locked or away


class FrameMessage(TypedDict):
    """Worker → consumers, through the channel layer: one frame of an attempt."""

    type: Literal["generation.frame"]
    attempt: int
    frame: CharsFrame


class ChangedMessage(TypedDict):
    """Any process → consumers: the row's state has changed; read it."""

    type: Literal["generation.changed"]


class OwnerChangedMessage(TypedDict):
    """Any process → consumers: the owner has signed in or out somewhere; check who is asking."""

    type: Literal["owner.changed"]


class CancelMessage(TypedDict):
    """Any process → workers: stop this generation if you are writing it."""

    type: Literal["generation.cancel"]
    id: str


def parse_cancel(message: object) -> UUID:
    """Return the id in a CancelMessage. Raises ValueError for any other message."""
    match message:
        case {"type": "generation.cancel", "id": str(name)}:
            return UUID(name)
    raise ValueError("it is not a cancel message")


SocketMessage = FrameMessage | ChangedMessage | OwnerChangedMessage


def parse_socket_message(message: Any) -> SocketMessage:
    """Return a message to the sockets of a generation. Raises ValueError for any other message."""
    match message:
        case {"type": "generation.changed"}:
            return {"type": "generation.changed"}
        case {"type": "owner.changed"}:
            return {"type": "owner.changed"}
        case {
            "type": "generation.frame",
            "attempt": int(),
            "frame": {"offset": int(offset), "text": str(text), "surprisal": list(bits)},
        }:
            if offset < 0 or len(text) != len(bits):
                raise ValueError("the frame's numbers do not fit its text")
            known: FrameMessage = message
            return known
    raise ValueError("it is neither a frame nor a notice of a change")


class ClientCancel(TypedDict):
    """Browser → socket: stop the generation."""

    type: Literal["cancel"]


class ClientAck(TypedDict):
    """Browser → consumer: everything up to `offset` has arrived.

    A client that never sends it gets one window of characters.
    """

    type: Literal["ack"]
    offset: int


class ClientError(Exception):
    """A client's message that cannot be understood."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.frame: ErrorFrame = {"type": "error", "code": code, "message": message}


def parse_offset(query_string: bytes) -> int:
    """Return the `after` of a socket's address, or 0. Raises ClientError if it is invalid."""
    value = parse_qs(query_string.decode("latin-1")).get("after", ["0"])[0]
    if value.isascii() and value.isdecimal() and len(value) < len(str(OFFSET_LIMIT)):
        return int(value)
    raise ClientError("bad_offset", "`after` is a whole number of characters, 0 or more.")


def parse_client_message(text: str | None, max_bytes: int) -> ClientCancel | ClientAck:
    """Return a client's message. Raises ClientError for anything else."""
    if text is None:
        raise ClientError("binary", "Messages are JSON text, not binary.")
    if len(text.encode("utf-8", "surrogatepass")) > max_bytes:
        raise ClientError("too_large", f"A message has at most {max_bytes} bytes.")
    try:
        message = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError):
        raise ClientError("bad_json", "That is not a JSON message.") from None
    match message:
        case {"type": "cancel"}:
            return {"type": "cancel"}
        case {"type": "ack", "offset": int(offset)} if (
            not isinstance(offset, bool) and 0 <= offset < OFFSET_LIMIT
        ):
            return {"type": "ack", "offset": offset}
        case {"type": "ack"}:
            raise ClientError("bad_offset", "`offset` is a whole number of characters, 0 or more.")
    raise ClientError(
        "unknown_type", 'Understood are {"type": "cancel"} and {"type": "ack", "offset": 0}.'
    )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    message = dict(pairs)
    if len(message) != len(pairs):
        raise ValueError("a key occurs twice")
    return message


def snapshot_frame(
    generation: Generation, place: int | None, offset: int, text: str
) -> SnapshotFrame:
    """Return the first frame, with `text` from `offset` on. `place` is that in the queue."""
    return {
        "type": "snapshot",
        "id": str(generation.pk),
        "offset": offset,
        "text": text,
        "state": generation.state,
        "length": generation.length,
        "unknown_characters": generation.unknown_characters,
        "queue_position": place,
        "note": generation.note,
    }


def alive_frame(generation: Generation, place: int | None) -> AliveFrame:
    """Return the frame that tells the state of a generation. `place` is that in the queue."""
    return {
        "type": "alive",
        "state": generation.state,
        "queue_position": place,
        "note": generation.note,
    }


def end_frame(generation: Generation) -> EndFrame:
    """Return the last frame of an ended generation."""
    return {
        "type": "end",
        "state": generation.state,
        "finish_reason": generation.finish_reason,
        "error": generation.error,
        "length": len(generation.text),
        "sha256": generation.sha256,
        "stats": stats(generation),
    }


def stats(generation: Generation) -> Stats:
    """Return the timings of a generation."""

    def seconds(start: Any, end: Any) -> float | None:
        return round((end - start).total_seconds(), 3) if start and end else None

    writing = seconds(generation.first_character_at, generation.finished_at)
    return {
        "queued": seconds(generation.created_at, generation.started_at),
        "first_character": seconds(generation.created_at, generation.first_character_at),
        "writing": writing,
        "characters_per_second": round(len(generation.text) / writing) if writing else None,
    }


def part_beyond(frame: CharsFrame, offset: int) -> CharsFrame | None:
    """Return the part of a frame from `offset` on; None when all of it lies before.

    Characters at one offset are equal in all frames of a generation, so overlaps need no check.
    """
    known = offset - frame["offset"]
    if known >= len(frame["text"]):
        return None
    if known <= 0:
        return frame
    return {
        **frame,
        "offset": offset,
        "text": frame["text"][known:],
        "surprisal": frame["surprisal"][known:],
    }


def text_with(text: str, frames: Iterable[CharsFrame]) -> str:
    """Return a text, such as a row holds, with what frames have beyond it, up to the first gap."""
    for frame in frames:
        if frame["offset"] > len(text):
            break
        if part := part_beyond(frame, len(text)):
            text += part["text"]
    return text
