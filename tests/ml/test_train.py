from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ml.config import ModelConfig, TrainConfig
from ml.corpus import Corpus
from ml.model import CharRNN
from ml.train import CHUNK, Batches, Trainer, TrainingError, learning_rate_at, validation_loss
from ml.vocabulary import UNKNOWN, Vocabulary

CONFIG = TrainConfig(
    hidden_size=16,
    num_layers=2,
    dropout=0.2,  # so that the random state matters too
    batch_size=2,
    sequence_length=64,
    max_chars=2 * 64 * 8,
    warmup_steps=3,
    validate_every=2 * 64 * 4,
    validation_chars=1280,
    threads=1,
)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    generator = np.random.default_rng(0)
    text = generator.integers(1, 12, 6 * CHUNK + 1).astype(np.uint8)
    return Corpus(Vocabulary(UNKNOWN + "abcdefghijk"), text, text[: 64 * 40], (), "digest")


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


@pytest.mark.parametrize("cut", [1, 3, 6])
def test_a_run_cut_at_any_step_ends_with_the_same_weights(corpus: Corpus, tmp_path: Path, cut: int) -> None:
    whole = Trainer(CONFIG, corpus, tmp_path / "whole")
    losses = [whole.train_step() for _ in range(8)]

    first = Trainer(CONFIG, corpus, tmp_path / "cut")
    parts = [first.train_step() for _ in range(cut)]
    first.save()
    second = Trainer(CONFIG, corpus, tmp_path / "cut")
    assert second.step == cut
    parts += [second.train_step() for _ in range(8 - cut)]

    assert parts == losses
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name


def test_a_run_leaves_metrics_snapshots_and_its_configuration(corpus: Corpus, tmp_path: Path) -> None:
    trainer = Trainer(CONFIG, corpus, tmp_path)
    loss = trainer.run()
    assert trainer.chars == CONFIG.max_chars
    assert json.loads((tmp_path / "config.json").read_text()) == dataclasses.asdict(CONFIG)
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["chars"]) for row in rows] == [512, 1024]
    assert float(rows[-1]["validation_nats_per_char"]) == pytest.approx(loss, abs=1e-4)
    snapshot = load_file(tmp_path / "snapshots" / "000000001024.safetensors")
    assert all(torch.equal(tensor, snapshot[name]) for name, tensor in weights(trainer).items())


def test_training_learns(tmp_path: Path) -> None:
    text = np.tile(np.array([1, 2, 3, 4], np.uint8), CHUNK)  # wholly predictable
    corpus = Corpus(Vocabulary(UNKNOWN + "abcd"), text, text[:2560], (), "digest")
    trainer = Trainer(dataclasses.replace(CONFIG, dropout=0.0, learning_rate=2e-2, max_chars=128 * 60), corpus, tmp_path)
    first = trainer.train_step()
    for _ in range(50):
        last = trainer.train_step()
    assert last < first / 4


def test_another_architecture_cannot_go_on_with_a_run(corpus: Corpus, tmp_path: Path) -> None:
    trainer = Trainer(CONFIG, corpus, tmp_path)
    trainer.train_step()
    trainer.save()
    with pytest.raises(TrainingError, match="another architecture"):
        Trainer(dataclasses.replace(CONFIG, hidden_size=8), corpus, tmp_path)


def test_batches_follow_on_and_targets_are_the_next_characters(corpus: Corpus) -> None:
    batches = Batches(corpus.train, CONFIG)
    inputs, targets, fresh = batches[0]
    following, _, still_fresh = batches[1]
    assert fresh
    assert not still_fresh
    assert torch.equal(inputs[1:], targets[:-1])
    assert torch.equal(following[0], targets[-1])


def test_an_epoch_reads_every_chunk_once(corpus: Corpus) -> None:
    batches = Batches(corpus.train, CONFIG)
    steps_per_chunk = CHUNK // CONFIG.sequence_length
    starts = {tuple(batches[round_ * steps_per_chunk][0][:8, lane].tolist()) for round_ in range(3) for lane in range(2)}
    chunks = {tuple(corpus.train[at : at + 8].tolist()) for at in range(0, 6 * CHUNK, CHUNK)}
    assert starts == chunks


def test_too_short_a_text_is_refused(corpus: Corpus) -> None:
    with pytest.raises(TrainingError, match="too short"):
        Batches(corpus.train[:CHUNK], CONFIG)


def test_the_sequence_length_must_fit(corpus: Corpus) -> None:
    with pytest.raises(TrainingError, match="must divide"):
        Batches(corpus.train, dataclasses.replace(CONFIG, sequence_length=60))


def test_the_learning_rate_warms_up_holds_and_cools_down() -> None:
    config = TrainConfig(max_chars=1000, learning_rate=1.0, warmup_steps=10, cooldown=0.4, final_learning_rate=0.1)
    assert learning_rate_at(0, 0, config) == pytest.approx(0.1)
    assert learning_rate_at(500, 100, config) == 1.0
    assert learning_rate_at(800, 100, config) == pytest.approx(0.55)
    assert learning_rate_at(1000, 100, config) == pytest.approx(0.1)


def test_validation_loss_of_an_untrained_model_is_about_that_of_chance(corpus: Corpus) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = CharRNN(ModelConfig(len(corpus.vocabulary), hidden_size=16))
    assert validation_loss(model, corpus.validation, 1280) == pytest.approx(np.log(12), abs=0.2)
