"""Compare short training runs that differ in one option each, on the same text and seed.

    python -m tools.training_experiments --corpus FOLDER [--chars 1000000] [--minutes 20]
                                         [--only NAME ...]

Every row reads --chars characters, and its learning rate cools down over the last 40 % of them,
unless the row says otherwise. Finished rows are kept in build/training-experiments.json and are not
run again; a row that was interrupted goes on. Also writes the table to
build/training-experiments.md and a plot of the two recipes to docs/img/training-recipe.png.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional

from ml.config import TrainConfig
from ml.data.corpus import Corpus
from ml.measurements import read_measurements
from ml.training.model import CharRNN, State
from ml.training.trainer import Trainer

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "build" / "training-experiments.json"
PLOT = ROOT / "docs" / "img" / "training-recipe.png"
OURS, REFERENCE = "our recipe", "reference recipe"


class ResidualCharRNN(CharRNN):
    """A CharRNN whose second layer adds to the normalised output of the first."""

    def __init__(self, plain: CharRNN) -> None:
        nn.Module.__init__(self)
        self.config = config = plain.config
        self.lstm = nn.ModuleList(
            [
                nn.LSTM(config.vocab_size, config.hidden_size),
                nn.LSTM(config.hidden_size, config.hidden_size),
            ]
        )
        self.norm = nn.LayerNorm(config.hidden_size)
        self.linear = plain.linear
        for layer, lstm in enumerate(self.lstm):
            lstm.load_state_dict(
                {
                    f"{p}_l0": getattr(plain.lstm, f"{p}_l{layer}")
                    for p in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                }
            )

    def forward(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        hidden, cell = state or self.initial_state(ids.shape[1])
        inputs = functional.one_hot(ids, self.config.vocab_size).to(self.linear.weight.dtype)
        first, (h0, c0) = self.lstm[0](inputs, (hidden[:1], cell[:1]))
        first = self.norm(first)
        second, (h1, c1) = self.lstm[1](first, (hidden[1:], cell[1:]))
        return self.linear(first + second), (torch.cat([h0, h1]), torch.cat([c0, c1]))


class ResidualTrainer(Trainer):
    """A trainer of the residual model."""

    def _make_model(self) -> CharRNN:
        return ResidualCharRNN(super()._make_model())


class Both(torch.optim.Optimizer):
    """One optimizer: Muon for the recurrent matrices, AdamW for the other parameters."""

    def __init__(self, muon: torch.optim.Muon, adamw: torch.optim.AdamW) -> None:
        self.parts = (muon, adamw)
        self.param_groups = [*muon.param_groups, *adamw.param_groups]
        self.state = adamw.state

    def step(self, closure: Any = None) -> None:
        for part in self.parts:
            part.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none)


class MuonTrainer(Trainer):
    """A trainer with torch.optim.Muon, its step scaled to AdamW's. Cannot be resumed."""

    def _make_optimizer(self) -> torch.optim.Optimizer:
        muon = [
            p
            for name, p in self.model.named_parameters()
            if name.startswith("lstm.weight") and "ih_l0" not in name
        ]
        others = [p for p in self.model.parameters() if not any(p is m for m in muon)]
        betas = (self.config.beta1, self.config.beta2)
        return Both(
            torch.optim.Muon(
                muon,
                lr=self.config.learning_rate,
                weight_decay=0.01,
                adjust_lr_fn="match_rms_adamw",
            ),
            torch.optim.AdamW(others, lr=self.config.learning_rate, betas=betas, foreach=True),
        )


