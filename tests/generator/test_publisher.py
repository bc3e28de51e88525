"""How new characters reach Redis: when frames leave, what is refused, and what an outage costs."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from channels.layers import InMemoryChannelLayer
from redis.exceptions import ConnectionError as RedisAway

from generator.events import WORKERS_GROUP, CharsFrame, group_name, parse_socket_message
from generator.worker import cancels
from generator.worker.frames import FIRST_INTERVAL, Frames, Outage, Pace
from generator.worker.publisher import Publisher
from generator.worker.writing import Writing
from tests.generator.streams import stream, write


class Memory:
    """Logs and groups in memory, which refuse what Redis refuses: an entry not above the last."""

    def __init__(self) -> None:
        self.away: Exception | None = None
        self.round_trips: list[int] = []  # frames in each
        self.logs: dict[UUID, list[tuple[int, int, str]]] = {}  # (attempt, offset, text)
        self.sent: list[tuple[str, Any]] = []
        self.expiring: list[UUID] = []
        self.was_asked, self.something_came = asyncio.Event(), asyncio.Event()

    async def append(self, frames: Sequence[tuple[UUID, int, CharsFrame]]) -> list[bool]:
        self._answer()
        self.round_trips.append(len(frames))
        return [self._append(*frame) for frame in frames]

    def _append(self, generation_id: UUID, attempt: int, frame: CharsFrame) -> bool:
        log = self.logs.setdefault(generation_id, [])
        entry = (attempt, frame["offset"], frame["text"])
        if log and entry[:2] <= log[-1][:2]:
            return False
        log.append(entry)
        return True

    async def send(self, messages: Sequence[tuple[str, Any]]) -> None:
        self._answer()
        self.sent += messages
        self.something_came.set()

    async def expire_soon(self, generation_id: UUID) -> None:
        self._answer()
        self.expiring.append(generation_id)

    def _answer(self) -> None:
        self.was_asked.set()
        if self.away:
            raise self.away


@pytest.fixture
def redis() -> Memory:
    return Memory()


@pytest.fixture
def frames(redis: Memory) -> Frames:
    return Frames(redis, Outage())


def writing(text: str = "", *, base: str = "", attempt: int = 1, unknown: str = "") -> Writing:
    return Writing(uuid.uuid4(), attempt, stream(text, base=base), unknown)


def shown(text: str = "") -> Writing:
    """Return a writing whose first frame has been made."""
    made = writing("a" + text)
    made.frames = 1
    return made


def later_attempt(redis: Memory, generation_id: UUID) -> None:
    redis.logs[generation_id] = [(9, 0, "by another worker")]


@asynccontextmanager
async def running(job: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run a job that has no end while the block lasts, which it does for five seconds at most."""
    task = asyncio.create_task(job)
    async with asyncio.timeout(5):
        yield
    task.cancel()


# When frames leave. Moments are numbers here; nobody waits.


def test_all_texts_are_due_together_every_25_ms_and_a_little_more_for_each() -> None:
    pace, texts = Pace(), [shown() for _ in range(3)]
    assert pace.due(100.0, texts) == texts
    assert pace.due(100.028, texts) == []
    assert pace.pause(100.0, texts) == pytest.approx(0.025 + 3 * 0.0012)
    assert pace.due(100.029, texts) == texts


def test_a_crowd_of_64_gets_frames_every_100_ms() -> None:
    pace, texts = Pace(), [shown() for _ in range(64)]
    pace.due(100.0, texts)
    assert pace.pause(100.0, texts) == pytest.approx(0.1, abs=0.005)


def test_the_first_characters_of_a_text_do_not_wait_for_the_others() -> None:
    pace, first, others = Pace(), writing("a"), [shown() for _ in range(3)]
    pace.due(100.0, others)
    assert pace.pause(100.0, [*others, first]) == FIRST_INTERVAL
    assert pace.due(100.004, [*others, first]) == [first]


# What leaves.


async def test_all_texts_leave_in_one_round_trip(frames: Frames, redis: Memory) -> None:
    texts = [writing("abc"), writing("de"), writing()]
    await frames.publish(texts)
    assert redis.round_trips == [2], "one that has nothing new has no frame"
    assert [redis.logs[text.generation_id] for text in texts[:2]] == [
        [(1, 0, "abc")],
        [(1, 0, "de")],
    ]


async def test_frames_continue_each_other_and_the_text_of_an_earlier_attempt(
    frames: Frames, redis: Memory
) -> None:
    text = writing("de", base="abc", attempt=2)
    await frames.publish([text])
    write(text.stream, "f")
    await frames.publish([text])
    assert redis.logs[text.generation_id] == [(2, 3, "de"), (2, 5, "f")]


async def test_sockets_get_what_the_log_got(frames: Frames, redis: Memory) -> None:
    text = writing("abc", attempt=3)
    await frames.publish([text])
    [(group, message)] = redis.sent
    assert group == group_name(text.generation_id)
    assert parse_socket_message(message) == message
    assert (message["attempt"], message["frame"]["offset"], message["frame"]["text"]) == (
        3,
        0,
        "abc",
    )
    assert len(message["frame"]["surprisal"]) == 3


async def test_only_the_first_frame_tells_unknown_characters(frames: Frames, redis: Memory) -> None:
    text = writing("a", unknown="é")
    for _ in range(2):
        await frames.publish([text])
        write(text.stream, "b")
    told = [message["frame"].get("unknown_characters") for _, message in redis.sent]
    assert told == ["é", None]


