"""`python -m ml train`: its options, and what it says when it ends or cannot begin."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ml.cli import main
from ml.config import TrainConfig, TrainingError
from ml.data.corpus import build
from tests.ml.training import CONFIG, NO_BF16

OLDER_PROCESSOR = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}


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
        flag, explained = option.name.replace("_", "-"), option.metadata["help"]
        assert f"| `--{flag}` | {option.default} | {explained} |" in documented


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("batch_size", 0, "--batch-size must be at least 1"),
        ("max_chars", -5, "--max-chars must be at least 1"),
        ("learning_rate", float("nan"), "--learning-rate must be at least 0"),
        ("dropout", 1.0, "--dropout must be below 1"),
        ("cooldown", 2.0, "--cooldown is a part of the run"),
        ("clip_norm", float("inf"), "--clip-norm must be a finite number"),
        ("precision", "fp8", "--precision is one of fp32, bf16"),
    ],
)
def test_invalid_options_are_refused(option: str, value: object, reason: str) -> None:
    with pytest.raises(TrainingError, match=reason):
        dataclasses.replace(CONFIG, **{option: value})


def test_an_unwritable_folder_is_one_sentence(written_corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match=r"^error: .*file/run.*: Not a directory"):
        main(train_command(written_corpus, tmp_path / "file" / "run"))
