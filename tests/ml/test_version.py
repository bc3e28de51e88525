"""What reading and loading a version refuse, each with a sentence that names the check.

Versions that were made to do harm are in test_bad_models.py.
"""

from __future__ import annotations

import hashlib
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.config import ModelConfig
from ml.versions.errors import VersionError
from ml.versions.graph import build_int8_graph, check_step_graph
from ml.versions.load import start_engine
from ml.versions.version import read_step_graph, read_version
from ml.versions.weights import check_weights, read_weights
from ml.versions.write import write_version
from ml.vocabulary import UNKNOWN, Vocabulary
from tests.ml.conftest import MODEL, SYMBOLS, make_version, random_weights
from tests.ml.tampering import WEIGHTS, edit_meta, replace_file, replace_weights


def refuses(folder: Path, reason: str) -> None:
    """Reading the version or starting its engine must fail with one sentence that says `reason`."""
    with pytest.raises(VersionError, match=reason) as caught:
        start_engine(read_version(folder), threads=1)
    assert "\n" not in str(caught.value)


def test_reading_gives_what_was_written(tmp_path: Path) -> None:
    written = make_version(tmp_path / "one", title="A title")
    read = read_version(tmp_path / "one")
    assert read == written
    assert (read.title, read.model, read.vocabulary.symbols) == ("A title", MODEL, SYMBOLS)
    assert read.digest == hashlib.sha256((tmp_path / "one" / "model.json").read_bytes()).hexdigest()
    assert len(read.golden.text) == read.golden.length
    weights = random_weights(MODEL)
    assert all(np.array_equal(tensor, weights[name]) for name, tensor in read_weights(read).items())


def test_the_same_version_written_twice_has_the_same_bytes(tmp_path: Path) -> None:
    assert make_version(tmp_path / "one").digest == make_version(tmp_path / "two").digest
    assert make_version(tmp_path / "three", seed=1).digest != make_version(tmp_path / "four").digest


def test_the_step_graph_is_made_of_the_stored_weights(version_copy: Path) -> None:
    version = read_version(version_copy)
    assert build_int8_graph(version.model, read_weights(version)) == read_step_graph(version)


def test_a_version_is_written_once(version_copy: Path) -> None:
    with pytest.raises(VersionError, match="not empty"):
        make_version(version_copy)


def test_weights_that_float16_cannot_hold_are_not_written(tmp_path: Path) -> None:
    weights = random_weights(MODEL)
    for value in (np.nan, 1e6):
        weights["linear.bias"][0] = value
        with pytest.raises(VersionError, match=r"linear\.bias"), np.errstate(over="ignore"):
            write_version(
                tmp_path / str(value),
                weights=weights,
                vocabulary=Vocabulary(SYMBOLS),
                model=MODEL,
                training={},
                metrics={},
                title="",
                samples="",
                metrics_csv="",
            )


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    refuses(tmp_path / "nowhere", "no version folder")


@pytest.mark.parametrize("name", ["model.json", WEIGHTS, "step.onnx", "samples.txt", "metrics.csv"])
def test_a_missing_file_is_refused(version_copy: Path, name: str) -> None:
    (version_copy / name).unlink()
    refuses(version_copy, f"no {name}")


@pytest.mark.parametrize("name", ["model.json", WEIGHTS])
def test_a_link_is_refused(version_copy: Path, tmp_path: Path, name: str) -> None:
    shutil.move(version_copy / name, tmp_path / "elsewhere")
    (version_copy / name).symlink_to(tmp_path / "elsewhere")
    refuses(version_copy, "not a regular file")


def test_a_folder_in_place_of_a_file_is_refused(version_copy: Path) -> None:
    (version_copy / "samples.txt").unlink()
    (version_copy / "samples.txt").mkdir()
    refuses(version_copy, "not a regular file")


@pytest.mark.parametrize("name", [WEIGHTS, "step.onnx", "samples.txt"])
def test_a_flipped_bit_is_refused(version_copy: Path, name: str) -> None:
    content = bytearray((version_copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (version_copy / name).write_bytes(content)
    refuses(version_copy, f"{name} does not have the sha256")


def test_a_truncated_file_is_refused(version_copy: Path) -> None:
    content = (version_copy / WEIGHTS).read_bytes()
    (version_copy / WEIGHTS).write_bytes(content[:-1])
    refuses(version_copy, f"{WEIGHTS} has")


def test_a_file_that_changes_after_it_was_checked_is_refused(version_copy: Path) -> None:
    version = read_version(version_copy)
    (version_copy / "step.onnx").write_bytes(b"something else")
    with pytest.raises(VersionError, match=r"step\.onnx"):
        start_engine(version, threads=1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"format": "charrnn-version/1", "format": "charrnn-version/1"}',
        b'{"format": NaN}',
    ],
    ids=lambda content: content[:20].decode(errors="replace"),
)
def test_an_invalid_description_is_refused(version_copy: Path, content: bytes) -> None:
    (version_copy / "model.json").write_bytes(content)
    refuses(version_copy, r"model\.json")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"hidden_size": 0}, "hidden_size"),
        ({"hidden_size": 24.0}, "hidden_size"),
        ({"hidden_size": True}, "hidden_size"),
        ({"hidden_size": "24"}, "hidden_size"),
        ({"num_layers": 10**6}, "num_layers"),
        ({"vocab_size": len(SYMBOLS) - 1}, "vocab_size"),
        ({"vocab_size": 10**9}, "vocab_size"),
        ({"dropout": 1.5}, "dropout"),
        ({"dropout": None}, "dropout"),
        ({"surprise": 1}, "surprise"),
    ],
    ids=str,
)
def test_an_architecture_out_of_bounds_is_refused(
    version_copy: Path, change: dict[str, Any], reason: str
) -> None:
    edit_meta(version_copy, lambda meta: meta["architecture"].update(change))
    refuses(version_copy, reason)


