"""One text from the submit to the last frame, through all real processes."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

import pytest

from tests.stack import Stack, wait_until
from tests.visitor import Visitor, frames_until_end

Frames = list[dict[str, Any]]


def text_of(frames: Frames, start: int = 0) -> str:
    """Return the text in the frames; a gap or an overlap fails the test."""
    text = ""
    for frame in frames:
        if frame["type"] in {"snapshot", "chars"}:
            assert frame["offset"] == start + len(text)
            text += frame["text"]
    return text


def export(visitor: Visitor, generation_id: str) -> dict[str, Any]:
    document: dict[str, Any] = visitor.get(f"/generations/{generation_id}/export.json").json()
    return document


async def test_frames_carry_the_whole_text_and_the_row_says_the_same(stack: Stack) -> None:
    visitor = stack.visitor()
    accepted = visitor.submit(length=1500, seed=11)
    frames = await visitor.frames(accepted["id"])
    text, end = text_of(frames), frames[-1]
    assert frames[0]["type"] == "snapshot"
    assert (frames[0]["id"], frames[0]["length"]) == (accepted["id"], 1500)
    assert len(text) == 1500
    assert end["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert (end["state"], end["finish_reason"], end["length"]) == ("done", "length", 1500)
    assert (
        end["stats"]["first_character"] <= end["stats"]["first_character"] + end["stats"]["writing"]
    )
    row = export(visitor, accepted["id"])
    assert (row["text"], row["state"], row["attempt"]) == (text, "done", 1)


async def test_characters_arrive_while_the_text_is_written(stack: Stack) -> None:
    visitor = stack.visitor()
    frames = await visitor.frames(visitor.submit(length=20_000)["id"])
    live = [frame for frame in frames if frame["type"] == "chars" and frame["surprisal"]]
    assert len(live) >= 3
    assert all(
        len(frame["surprisal"]) == len(frame["text"]) and min(frame["surprisal"]) >= 0
        for frame in live
    )


async def test_a_replay_writes_the_same_text(stack: Stack) -> None:
    visitor = stack.visitor()
    texts = [
        text_of(await visitor.frames(visitor.submit(length=800, seed=2**64 - 1)["id"]))
        for _ in range(2)
    ]
    other = text_of(await visitor.frames(visitor.submit(length=800, seed=5)["id"]))
    assert texts[0] == texts[1] != other


async def test_sixteen_visitors_at_once_each_get_their_own_text(stack: Stack) -> None:
    alone = stack.visitor()
    expected = [
        text_of(await alone.frames(alone.submit(prompt=f"Chapter {n}", length=600, seed=n)["id"]))
        for n in range(16)
    ]
    visitors = [stack.visitor() for _ in range(16)]

    async def one(number: int, visitor: Visitor) -> str:
        ask = {"prompt": f"Chapter {number}", "length": 600, "seed": number}
        accepted = await asyncio.to_thread(lambda: visitor.submit(**ask))
        return text_of(await visitor.frames(accepted["id"]))

    assert (
        await asyncio.gather(*(one(number, visitor) for number, visitor in enumerate(visitors)))
        == expected
    )


async def test_a_reconnect_continues_at_its_offset(stack: Stack) -> None:
    visitor = stack.visitor()
    generation_id = visitor.submit(length=20_000, seed=3)["id"]
    async with visitor.socket(generation_id) as socket:
        seen = [json.loads(await socket.recv())]
        while not text_of(seen):
            seen.append(json.loads(await socket.recv()))
    known = text_of(seen)
    frames = await visitor.frames(generation_id, after=len(known))
    assert frames[0]["offset"] == len(known)
    assert known + text_of(frames, len(known)) == export(visitor, generation_id)["text"]


async def test_two_tabs_show_the_same(stack: Stack) -> None:
    visitor = stack.visitor()
    generation_id = visitor.submit(length=2000)["id"]
    one, two = await asyncio.gather(visitor.frames(generation_id), visitor.frames(generation_id))
    assert text_of(one) == text_of(two)
    assert one[-1] == two[-1]


async def test_an_ended_generation_is_sent_as_snapshot_and_end(stack: Stack) -> None:
    visitor = stack.visitor()
    generation_id = visitor.submit(length=300)["id"]
    text = text_of(await visitor.frames(generation_id))
    assert [frame["type"] for frame in await visitor.frames(generation_id)] == ["snapshot", "end"]
    beyond = await visitor.frames(generation_id, after=10_000)
    assert (beyond[0]["offset"], beyond[0]["text"]) == (len(text), "")


async def test_unknown_characters_are_named_in_the_first_frame_and_in_the_row(stack: Stack) -> None:
    visitor = stack.visitor()
    generation_id = visitor.submit(prompt="“The” ☃ and the ☃ 漢", length=50)["id"]
    frames = await visitor.frames(generation_id)
    assert {frame["unknown_characters"] for frame in frames if frame.get("unknown_characters")} == {
        "☃漢"
    }
    assert export(visitor, generation_id)["unknown_characters"] == "☃漢"


async def test_a_stop_string_ends_the_text_before_it(stack: Stack) -> None:
    visitor = stack.visitor()
    frames = await visitor.frames(visitor.submit(length=5000, seed=4, stop=" the ")["id"])
    assert frames[-1]["finish_reason"] == "stop"
    assert " the " not in text_of(frames)


async def test_a_cancel_over_the_socket_keeps_what_was_written(stack: Stack) -> None:
    visitor = stack.visitor()
    generation_id = visitor.submit(length=20_000)["id"]
    async with visitor.socket(generation_id) as socket:
        frames = [json.loads(await socket.recv())]
        while not text_of(frames):
            frames.append(json.loads(await socket.recv()))
        await socket.send('{"type": "cancel"}')
        frames += await frames_until_end(socket)
    text = text_of(frames)
    assert 0 < len(text) < 20_000
    assert (frames[-1]["state"], frames[-1]["length"]) == ("cancelled", len(text))
    row = export(visitor, generation_id)
    assert (row["state"], row["text"]) == ("cancelled", text)


async def test_a_cancel_by_post_ends_it_for_every_tab(stack: Stack) -> None:
    visitor = stack.visitor()
    accepted = visitor.submit(length=20_000)
    watching = asyncio.create_task(visitor.frames(accepted["id"]))
    answer = await asyncio.to_thread(
        lambda: visitor.post(f"{accepted['url']}cancel/", headers={"Accept": "application/json"})
    )
    assert answer.status_code == 202
    assert (await watching)[-1]["state"] == "cancelled"


async def test_deleting_a_running_generation_ends_it(stack: Stack) -> None:
    visitor = stack.visitor()
    accepted = visitor.submit(length=20_000)
    async with visitor.socket(accepted["id"]) as socket:
        await socket.recv()
        answer = await asyncio.to_thread(
            lambda: visitor.post(
                f"{accepted['url']}delete/", headers={"Accept": "application/json"}
            )
        )
        assert answer.status_code == 204
        await asyncio.wait_for(socket.wait_closed(), 10)
        assert socket.close_code == 4404
    idle = "SELECT 1 FROM generator_worker WHERE active_streams > 0"
    wait_until(lambda: not stack.rows(idle), "the worker lets go of a deleted generation", 15)


async def test_a_waiting_socket_survives_eight_idle_seconds_and_gets_its_queue_position(
    make_stack: Any,
) -> None:
    stack = make_stack("redis", "web")
    visitor = stack.visitor()
    ids = [visitor.submit()["id"] for _ in range(2)]
    async with visitor.socket(ids[1]) as socket:
        snapshot = json.loads(await socket.recv())
        assert (snapshot["state"], snapshot["queue_position"]) == ("queued", 2)
        alive = json.loads(await asyncio.wait_for(socket.recv(), 8))
        assert alive == {"type": "alive", "state": "queued", "queue_position": 2, "note": ""}
        alive = json.loads(await asyncio.wait_for(socket.recv(), 8))
        assert alive["type"] == "alive"
        await socket.send('{"type": "cancel"}')
        assert (await frames_until_end(socket))[-1]["state"] == "cancelled"


@pytest.mark.parametrize(
    "prompt", ["", "\n\n\n", "<script>alert(1)</script>", "a\u0301" * 500, "{{ 7*7 }}"]
)
async def test_any_prompt_is_continued(stack: Stack, prompt: str) -> None:
    visitor = stack.visitor()
    frames = await visitor.frames(visitor.submit(prompt=prompt, length=20)["id"])
    assert len(text_of(frames)) == 20


async def test_a_visitor_who_leaves_finds_the_text_in_the_history(stack: Stack) -> None:
    visitor = stack.visitor()
    generation_id = visitor.submit(length=700, prompt="I shall be gone")["id"]
    wait_until(
        lambda: export(visitor, generation_id)["state"] == "done",
        "it ends without anyone watching",
        20,
    )
    assert "I shall be gone" in visitor.get("/history/").text
