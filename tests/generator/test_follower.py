"""What a follower sends, with a log and a row in memory and a clock that tests set."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Any

import pytest
from django.utils import timezone

from generator.events import Frame
from generator.sockets.follower import ALIVE_EVERY, PIECE, QUIET, Follower
from tests.generator.memory import TEXT, Memory, chars, live


class Case:
    """A follower, where it reads, what it has sent, and the time."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.sent: list[Frame] = []
        self.now = 0.0
        assert memory.generation
        self.follower = Follower(memory.generation.pk, memory, self.send, lambda: self.now)

    async def send(self, frame: Frame) -> None:
        self.sent.append(frame)

    async def start(self, after: int = 0) -> Case:
        assert self.memory.generation
        await self.follower.start(after, self.memory.generation, self.memory.place)
        return self

    def row(self, **fields: Any) -> None:
        for name, value in fields.items():
            setattr(self.memory.generation, name, value)

    @property
    def texts(self) -> list[tuple[int, str]]:
        """The frames with text, each of which must continue the one before."""
        texts = [(f["offset"], f["text"]) for f in self.sent if f["type"] in ("snapshot", "chars")]
        for (offset, text), (following, _) in pairwise(texts):
            assert offset + len(text) == following
        return texts

    @property
    def types(self) -> list[str]:
        return [frame["type"] for frame in self.sent]


async def following(text: str = "", after: int = 0) -> Case:
    return await Case(Memory(text)).start(after)


async def test_the_snapshot_comes_first_and_has_the_text_from_the_offset_on() -> None:
    memory = Memory(TEXT[:20], length=80, unknown_characters="☃", note="Fetching")
    memory.place = 3
    memory.write(0, 10)
    memory.write(10, 30)
    case = await Case(memory).start(after=15)
    assert case.sent == [
        {
            "type": "snapshot",
            "id": str(case.follower.generation_id),
            "offset": 15,
            "text": TEXT[15:30],  # the row's text and what the log has beyond it
            "state": "running",
            "length": 80,
            "unknown_characters": "☃",
            "queue_position": 3,
            "note": "Fetching",
        }
    ]


async def test_an_offset_beyond_the_text_is_its_end() -> None:
    case = await following(TEXT[:20], after=1_000)
    assert case.texts == [(20, "")]


async def test_a_long_text_comes_in_pieces() -> None:
    case = await following("a" * (2 * PIECE + 1))
    assert [len(text) for _, text in case.texts] == [PIECE, PIECE, 1]


async def test_a_frame_that_continues_the_position_is_forwarded_as_it_is() -> None:
    case = await following(TEXT[:5])
    await case.follower.live(live(5, 9))
    assert case.sent[1:] == [chars(5, 9)]


async def test_what_was_sent_is_dropped_and_of_an_overlap_the_rest_is_sent() -> None:
    case = await following(TEXT[:5])
    await case.follower.live(live(0, 5))
    await case.follower.live(live(2, 9))
    assert case.sent[1:] == [chars(5, 9)]


async def test_frames_of_another_attempt_repeat_characters_that_are_dropped() -> None:
    case = await following()
    await case.follower.live(live(0, 10))
    await case.follower.live(live(6, 9, attempt=2))  # from the text saved on
    await case.follower.live(live(9, 14, attempt=2))
    assert case.texts == [(0, ""), (0, TEXT[:10]), (10, TEXT[10:14])]


async def test_a_gap_is_filled_from_the_log() -> None:
    case = await following()
    case.memory.write(0, 6)
    case.memory.write(6, 12)
    case.memory.write(12, 15)
    await case.follower.live(live(12, 15))
    assert case.sent[1:] == [chars(0, 6), chars(6, 12), chars(12, 15)]


async def test_a_gap_that_the_log_has_not_is_filled_from_the_row() -> None:
    case = await following()
    case.row(text=TEXT[:10])
    case.memory.write(8, 12)  # the log lost what was before
    case.memory.write(12, 15)
    await case.follower.live(live(12, 15))
    assert case.texts == [(0, ""), (0, TEXT[:10]), (10, TEXT[10:12]), (12, TEXT[12:15])]


async def test_a_gap_that_nothing_fills_yet_keeps_later_frames_back() -> None:
    case = await following()
    case.memory.write(6, 12)
    await case.follower.live(live(6, 12))
    assert case.texts == [(0, "")]
    case.row(text=TEXT[:7])
    await case.follower.catch_up()
    assert case.texts[1:] == [(0, TEXT[:7]), (7, TEXT[7:12])]


async def test_while_a_gap_stays_log_and_row_are_not_read_for_every_frame() -> None:
    case = await following()
    await case.follower.live(live(6, 12))
    case.row(text=TEXT[:12])
    await case.follower.live(live(12, 14))
    assert case.texts == [(0, "")]
    case.now = 0.5
    await case.follower.live(live(14, 16))
    assert case.texts[1:] == [(0, TEXT[:12])]


