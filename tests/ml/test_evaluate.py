from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.cli import main
from ml.config import TrainConfig
from ml.data.corpus import Corpus, build
from ml.engine.offline import generate
from ml.engine.scoring import total_nats
from ml.engine.step import OnnxStep
from ml.engine.stream import Request
from ml.measurements import read_measurements
from ml.sampling import Sampling
from ml.training.trainer import Trainer
from ml.versions.evaluation import EvaluationError, Evaluator, evaluate
from ml.versions.graph import build_fp32_graph
from ml.versions.release import release_best
from ml.versions.version import Version, read_step_graph, read_version
from ml.versions.weights import read_weights
from tests.ml.tampering import edit_meta
from tests.ml.test_corpus import write_books


def text_ids(version: Version, step: OnnxStep, length: int) -> np.ndarray:
    request = Request("The ", Sampling(length=length, seed=1, temperature=0.9))
    return version.vocabulary.encode(generate(step, version.vocabulary, request).text)


def test_a_short_text_is_scored_exactly(version: Version, step: OnnxStep) -> None:
    ids = text_ids(version, step, 500)
    ids[7] = 0
    result = evaluate(step.fork(8), version.vocabulary, ids, lanes=8)
    start = version.vocabulary.encode("\n")
    assert result.nats_per_char == pytest.approx(
        total_nats(step, np.concatenate([start, ids])) / 500, rel=1e-12
    )
    assert result.bits_per_char == pytest.approx(result.nats_per_char / math.log(2))
    assert (result.chars, result.unknown_chars) == (500, 1)


def test_lanes_hardly_change_the_loss(version: Version, step: OnnxStep) -> None:
    ids = text_ids(version, step, 6_001)
    one, many = (evaluate(step.fork(4), version.vocabulary, ids, lanes=lanes) for lanes in (1, 4))
    assert many.nats_per_char == pytest.approx(one.nats_per_char, abs=2e-3)
    assert many.nats_per_char != one.nats_per_char


def test_int8_loses_little_of_fp32(version: Version, step: OnnxStep) -> None:
    """A trained model keeps within 0.005; random weights, as here, are harder to round."""
    ids = text_ids(version, step, 4_000)
    graphs = (read_step_graph(version), build_fp32_graph(version.model, read_weights(version)))
    int8, fp32 = (
        evaluate(
            OnnxStep(graph, version.model, rows=2, threads=1), version.vocabulary, ids, lanes=2
        ).nats_per_char
        for graph in graphs
    )
    print(f"int8 {int8:.4f}, fp32 {fp32:.4f} nats/char")
    assert int8 == pytest.approx(fp32, abs=0.05)