async def test_a_refused_frame_ends_its_text_and_no_other(frames: Frames, redis: Memory) -> None:
    overtaken, going_on = writing("abc"), writing("abc")
    later_attempt(redis, overtaken.generation_id)
    await frames.publish([overtaken, going_on])
    assert (overtaken.stream.cancelled, going_on.stream.cancelled) == (True, False)
    assert [group for group, _ in redis.sent] == [group_name(going_on.generation_id)]
    assert redis.logs[overtaken.generation_id] == [(9, 0, "by another worker")]


# Without Redis.


@pytest.mark.parametrize("error", [RedisAway("refused"), TimeoutError(), OSError("reset")])
async def test_an_outage_costs_frames_and_no_text(
    frames: Frames, redis: Memory, error: Exception
) -> None:
    text = writing("abc")
    redis.away = error
    await frames.publish([text])
    assert (redis.logs, redis.sent, text.stream.cancelled) == ({}, [], False)
    redis.away = None
    write(text.stream, "de")
    await frames.publish([text])
    assert redis.logs[text.generation_id] == [(1, 3, "de")], "the offset tells of the gap"
    assert text.progress().text == "abcde", "the row gets all"


async def test_an_outage_is_logged_once_and_the_next_one_again(
    frames: Frames, redis: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    text = writing()
    for redis.away in (RedisAway("1"), RedisAway("2"), None, RedisAway("3"), RedisAway("4")):
        write(text.stream, "a")
        await frames.publish([text])
    assert [str(record.args[0]) for record in caplog.records if record.args] == ["1", "3"]


# Without end.


async def test_what_is_added_is_published_and_the_rest_of_it_at_its_end(
    frames: Frames, redis: Memory
) -> None:
    text = writing("abc")
    async with running(frames.run()):
        frames.add(text)
        await redis.something_came.wait()
        write(text.stream, "de")
        await frames.finish(text)
    assert [entry[1:] for entry in redis.logs[text.generation_id]] == [(0, "abc"), (3, "de")]


async def test_publishing_goes_on_after_an_error_of_any_kind(
    frames: Frames, redis: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    text = writing("abc")
    redis.away = ValueError("nobody expected this")
    async with running(frames.run()):
        frames.add(text)
        await redis.was_asked.wait()
        redis.away = None
        write(text.stream, "de")
        await redis.something_came.wait()
    assert redis.logs[text.generation_id] == [(1, 3, "de")]
    assert "nobody expected this" in caplog.text


# Cancels.


class Layer(InMemoryChannelLayer):
    """A layer whose server may be away at the first tries."""

    def __init__(self, refusals: int = 0) -> None:
        super().__init__()
        self.refusals = refusals
        self.channels_made = 0
        self.listening = asyncio.Event()

    async def new_channel(self, prefix: str = "specific") -> Any:
        self.channels_made += 1
        return await super().new_channel(prefix)

    async def group_add(self, group: str, channel: str) -> None:
        if self.refusals:
            self.refusals -= 1
            raise RedisAway("refused")
        await super().group_add(group, channel)
        self.listening.set()


def cancel(generation_id: UUID | str) -> dict[str, str]:
    return {"type": "generation.cancel", "id": str(generation_id)}


async def test_a_cancel_is_obeyed_and_junk_before_it_is_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    layer, heard = Layer(), asyncio.Queue[UUID]()
    generation_id = uuid.uuid4()
    async with running(cancels.listen(layer, heard.put_nowait, print)):
        await layer.listening.wait()
        for message in (cancel("no id"), {"type": "nothing"}, cancel(generation_id)):
            await layer.group_send(WORKERS_GROUP, message)
        assert await heard.get() == generation_id
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "rejected a message to the workers"
    ] * 2


async def test_listening_is_tried_again_with_the_same_channel() -> None:
    layer, outages = Layer(refusals=2), list[Exception]()
    async with running(cancels.listen(layer, print, outages.append, pause=0)):
        await layer.listening.wait()
    assert [str(error) for error in outages] == ["refused", "refused"]
    assert layer.channels_made == 1


# From other threads.


@pytest.fixture
async def publisher(redis: Memory) -> Publisher:
    made = Publisher(redis, asyncio.get_running_loop())
    made.start()
    return made


async def test_a_flush_returns_when_the_rest_is_published(
    publisher: Publisher, redis: Memory
) -> None:
    text = writing("abc")
    await asyncio.to_thread(publisher.add, text)
    write(text.stream, "de")
    await asyncio.to_thread(publisher.flush, text)
    assert "".join(entry[2] for entry in redis.logs[text.generation_id]) == "abcde"


async def test_after_the_end_the_log_goes_and_sockets_read_the_row(
    publisher: Publisher, redis: Memory
) -> None:
    generation_id = uuid.uuid4()
    await asyncio.to_thread(publisher.let_go, generation_id)
    await asyncio.to_thread(publisher.changed, generation_id)
    assert redis.expiring == [generation_id]
    assert redis.sent == [(group_name(generation_id), {"type": "generation.changed"})]


@pytest.mark.parametrize("call", ["flush", "let_go", "changed"])
async def test_no_call_raises_when_redis_is_away(
    publisher: Publisher, redis: Memory, call: str, caplog: pytest.LogCaptureFixture
) -> None:
    redis.away = RedisAway("refused")
    about = writing("abc") if call == "flush" else uuid.uuid4()
    await asyncio.to_thread(getattr(publisher, call), about)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_whoever_listens_hears_of_cancels(publisher: Publisher) -> None:
    layer, heard = Layer(), asyncio.Queue[UUID]()
    publisher.listen(layer, heard.put_nowait)
    generation_id = uuid.uuid4()
    async with asyncio.timeout(5):
        await layer.listening.wait()
        await layer.group_send(WORKERS_GROUP, cancel(generation_id))
        assert await heard.get() == generation_id
