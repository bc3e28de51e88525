"""Versions that must not be let in: each is refused with a sentence and at no cost.

Nothing of it is executed, and next to no memory is taken. A case is a folder that was tampered
with (tampering.py). A separate process lets in first a good version and then the bad one, as the
product does.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ml.versions.errors import VersionError
from ml.versions.registry import Registry
from ml.versions.version import Version
from ml.vocabulary import UNKNOWN
from tests.ml.conftest import SYMBOLS
from tests.ml.tampering import (
    GRAPH,
    WEIGHTS,
    Tamper,
    allocate,
    architecture,
    broadcast,
    description,
    files,
    graph,
    header,
    huge_file,
    link,
    one_more_file,
    overlap_in_place,
    read_file,
    replace_file,
    replace_text,
    title,
    vocabulary,
    weights,
)

GROWTH = 16 * 1024  # KiB

# Lets in two folders, as registry.py and a worker do, and measures the peak memory of the
# second.
DOOR = """
import hashlib, json, re, sys
from pathlib import Path
from ml.versions.errors import VersionError
from ml.versions.graph import check_step_graph
from ml.versions.load import load_engine
from ml.versions.version import read_version

def let_in(folder):
    try:
        check_step_graph(read_version(folder))
        digest = hashlib.sha256((folder / "model.json").read_bytes()).hexdigest()
        load_engine(folder, digest, max_streams=1, threads=1).close()
    except VersionError as error:
        return str(error)
    return ""

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

good = let_in(Path(sys.argv[1]))
Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is held now
before = peak()
said = let_in(Path(sys.argv[2]))
print(json.dumps({"good": good, "said": said, "grew": peak() - before}))
"""


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("exploded"),)


EVIL = "from pathlib import Path\nPath('exploded').touch()\n"


# name → what is done to a good version → what the sentence says
CASES: dict[str, tuple[Tamper, str]] = {
    "a pickle named weights.safetensors": (weights(pickle.dumps(Bomb())), "not a safetensors file"),
    "a pickle named step.onnx": (
        lambda folder: replace_file(folder, GRAPH, pickle.dumps(Bomb())),
        "step.onnx is not the graph",
    ),
    "a pickle named model.json": (
        description(pickle.dumps(Bomb())),
        "model.json is not a description",
    ),
    "safetensors: empty": (weights(b""), "not a safetensors file"),
    "safetensors: one byte": (weights(b"\x10"), "not a safetensors file"),
    "safetensors: truncated header": (weights(header((8, 0, 16))[:20]), "not a safetensors file"),
    "safetensors: header of 2^62 bytes": (
        weights((2**62).to_bytes(8, "little") + b"{}"),
        "not a safetensors file",
    ),
    "safetensors: overlapping tensors": (
        weights(header((8, 0, 16), (4, 4, 12))),
        "not a safetensors file",
    ),
    "safetensors: the right tensors, overlapping": (overlap_in_place, "not a safetensors file"),
    "safetensors: beyond the end": (weights(header((2**40, 0, 2**41))), "not a safetensors file"),
    "safetensors: 10 GB": (huge_file(WEIGHTS), "too many for this architecture"),
    "hidden size 10^9": (
        architecture(hidden_size=10**9),
        "hidden_size must be a whole number from 1 to 4096",
    ),
    "10^9 layers": (
        architecture(num_layers=10**9),
        "num_layers must be a whole number from 1 to 8",
    ),
    "hidden size of another model": (architecture(hidden_size=4096), "shape"),
    "duplicate vocabulary entries": (
        vocabulary(UNKNOWN + "aa" + SYMBOLS[3:]),
        "names a symbol twice",
    ),
    "vocabulary of 100,000": (vocabulary(UNKNOWN + "a" * 99_999), "2 to 4096 symbols"),
    "half of a character pair in the vocabulary": (
        vocabulary(UNKNOWN + "\ud83d" + SYMBOLS[2:]),
        "half of a character pair",
    ),
    "NUL in the vocabulary": (vocabulary(UNKNOWN + "\0" + SYMBOLS[2:]), "NUL"),
    "a title of 201 characters": (title("x" * 201), "the title must be one line"),
    "a title with a lone surrogate": (title("\ud83d"), "the title must be one line"),
    "a metric beyond a float": (
        lambda folder: replace_text(
            folder, '"validation_nats_per_char": 3.0', '"validation_nats_per_char": 1e999'
        ),
        "too large for a number",
    ),
    "an extra file": (files(extra_dot_txt="hello"), "extra.txt"),
    "a hidden file": (files(_dot_hidden="hello"), ".hidden"),
    "an MLmodel that names a loader module": (
        files(MLmodel="flavors: {python_function: {loader_module: evil}}", evil_dot_py=EVIL),
        "MLmodel",
    ),
    "code beside the weights": (files(sitecustomize_dot_py=EVIL), "sitecustomize.py"),
    "a path with ..": (one_more_file("../secret"), "no part of a version"),
    "an absolute path": (one_more_file("/etc/passwd"), "no part of a version"),
    "a link out of the folder": (link, "not a regular file"),
    "model.json: 10 GB": (huge_file("model.json"), "larger than"),
    "model.json: nothing but brackets": (
        description(b'{"format": [' + b"[]," * 66_000 + b"0]}"),
        "format",
    ),
    "model.json: 100,000 nested brackets": (description(b"[" * 100_000), "model.json"),
    "step graph: 4 GB from one number": (graph(allocate), "step.onnx is not the graph"),
    "step graph: 3.6 GB from two vectors": (graph(broadcast), "step.onnx is not the graph"),
    "step graph: a file by ..": (
        graph(read_file("../../etc/passwd")),
        "step.onnx is not the graph",
    ),
    "step graph: a file of the working folder": (
        graph(read_file("secret-key")),
        "step.onnx is not the graph",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_with_a_sentence(version: Version, version_copy: Path, name: str) -> None:
    tamper, reason = CASES[name]
    tamper(version_copy)
    (version_copy.parent / "secret-key").write_text("a secret")
    command = [sys.executable, "-c", DOOR, str(version.folder), str(version_copy)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        command,
        env=environment,
        cwd=version_copy.parent,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    print(f"\n{name}: {result['said']} (+{result['grew'] / 1024:.1f} MiB)")
    assert result["good"] == ""
    assert reason in result["said"]
    assert "\n" not in result["said"]
    assert result["grew"] < GROWTH
    assert not [
        path for folder in (version_copy, version_copy.parent) for path in folder.glob("exploded*")
    ]


def test_an_exploding_pickle_would_be_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Bomb()))
    assert (tmp_path / "exploded").exists()


def test_no_graph_but_ours_is_registered(version_copy: Path, tmp_path: Path) -> None:
    graph(broadcast)(version_copy)
    with pytest.raises(VersionError, match="not the graph"):
        Registry(f"sqlite:///{tmp_path}/none.db").register(version_copy)
    assert not (tmp_path / "none.db").exists()