@dataclass(frozen=True)
class Experiment:
    """One row of the table: what it changes, in words and as options."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    trainer: Callable[..., Trainer] = Trainer
    share: float = 1.0  # of the budget


_REFERENCE = {
    "dropout": 0.5, "batch_size": 64, "sequence_length": 512, "learning_rate": 1e-2,
    "weight_decay": 0.0, "beta2": 0.999, "warmup_steps": 0, "cooldown": 0.0,
}  # fmt: skip

EXPERIMENTS = (
    Experiment(OURS),
    Experiment(REFERENCE, _REFERENCE),
    Experiment("batch 16 × 64", {"batch_size": 16}),
    Experiment("batch 64 × 64", {"batch_size": 64}),
    Experiment("sequence 128", {"sequence_length": 128}),
    Experiment("learning rate 2e-3", {"learning_rate": 2e-3}),
    Experiment("learning rate 8e-3", {"learning_rate": 8e-3}),
    Experiment("dropout 0.2", {"dropout": 0.2}),
    Experiment("1 × 512", {"num_layers": 1}),
    Experiment("residual and layer norm between layers", trainer=ResidualTrainer),
    Experiment("Muon", trainer=MuonTrainer, share=0.25),
    Experiment("AdamW, a quarter of the text (beside Muon)", share=0.25),
    Experiment("2 × 768", {"hidden_size": 768}),
    Experiment("3 × 512", {"num_layers": 3}),
    Experiment("learning rate 1.6e-2", {"learning_rate": 1.6e-2}),
    Experiment("AdamW beta2 0.999", {"beta2": 0.999}),
    Experiment("fp32", {"precision": "fp32"}),
    Experiment("1 × 1024", {"num_layers": 1, "hidden_size": 1024}),
)


def run(experiment: Experiment, base: TrainConfig, corpus: Corpus, folder: Path) -> dict[str, Any]:
    """Train one row and return what was measured."""
    config = dataclasses.replace(
        base, **experiment.options, max_chars=int(base.max_chars * experiment.share)
    )
    trainer = experiment.trainer(config, corpus, folder)
    loss = trainer.run()
    if not trainer.finished:
        raise KeyboardInterrupt
    return {
        "validation_nats_per_char": loss,
        "chars": trainer.chars,
        "updates": trainer.step,
        "minutes": round(trainer.seconds / 60, 2),
        "chars_per_second": round(trainer.chars / trainer.seconds),
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "precision": config.precision,
        "options": experiment.options,
        "curve": [[row.chars, row.validation_nats_per_char] for row in read_measurements(folder)],
    }


def table(results: dict[str, Any]) -> str:
    """Return the rows as a Markdown table, in the order of EXPERIMENTS."""
    lines = [
        "| changed | characters | updates | minutes | char/s | precision | validation nats/char |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in (experiment.name for experiment in EXPERIMENTS if experiment.name in results):
        row = results[name]
        lines.append(
            f"| {name} | {row['chars']:,} | {row['updates']:,} | {row['minutes']:.1f} "
            f"| {row['chars_per_second']:,} | {row['precision']} "
            f"| {row['validation_nats_per_char']:.3f} |"
        )
    return "\n".join(lines) + "\n"


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw the loss of the two recipes over the characters read."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(
        xlabel="characters read", ylabel="validation loss, nats per character"
    )
    for name in (OURS, REFERENCE):
        axes.plot(*zip(*results[name]["curve"], strict=True), marker=".", label=name)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--chars", type=int, default=1_000_000)
    parser.add_argument(
        "--minutes", type=float, default=20.0, help="begin no further row after this long"
    )
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--only", nargs="*", default=[experiment.name for experiment in EXPERIMENTS]
    )
    arguments = parser.parse_args()
    base = TrainConfig(
        max_chars=arguments.chars, precision=arguments.precision, threads=arguments.threads,
        validate_every=arguments.chars // 5, validation_chars=100_000, sample_chars=0,
    )  # fmt: skip
    corpus = Corpus.open(arguments.corpus)
    RESULTS.parent.mkdir(exist_ok=True)
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    begin = time.monotonic()
    for index, experiment in enumerate(EXPERIMENTS):
        if experiment.name in results or experiment.name not in arguments.only:
            continue
        if time.monotonic() - begin > arguments.minutes * 60:
            print(f"not run: {experiment.name}")
            continue
        print(f"{experiment.name} …", flush=True)
        results[experiment.name] = run(
            experiment, base, corpus, RESULTS.parent / "training-experiments" / f"{index:02d}"
        )
        RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    RESULTS.with_suffix(".md").write_text(table(results))
    print(table(results))
    if OURS in results and REFERENCE in results:
        plot(results, PLOT)


if __name__ == "__main__":
    main()
