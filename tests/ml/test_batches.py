"""What a run reads, at which learning rate, and how it is validated."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from ml.config import ModelConfig, TrainConfig, TrainingError
from ml.data.corpus import Corpus
from ml.training.batches import CHUNK, Batches
from ml.training.model import CharRNN
from ml.training.schedule import learning_rate_at
from ml.training.validation import validation_loss
from tests.ml.training import CONFIG, random_corpus


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return random_corpus()


def test_batches_are_consecutive_and_targets_are_the_next_characters(corpus: Corpus) -> None:
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
    starts = {
        tuple(batches[round_ * steps_per_chunk][0][:8, lane].tolist())
        for round_ in range(3)
        for lane in range(2)
    }
    chunks = {tuple(corpus.train[at : at + 8].tolist()) for at in range(0, 6 * CHUNK, CHUNK)}
    assert starts == chunks


def test_a_text_that_is_too_short_is_refused(corpus: Corpus) -> None:
    with pytest.raises(TrainingError, match=r"too short: .* the least to train on is 8,193"):
        Batches(corpus.train[:CHUNK], CONFIG)
    with pytest.raises(
        TrainingError,
        match="a batch of 2 needs 16,385 characters, it has 9,000; --batch-size 1 would do",
    ):
        Batches(corpus.train[:9000], CONFIG)


def test_the_sequence_length_must_fit(corpus: Corpus) -> None:
    with pytest.raises(TrainingError, match="must divide"):
        Batches(corpus.train, dataclasses.replace(CONFIG, sequence_length=60))


def test_the_learning_rate_warms_up_holds_and_cools_down() -> None:
    config = TrainConfig(
        max_chars=1000, learning_rate=1.0, warmup_steps=10, cooldown=0.4, final_learning_rate=0.1
    )
    assert learning_rate_at(0, 0, config) == pytest.approx(0.1)
    assert learning_rate_at(500, 100, config) == 1.0
    assert learning_rate_at(800, 100, config) == pytest.approx(0.55)
    assert learning_rate_at(1000, 100, config) == pytest.approx(0.1)


def test_an_untrained_model_has_about_the_loss_of_chance(corpus: Corpus) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = CharRNN(ModelConfig(len(corpus.vocabulary), hidden_size=16))
    assert validation_loss(model, corpus.validation, 1280) == pytest.approx(np.log(12), abs=0.2)


def test_gathered_rows_equal_the_one_hot_product() -> None:
    torch.manual_seed(0)
    model = CharRNN(ModelConfig(vocab_size=12, hidden_size=16, num_layers=1)).eval()
    ids = torch.randint(0, 12, (20, 3))  # (T, B)
    table = model.lstm.weight_ih_l0.T  # (V, 4H)
    assert torch.equal(table[ids], functional.one_hot(ids, 12).float() @ table)

    gathering = nn.LSTM(4 * 16, 16)  # reads rows of the table: its input matrix is the identity
    gathering.load_state_dict({**model.lstm.state_dict(), "weight_ih_l0": torch.eye(4 * 16)})
    expected, _ = model(ids)
    assert torch.allclose(model.linear(gathering(table[ids])[0]), expected, atol=1e-6)