def test_an_empty_text_is_refused(version: Version, step: OnnxStep) -> None:
    with pytest.raises(EvaluationError, match="empty"):
        evaluate(step, version.vocabulary, np.zeros(0, np.uint8), lanes=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A corpus folder and the folder of a finished tiny run on it."""
    folder = tmp_path_factory.mktemp("run")
    words = np.random.default_rng(0).choice(
        ["the", "cat", "sat", "on", "a", "mat.", "It", "was"], 30_000
    )
    corpus = build(write_books(folder / "books", {"1": " ".join(words)}), folder / "corpus")
    config = TrainConfig(
        hidden_size=16,
        batch_size=2,
        max_chars=128 * 40,
        validate_every=128 * 20,
        validation_chars=2_000,
        threads=1,
    )
    Trainer(config, corpus, folder / "run").run()
    return folder / "corpus", folder / "run"


def export(corpus: Path, run: Path, out: Path, chars: int) -> None:
    folders = ("--corpus", str(corpus), "--run", str(run), "--out", str(out))
    options = ("--chars", str(chars), "--title", "2x16", "--validation-chars", "3000")
    main(["export", *folders, *options, "--threads", "1"])


def run_evaluate(version: Path, *options: str) -> None:
    main(["evaluate", "--model", str(version), "--threads", "1", *options])


def test_export_makes_a_version_of_the_nearest_snapshot(
    run: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(*run, tmp_path / "v", chars=2_000)
    version = read_version(tmp_path / "v")
    assert version.digest in capsys.readouterr().out
    assert version.title == "2x16"
    assert version.metrics["chars"] == 2_560
    assert version.metrics["validation_chars"] == 3_000
    assert version.metrics["int8_validation_nats_per_char"] == pytest.approx(
        version.metrics["validation_nats_per_char"], abs=0.005
    )
    assert version.training["corpus_digest"] == Corpus.open(run[0]).digest
    assert (tmp_path / "v" / "metrics.csv").read_text().count("\n") == 2
    assert "temperature 0.8" in (tmp_path / "v" / "samples.txt").read_text()


def test_evaluate_prints_json(
    run: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(*run, tmp_path / "v", chars=10**9)
    (tmp_path / "text.txt").write_text(
        "the cat sat\r\non a \u201cmat\u201d \u2603", encoding="utf-8"
    )
    raw = ("--raw", "--text", str(tmp_path / "text.txt"))
    capsys.readouterr()
    results = {}
    for precision in ("int8", "fp32"):
        run_evaluate(tmp_path / "v", *raw, "--json", "--precision", precision)
        results[precision] = json.loads(capsys.readouterr().out)
    assert results["int8"].keys() == {
        "read_as",
        "nats_per_char",
        "bits_per_char",
        "chars",
        "unknown_chars",
    }
    assert results["int8"]["chars"] == 24
    assert results["int8"]["unknown_chars"] == 3
    assert results["int8"]["nats_per_char"] == pytest.approx(
        results["fp32"]["nats_per_char"], abs=0.02
    )
    run_evaluate(tmp_path / "v", *raw)
    assert "bits_per_char: " in capsys.readouterr().out


GUTENBERG = """The Project Gutenberg eBook of Cats
*** START OF THE PROJECT GUTENBERG EBOOK CATS ***

{}

*** END OF THE PROJECT GUTENBERG EBOOK CATS ***
Terms of use follow.
"""
# How a text is read. None is a version that does not say how the texts of its corpus were cleaned,
# as old ones do not.
JOINED, KEPT = "cleaned, wrapped lines joined", "cleaned, wrapped lines kept"


@pytest.mark.parametrize(("keep_lines", "read_as"), [(False, JOINED), (True, KEPT), (None, JOINED)])
def test_a_text_is_cleaned_as_the_corpus_of_the_version_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], keep_lines: bool | None, read_as: str
) -> None:
    words = (
        np.random.default_rng(0).choice(["the", "cat", "sat", "on", "a", "mat."], 9_000).tolist()
    )
    # Lines as wide as an editor's column.
    lines = [" ".join(words[at : at + 15]) for at in range(0, len(words), 15)]
    source = write_books(tmp_path / "books", {"1": GUTENBERG.format("\n".join(lines))})
    corpus = build(source, tmp_path / "corpus", join_lines=not keep_lines)
    config = TrainConfig(
        hidden_size=8,
        batch_size=1,
        max_chars=64 * 20,
        validate_every=64 * 20,
        sample_chars=0,
        threads=1,
    )
    Trainer(config, corpus, tmp_path / "run").run()
    version = release_best(corpus, tmp_path / "run", threads=1)
    assert version.training["join_lines"] is not bool(keep_lines)
    if keep_lines is None:
        edit_meta(version.folder, lambda meta: meta["training"].pop("join_lines"))

    def evaluated(*options: str) -> str:
        run_evaluate(version.folder, *options)
        return capsys.readouterr().out

    capsys.readouterr()
    book = str(source / "1.txt")
    cleaned, raw = (
        json.loads(evaluated("--json", "--text", book, *options)) for options in ((), ("--raw",))
    )
    assert (cleaned["read_as"], raw["read_as"]) == (read_as, "raw")
    assert (cleaned["chars"], cleaned["unknown_chars"]) == (
        len(corpus.train) + len(corpus.validation),
        0,
    )
    assert raw["chars"] == len((source / "1.txt").read_text())
    assert raw["unknown_chars"] > 100
    Path(book).write_text("\n".join(lines))  # cleaning only joins its lines
    alone = json.loads(evaluated("--json", "--text", book))
    assert (alone["chars"], alone["nats_per_char"]) == (cleaned["chars"], cleaned["nats_per_char"])
    assert f"read_as: {read_as}\n" in evaluated("--text", book)
    assert "read_as: raw\n" in evaluated("--text", book, "--raw")
    whole = json.loads(evaluated("--json", "--corpus", str(tmp_path / "corpus")))
    assert whole["read_as"] == (KEPT if keep_lines else JOINED)
    Path(book).write_text(GUTENBERG.format(""))
    with pytest.raises(SystemExit, match=r"^error: .*1\.txt holds nothing but a licence$"):
        evaluated("--text", book)
    with pytest.raises(
        SystemExit, match=r"^error: --raw is for --text; a corpus is read as it was built$"
    ):
        evaluated("--corpus", str(tmp_path / "corpus"), "--raw")


def test_evaluate_reads_the_validation_split_and_each_book(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        np.random.default_rng(0).choice(["the", "cat", "sat", "on", "a", "mat."], 30_000).tolist()
    )
    texts = {"1": " ".join(words), "2": " ".join(words[:9_000]).replace("cat", "dog")}
    corpus = build(write_books(tmp_path / "books", texts), tmp_path / "corpus")
    config = TrainConfig(
        hidden_size=16,
        batch_size=2,
        max_chars=128 * 60,
        validate_every=128 * 20,
        threads=1,
        patience=1,
    )
    Trainer(config, corpus, tmp_path / "run").run()
    version = release_best(corpus, tmp_path / "run", threads=1)
    best = min(read_measurements(tmp_path / "run"), key=lambda row: row.validation_nats_per_char)
    assert version.metrics["chars"] == best.chars
    assert version.title == "2×16 after 0.0 M characters"
    assert release_best(corpus, tmp_path / "run").digest == version.digest

    def evaluated(*options: str) -> dict[str, Any]:
        capsys.readouterr()
        run_evaluate(version.folder, "--corpus", str(tmp_path / "corpus"), *options)
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    whole = evaluated("--json", "--precision", "fp32")
    assert whole["chars"] == len(corpus.validation)
    assert whole["nats_per_char"] == pytest.approx(
        version.metrics["validation_nats_per_char"], abs=0.002
    )
    books = evaluated("--json", "--precision", "fp32", "--per-book")
    assert [(book["id"], book["chars"]) for book in books["books"]] == [
        (b.id, b.validation_chars) for b in corpus.books
    ]
    mean = sum(book["nats_per_char"] * book["chars"] for book in books["books"]) / books["chars"]
    assert books["nats_per_char"] == pytest.approx(mean, abs=1e-5)
    # Few dogs were seen.
    assert books["books"][1]["nats_per_char"] > books["books"][0]["nats_per_char"]
    run_evaluate(version.folder, "--corpus", str(tmp_path / "corpus"), "--per-book")
    assert "characters  Title 2" in capsys.readouterr().out

    other = build(
        write_books(tmp_path / "foreign", {"1": "zzz the cat " * 500}), tmp_path / "other"
    )
    translated = Evaluator(version, threads=1).corpus(other)
    assert translated.unknown_chars == other.vocabulary.decode(other.validation).count("z")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [(b"", "is empty"), (b"\xff\xfe", "is not UTF-8 text"), (b"a\0b", "NUL characters")],
)
def test_a_file_that_is_not_text_is_refused(
    version: Version, tmp_path: Path, raw: bytes, reason: str
) -> None:
    (tmp_path / "text.txt").write_bytes(raw)
    with pytest.raises(SystemExit, match=rf"^error: .*text\.txt.* {reason}"):
        run_evaluate(version.folder, "--text", str(tmp_path / "text.txt"))


def test_a_missing_file_is_one_sentence(
    run: tuple[Path, Path], version: Version, tmp_path: Path
) -> None:
    nowhere = tmp_path / "nowhere"
    with pytest.raises(SystemExit, match=r"^error: .*nowhere"):
        export(run[0], nowhere, tmp_path / "v", 1)
    for model, text in ((nowhere, version.folder / "samples.txt"), (version.folder, nowhere)):
        with pytest.raises(SystemExit, match=r"^error: .*nowhere"):
            run_evaluate(model, "--text", str(text))