@pytest.mark.parametrize(
    ("symbols", "reason"),
    [
        ("", "symbols"),
        (UNKNOWN, "symbols"),
        (SYMBOLS[1:], "unknown symbol"),
        ([UNKNOWN, "a"], "vocabulary"),
        (SYMBOLS + "z", "vocab_size"),
    ],
    ids=["empty", "one", "no unknown", "list", "longer"],
)
def test_an_invalid_vocabulary_is_refused(version_copy: Path, symbols: Any, reason: str) -> None:
    edit_meta(version_copy, lambda meta: meta.update(vocabulary=symbols))
    refuses(version_copy, reason)


@pytest.mark.parametrize(
    "key",
    ["format", "title", "architecture", "vocabulary", "training", "metrics", "golden", "files"],
)
@pytest.mark.parametrize("value", [None, 7, "text", {}, []], ids=repr)
def test_a_part_of_another_type_is_refused(version_copy: Path, key: str, value: Any) -> None:
    if (key == "title" and value == "text") or (key in ("training", "metrics") and value == {}):
        return  # these are fine
    edit_meta(version_copy, lambda meta: meta.update({key: value}))
    refuses(version_copy, ".")


@pytest.mark.parametrize(
    "change",
    [
        {"seed": "1"},
        {"length": 10**9},
        {"length": 5},
        {"text": 7},
        {"temperature": None},
        {"more": 1},
    ],
    ids=str,
)
def test_an_impossible_golden_text_is_refused(version_copy: Path, change: dict[str, Any]) -> None:
    edit_meta(version_copy, lambda meta: meta["golden"].update(change))
    refuses(version_copy, "golden|more")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(version_copy: Path, value: float) -> None:
    replace_weights(
        version_copy, lambda tensors: tensors["lstm.weight_hh_l1"].__setitem__((3, 4), value)
    )
    refuses(version_copy, r"lstm\.weight_hh_l1 holds values that are not finite")


def test_wrong_shapes_names_and_types_are_refused(version_copy: Path, tmp_path: Path) -> None:
    changes: list[tuple[Callable[[dict[str, Any]], object], str]] = [
        (lambda t: t.update({"linear.bias": t["linear.bias"][1:].copy()}), "shape"),
        (lambda t: t.update({"linear.weight": t["linear.weight"].T.copy()}), "shape"),
        (lambda t: t.pop("linear.bias"), "other tensors"),
        (lambda t: t.update({"more": t["linear.bias"].copy()}), "other tensors"),
        (lambda t: t.update({"linear.bias": t["linear.bias"].astype(np.float32)}), "expected F16"),
    ]
    for index, (change, reason) in enumerate(changes):
        folder = Path(shutil.copytree(version_copy, tmp_path / str(index)))
        replace_weights(folder, change)
        refuses(folder, reason)


def test_a_step_graph_of_another_vocabulary_is_refused(version_copy: Path) -> None:
    other = ModelConfig(MODEL.vocab_size - 1, MODEL.hidden_size)
    replace_file(version_copy, "step.onnx", build_int8_graph(other, random_weights(other)))
    refuses(version_copy, "step graph's logits")


def test_a_file_that_is_not_a_step_graph_is_refused(version_copy: Path) -> None:
    replace_file(version_copy, "step.onnx", b"\x08\x08not a graph")
    refuses(version_copy, r"step\.onnx: the step graph cannot be loaded")


def test_checking_weights_holds_one_tensor_at_a_time(tmp_path: Path) -> None:
    model = ModelConfig(len(SYMBOLS), hidden_size=256, num_layers=3)
    version = make_version(tmp_path / "wide", model)
    size = (version.folder / WEIGHTS).stat().st_size
    tracemalloc.start()
    check_weights(version)
    assert tracemalloc.get_traced_memory()[1] < size / 2
    tracemalloc.stop()


def test_a_graph_that_this_release_would_not_make_is_refused(version_copy: Path) -> None:
    check_step_graph(read_version(version_copy))
    replace_weights(version_copy, lambda tensors: tensors["linear.bias"].__setitem__(0, 0.5))
    with pytest.raises(VersionError, match="not the graph"):
        check_step_graph(read_version(version_copy))
