"""A text that goes on three times: each part is what its own definition says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ml.engine.offline import generate
from ml.engine.stream import Request
from ml.sampling import Sampling
from ml.versions.load import load_step
from ml.versions.version import read_version
from tests.stack import Stack

# What each part is asked for, and the `typed` text before it.
PARTS: tuple[dict[str, Any], ...] = (
    {"length": 150, "typed": ""},
    {"length": 40, "typed": " But \n", "temperature": 0.0},
    {"length": 90, "typed": "", "seed": 2**64 - 1, "top_k": 12, "top_p": 0.9, "stop": []},
)


async def test_each_part_is_the_text_of_its_manuscript_parameters_and_seed(stack: Stack) -> None:
    visitor = stack.visitor()
    accepted = visitor.submit(length=120, seed=7)
    await visitor.frames(accepted["id"])
    rows = [visitor.get(f"{accepted['url']}export.json").json()]
    for asked in PARTS:
        answer = visitor.post(
            f"{accepted['url']}continue/", json=asked, headers={"Accept": "application/json"}
        )
        assert answer.status_code == 201, answer.text
        accepted = answer.json()
        await visitor.frames(accepted["id"])
        rows.append(visitor.get(f"{accepted['url']}export.json").json())

    version = read_version(Path(stack.data_dir, "versions", rows[0]["model"]["digest"]))
    step = load_step(version, rows=1, threads=1)
    manuscript = "It was a dark"
    for row, typed in zip(rows, ["", *(part["typed"] for part in PARTS)], strict=True):
        manuscript += typed
        sampling = Sampling(
            length=row["length"],
            temperature=row["temperature"],
            top_k=row["top_k"],
            top_p=row["top_p"],
            stop=tuple(row["stop"]),
            seed=int(row["seed"]),
        )
        request = Request(manuscript, sampling)
        assert row["prompt"] == manuscript
        assert row["text"] == generate(step, version.vocabulary, request).text
        manuscript += row["text"]

    # A part alone, in the hands of somebody who never saw the others.
    again = visitor.post(f"{accepted['url']}again/", {"seed": "same"})
    await visitor.frames(again.url.rstrip("/").rpartition("/")[2])
    assert 'data-verdict="identical"' in visitor.get(again.url.removeprefix(stack.base_url)).text
