"""The trainer: cut runs end with the same weights, what a run leaves, and when it ends early."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ml.config import TrainingError
from ml.data.corpus import Corpus
from ml.measurements import read_measurements
from ml.training.batches import CHUNK
from ml.training.trainer import Trainer
from ml.vocabulary import UNKNOWN, Vocabulary
from tests.ml.training import CONFIG, NO_BF16, random_corpus

# Whether oneDNN multiplies bf16 on this processor, or was told that it does.
BF16_HERE = torch.ops.mkldnn._is_mkldnn_bf16_supported()


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return random_corpus()


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


@pytest.mark.parametrize("cut", [1, 3, 6])
def test_a_run_cut_at_any_step_ends_with_the_same_weights(
    corpus: Corpus, tmp_path: Path, cut: int
) -> None:
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


def test_a_run_leaves_metrics_snapshots_and_its_configuration(
    corpus: Corpus, tmp_path: Path
) -> None:
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
    assert len((tmp_path / "snapshots" / "000000001024.txt").read_text()) == CONFIG.sample_chars
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_cut_run_measures_the_same(corpus: Corpus, tmp_path: Path) -> None:
    Trainer(CONFIG, corpus, tmp_path / "whole").run()
    first = Trainer(CONFIG, corpus, tmp_path / "cut")
    for _ in range(3):
        first._losses.append(first.train_step())
    first.save()
    for _ in range(3):  # lost again, as by a kill
        first._losses.append(first.train_step())
    Trainer(CONFIG, corpus, tmp_path / "cut").run()
    whole, cut = (read_measurements(tmp_path / name) for name in ("whole", "cut"))
    same = ("chars", "train_nats_per_char", "validation_nats_per_char", "learning_rate")
    assert [[getattr(row, name) for name in same] for row in cut] == [
        [getattr(row, name) for name in same] for row in whole
    ]


def test_training_learns(tmp_path: Path) -> None:
    text = np.tile(np.array([1, 2, 3, 4], np.uint8), CHUNK)  # wholly predictable
    corpus = Corpus(Vocabulary(UNKNOWN + "abcd"), text, text[:2560], (), "digest")
    trainer = Trainer(
        dataclasses.replace(CONFIG, dropout=0.0, learning_rate=2e-2, max_chars=128 * 60),
        corpus,
        tmp_path,
    )
    first = trainer.train_step()
    for _ in range(50):
        last = trainer.train_step()
    assert last < first / 4


def test_a_run_may_change_its_precision_on_the_way(corpus: Corpus, tmp_path: Path) -> None:
    def parts(folder: Path, cuts: list[int]) -> Trainer:
        for precision, until in (("fp32", 4), ("bf16", 8)):
            for stop in sorted({*(cut for cut in cuts if cut <= until), until}):
                trainer = Trainer(dataclasses.replace(CONFIG, precision=precision), corpus, folder)
                while trainer.step < stop:
                    trainer.train_step()
                trainer.save()
        return trainer

    if not BF16_HERE:
        with pytest.raises(TrainingError, match=NO_BF16):
            parts(tmp_path / "refused", [])
        return
    whole, cut = parts(tmp_path / "whole", []), parts(tmp_path / "cut", [2, 5, 7])
    assert (whole.step, cut.step) == (8, 8)
    assert all(
        torch.equal(tensor, cut.model.state_dict()[name]) for name, tensor in weights(whole).items()
    )


def test_an_old_resume_point_without_losses_is_read(corpus: Corpus, tmp_path: Path) -> None:
    first = Trainer(CONFIG, corpus, tmp_path)
    first.train_step()
    first.save()
    tensors = load_file(tmp_path / "resume.safetensors")
    del tensors["losses"]
    with safe_open(tmp_path / "resume.safetensors", "pt") as file:
        metadata = {name: value for name, value in file.metadata().items() if name != "corpus"}
    save_file(tensors, tmp_path / "resume.safetensors", metadata=metadata)
    assert Trainer(CONFIG, corpus, tmp_path).step == 1


def test_another_run_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    trainer = Trainer(CONFIG, corpus, tmp_path)
    trainer.train_step()
    trainer.save()
    for change, reason in (
        ({"hidden_size": 8}, "another architecture"),
        ({"num_layers": 1}, "another architecture"),
        ({"batch_size": 4}, "--batch-size 2, which cannot change"),
        ({"seed": 2}, "--seed 1, which cannot change"),
    ):
        with pytest.raises(TrainingError, match=reason):
            Trainer(dataclasses.replace(CONFIG, **change), corpus, tmp_path)
    with pytest.raises(TrainingError, match="another corpus"):
        Trainer(CONFIG, dataclasses.replace(corpus, digest="other"), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()) == dataclasses.asdict(CONFIG)
    (tmp_path / "config.json").unlink()
    with pytest.raises(TrainingError, match="another architecture"):
        Trainer(dataclasses.replace(CONFIG, hidden_size=8), corpus, tmp_path)
    (tmp_path / "resume.safetensors").write_bytes(b"nonsense")
    with pytest.raises(TrainingError, match="damaged"):
        Trainer(CONFIG, corpus, tmp_path)


def test_a_run_without_progress_ends_early(corpus: Corpus, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, learning_rate=0.0, patience=2, max_chars=10**6)
    trainer = Trainer(config, corpus, tmp_path)
    trainer.run()
    assert trainer.finished
    assert [row.chars for row in trainer.history.rows] == [512, 1024, 1536]
    assert Trainer(config, corpus, tmp_path).finished


@pytest.mark.parametrize("validate_every", [512, 128], ids=["in training", "in validation"])
def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_resume_point(
    corpus: Corpus, tmp_path: Path, validate_every: int
) -> None:
    Trainer(dataclasses.replace(CONFIG, max_chars=512), corpus, tmp_path).run()
    good = (tmp_path / "resume.safetensors").read_bytes()
    wild = dataclasses.replace(
        CONFIG, learning_rate=1e38, warmup_steps=0, validate_every=validate_every
    )
    with pytest.raises(
        TrainingError,
        match=r"loss became (inf|nan) .* lower --learning-rate .* resume point is kept",
    ):
        Trainer(wild, corpus, tmp_path).run()
    assert (tmp_path / "resume.safetensors").read_bytes() == good
    assert Trainer(CONFIG, corpus, tmp_path).run() < 10


def test_a_full_disk_is_one_sentence_and_keeps_the_last_resume_point(
    corpus: Corpus, tmp_path: Path
) -> None:
    Trainer(dataclasses.replace(CONFIG, max_chars=512), corpus, tmp_path).run()
    good = (tmp_path / "resume.safetensors").read_bytes()
    (tmp_path / "resume.safetensors.partial").symlink_to("/dev/full")
    with pytest.raises(
        TrainingError,
        match=r"resume\.safetensors: No space left on device; the last resume point is kept",
    ):
        Trainer(CONFIG, corpus, tmp_path).run()
    assert (tmp_path / "resume.safetensors").read_bytes() == good
    assert Trainer(CONFIG, corpus, tmp_path).run() < 10


def test_a_missing_device_is_named(corpus: Corpus, tmp_path: Path) -> None:
    for device in ("cuda:99", "abacus"):
        with pytest.raises(TrainingError, match=f"no device {device}"):
            Trainer(dataclasses.replace(CONFIG, device=device), corpus, tmp_path)


def test_a_validation_split_that_is_too_short_is_refused_before_training(
    corpus: Corpus, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="validation split is too short"):
        Trainer(CONFIG, dataclasses.replace(corpus, validation=corpus.validation[:64]), tmp_path)