async def test_no_more_than_a_window_is_sent_ahead_of_what_the_client_confirms(
    settings: Any,
) -> None:
    settings.SOCKET_WINDOW = 10
    case = await following()
    for offset in range(0, 40, 4):
        case.memory.write(offset, offset + 4)
        await case.follower.live(live(offset, offset + 4))
    assert case.follower.position == 12  # the frame that filled the window is whole
    case.follower.confirm(4)
    await case.follower.go_on()
    assert case.follower.position == 16
    case.follower.confirm(5)
    await case.follower.go_on()
    assert case.follower.position == 16  # that made no room
    case.follower.confirm(16)
    await case.follower.go_on()
    assert case.follower.position == 28
    assert "".join(text for _, text in case.texts) == TEXT[:28]


async def test_a_client_that_confirms_nothing_in_its_turn_is_stalled(
    settings: Any,
) -> None:
    settings.SOCKET_WINDOW, settings.SOCKET_STALLED = 10, 30.0
    case = await following(TEXT[:5])
    case.now = 100.0
    await case.follower.check()
    assert not case.follower.stalled  # there is room, so it is not its turn
    await case.follower.live(live(5, 20))
    case.now = 129.0
    await case.follower.check()
    assert not case.follower.stalled
    case.now = 130.0
    await case.follower.check()
    assert case.follower.stalled
    case.follower.confirm(20)
    assert not case.follower.stalled


async def test_a_second_without_live_frames_makes_it_look_at_log_and_row() -> None:
    case = await following()
    await case.follower.live(live(0, 4))
    case.row(text=TEXT[:10])
    case.now = QUIET / 2
    await case.follower.check()
    assert case.follower.position == 4
    case.now = QUIET
    await case.follower.check()
    assert case.follower.position == 10


async def test_the_first_check_finds_what_was_written_before_it_listened() -> None:
    case = await following()
    case.memory.write(0, 4)
    await case.follower.check()
    assert case.texts == [(0, ""), (0, TEXT[:4])]


async def test_it_says_alive_every_five_seconds_without_characters() -> None:
    case = await following()
    case.row(state="queued", note="No worker is there")
    case.memory.place = 2
    for case.now in (1.0, 2.0, 3.0, 4.0, ALIVE_EVERY, 6.0, 9.0, 2 * ALIVE_EVERY):
        await case.follower.check()
    alive = {
        "type": "alive",
        "state": "queued",
        "queue_position": 2,
        "note": "No worker is there",
    }
    assert case.sent[1:] == [alive, alive]


async def test_characters_take_the_place_of_alive() -> None:
    case = await following()
    case.now = ALIVE_EVERY - 1
    await case.follower.live(live(0, 4))
    case.now = ALIVE_EVERY
    await case.follower.check()
    assert case.types == ["snapshot", "chars"]


async def test_a_change_of_the_row_is_told_at_once() -> None:
    case = await following()
    case.row(state="queued", text=TEXT[:3])
    await case.follower.changed()
    assert case.types == ["snapshot", "chars", "alive"]


async def test_the_end_comes_last_with_the_hash_of_the_whole_text() -> None:
    case = await following(TEXT[:10], after=10)
    case.row(text=TEXT, state="done", finish_reason="length", finished_at=timezone.now())
    await case.follower.changed()
    await case.follower.live(live(10, 20))
    await case.follower.check()
    assert case.texts == [(10, ""), (10, TEXT[10:])]
    end = case.sent[-1]
    assert end["type"] == "end"
    assert end["sha256"] == hashlib.sha256(TEXT.encode()).hexdigest()
    assert (end["state"], end["length"]) == ("done", len(TEXT))


async def test_the_end_waits_for_room_and_is_delivered_once_all_is_confirmed(
    settings: Any,
) -> None:
    settings.SOCKET_WINDOW = PIECE
    case = await following("a" * PIECE)
    case.row(text="a" * (PIECE + 5), state="done")
    await case.follower.changed()
    assert "end" not in case.types
    case.follower.confirm(PIECE)
    await case.follower.go_on()
    assert case.types == ["snapshot", "alive", "chars", "end"]
    assert not case.follower.delivered
    case.follower.confirm(PIECE + 5)
    assert case.follower.delivered


async def test_an_ended_text_is_a_snapshot_and_an_end_whatever_the_log_has() -> None:
    case = Case(Memory(TEXT[:10]))
    case.row(state="cancelled")
    case.memory.write(0, 20)
    await case.start()
    assert case.types == ["snapshot", "end"]
    assert case.texts == [(0, TEXT[:10])]


async def test_with_redis_away_the_row_has_to_do(caplog: pytest.LogCaptureFixture) -> None:
    memory = Memory(TEXT[:5])
    memory.redis_away = True
    case = await Case(memory).start()
    case.row(text=TEXT[:10])
    await case.follower.check()
    memory.redis_away = False
    memory.write(8, 14)
    await case.follower.catch_up()
    assert case.texts == [(0, TEXT[:5]), (5, TEXT[5:10]), (10, TEXT[10:14])]
    assert len(caplog.messages) == 1  # of the outage, not of each try


async def test_with_the_database_away_the_log_has_to_do() -> None:
    case = await following()
    case.memory.database_away = True
    case.memory.write(0, 6)
    await case.follower.check()
    assert case.texts == [(0, ""), (0, TEXT[:6])]
    assert not case.follower.gone


async def test_a_row_that_is_not_there_any_more_is_gone() -> None:
    case = await following()
    case.memory.generation = None
    await case.follower.changed()
    assert case.follower.gone
    assert case.types == ["snapshot"]
