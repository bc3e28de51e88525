"""A text in any script can be trained on and written.

Chinese and Japanese need more symbols than a byte can count.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from ml.data.corpus import Corpus, clean
from ml.engine.engine import Request
from ml.engine.offline import generate
from ml.engine.step import OnnxStep
from ml.measurements import read_measurements
from ml.sampling import Sampling
from ml.versions.evaluation import Evaluator
from ml.versions.graph import check_step_graph
from ml.versions.load import start_engine
from ml.versions.version import Version, read_step_graph
from tests.ml.scripts import SCRIPTS, train_version, write_script


@pytest.fixture(scope="module", params=SCRIPTS)
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, Version]:
    """The name of a script, the folder with its corpus and run, and the version."""
    folder = tmp_path_factory.mktemp(request.param)
    return (
        request.param,
        folder,
        train_version(write_script(folder / "books", request.param), folder),
    )


def test_a_script_is_learned_and_evaluated(trained: tuple[str, Path, Version]) -> None:
    name, folder, version = trained
    corpus = Corpus.open(folder / "corpus")
    book = clean((folder / "books" / f"{name}.txt").read_text(encoding="utf-8"))
    assert corpus.vocabulary.decode([*corpus.train, *corpus.validation]) == book
    assert (len(corpus.vocabulary) > 256) == (name == "chinese")
    assert (corpus.lost_share, corpus.left_out) == (0.0, "")
    (row,) = read_measurements(folder / "run")
    assert row.validation_nats_per_char < 0.4 * math.log(len(corpus.vocabulary))
    evaluated = Evaluator(version, threads=1).corpus(corpus)
    assert evaluated.nats_per_char == pytest.approx(
        version.metrics["int8_validation_nats_per_char"], abs=1e-4
    )
    check_step_graph(version)


def test_the_engine_writes_the_offline_texts(trained: tuple[str, Path, Version]) -> None:
    name, _, version = trained
    words = SCRIPTS[name][:12]
    requests = [
        Request(words, Sampling(length=150, seed=seed, top_k=top_k, top_p=0.95))
        for seed, top_k in ((1, None), (2, 40), (3, 300))
    ]
    step = OnnxStep(read_step_graph(version), version.model, rows=1, threads=1)
    expected = [generate(step, version.vocabulary, request) for request in requests]
    engine = start_engine(version, max_streams=4, threads=1)
    try:
        streams = [engine.submit(request) for request in requests]
        assert all(stream.wait(60) for stream in streams)
        assert [(s.text, s.surprisal) for s in streams] == [(e.text, e.surprisal) for e in expected]
    finally:
        engine.close()
    written = "".join(stream.text for stream in streams)
    assert set(written) <= set(version.vocabulary.symbols[1:])
    assert len(set(written)) > 10
    assert version.vocabulary.unknown_characters(words) == ""


def test_samples_leave_out_prompts_that_the_model_cannot_read(
    trained: tuple[str, Path, Version],
) -> None:
    samples = (trained[2].folder / "samples.txt").read_text(encoding="utf-8")
    assert "dark and stormy" not in samples
    assert samples.count("=== temperature") == 3
