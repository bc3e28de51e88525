from __future__ import annotations

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from ml.cli import main
from ml.config import ModelConfig, TrainConfig, TrainingError
from ml.data.corpus import Corpus, build
from ml.measurements import read_measurements
from ml.training.batches import CHUNK, Batches
from ml.training.model import CharRNN
from ml.training.schedule import learning_rate_at
from ml.training.trainer import Trainer
from ml.training.validation import validation_loss
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
    device="cpu",  # the same weights again are promised there
)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    generator = np.random.default_rng(0)
    text = generator.integers(1, 12, 6 * CHUNK + 1).astype(np.uint8)
    return Corpus(Vocabulary(UNKNOWN + "abcdefghijk"), text, text[: 64 * 40], (), "digest")


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


BF16_HERE = (
    torch.ops.mkldnn._is_mkldnn_bf16_supported()
)  # what oneDNN says of this processor, or was told to say


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


def test_a_resume_point_of_before_losses_were_kept_is_read(corpus: Corpus, tmp_path: Path) -> None:
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
def test_a_loss_that_is_no_number_ends_the_run_and_keeps_what_was_good(
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


@pytest.fixture
def written_corpus(tmp_path: Path) -> Path:
    words = np.random.default_rng(0).choice(["the", "cat", "sat", "on", "a", "mat."], 12_000)
    (tmp_path / "text.txt").write_text(" ".join(words))
    build(tmp_path / "text.txt", tmp_path / "corpus")
    return tmp_path / "corpus"


def train_command(corpus: Path, run: Path) -> list[str]:
    options = {
        **dataclasses.asdict(CONFIG),
        "max_chars": 128 * 1_000,
        "validate_every": 128 * 250,
        "sample_chars": 0,
    }
    flags = [
        part
        for name, value in options.items()
        for part in ("--" + name.replace("_", "-"), str(value))
    ]
    return ["train", "--corpus", str(corpus), "--run", str(run), *flags]


def test_ctrl_c_ends_cleanly_and_the_same_command_goes_on(
    written_corpus: Path, tmp_path: Path
) -> None:
    command = train_command(written_corpus, tmp_path / "run")
    process = subprocess.Popen(
        [sys.executable, "-m", "ml", *command], stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "run" / "metrics.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "the same command goes on from here" in output
    main(command)
    main(train_command(written_corpus, tmp_path / "whole"))
    whole, cut = (
        load_file(tmp_path / name / "snapshots" / "000000128000.safetensors")
        for name in ("whole", "run")
    )
    assert all(torch.equal(tensor, cut[name]) for name, tensor in whole.items())


OLDER_PROCESSOR = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
NO_BF16 = "this processor cannot multiply bf16; leave out --precision bf16: a run that was begun with it goes on without"


def test_bf16_is_refused_where_the_processor_cannot_multiply_it(
    written_corpus: Path, tmp_path: Path
) -> None:
    """Under these variables oneDNN does what it does on a processor with AVX2 and nothing newer."""

    def trained(run: Path, max_chars: int, *precision: str) -> subprocess.CompletedProcess[str]:
        command = [*train_command(written_corpus, run), "--max-chars", str(max_chars), *precision]
        command = [sys.executable, "-m", "ml", *command]
        return subprocess.run(
            command, env=OLDER_PROCESSOR, capture_output=True, text=True, timeout=60, check=False
        )

    bf16 = ("--precision", "bf16")
    refused = trained(tmp_path / "new", 128 * 10, *bf16)
    assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", f"error: {NO_BF16}\n")
    assert not (tmp_path / "new").exists()

    run = tmp_path / "run"
    assert trained(run, 128 * 10).returncode == 0
    begun = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    refused = trained(run, 128 * 20, *bf16)
    assert (refused.returncode, refused.stderr) == (1, f"error: {NO_BF16}\n")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == begun
    assert "2,560 characters" in trained(run, 128 * 20).stdout


def test_every_option_is_explained(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    printed = capsys.readouterr().out
    documented = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    for option in dataclasses.fields(TrainConfig):
        assert len(option.metadata["help"]) > 10
        assert f"{option.metadata['help']} (default: {option.default})" in printed
        row = f"| `--{option.name.replace('_', '-')}` | {option.default} | {option.metadata['help']} |"
        assert row in documented


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("batch_size", 0, "--batch-size must be at least 1"),
        ("max_chars", -5, "--max-chars must be at least 1"),
        ("learning_rate", float("nan"), "--learning-rate must be at least 0"),
        ("dropout", 1.0, "--dropout must be below 1"),
        ("cooldown", 2.0, "--cooldown is a part of the run"),
        ("precision", "fp8", "--precision is one of fp32, bf16"),
    ],
)
def test_senseless_options_are_refused(option: str, value: object, reason: str) -> None:
    with pytest.raises(TrainingError, match=reason):
        dataclasses.replace(CONFIG, **{option: value})


def test_a_device_that_is_not_there_is_named(corpus: Corpus, tmp_path: Path) -> None:
    for device in ("cuda:99", "abacus"):
        with pytest.raises(TrainingError, match=f"no device {device}"):
            Trainer(dataclasses.replace(CONFIG, device=device), corpus, tmp_path)


def test_an_unwritable_folder_is_one_sentence(written_corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match=r"^error: .*file/run.*: Not a directory"):
        main(train_command(written_corpus, tmp_path / "file" / "run"))


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
    starts = {
        tuple(batches[round_ * steps_per_chunk][0][:8, lane].tolist())
        for round_ in range(3)
        for lane in range(2)
    }
    chunks = {tuple(corpus.train[at : at + 8].tolist()) for at in range(0, 6 * CHUNK, CHUNK)}
    assert starts == chunks


def test_too_short_a_text_is_refused(corpus: Corpus) -> None:
    with pytest.raises(TrainingError, match=r"too short: .* the least to train on is 8,193"):
        Batches(corpus.train[:CHUNK], CONFIG)
    with pytest.raises(
        TrainingError,
        match="a batch of 2 needs 16,385 characters, it has 9,000; --batch-size 1 would do",
    ):
        Batches(corpus.train[:9000], CONFIG)


def test_too_short_a_validation_split_is_refused_before_training(
    corpus: Corpus, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="validation split is too short"):
        Trainer(CONFIG, dataclasses.replace(corpus, validation=corpus.validation[:64]), tmp_path)


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


def test_validation_loss_of_an_untrained_model_is_about_that_of_chance(corpus: Corpus) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = CharRNN(ModelConfig(len(corpus.vocabulary), hidden_size=16))
    assert validation_loss(model, corpus.validation, 1280) == pytest.approx(np.log(12), abs=0.2)
