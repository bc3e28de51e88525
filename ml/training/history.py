"""metrics.csv of a training run: one row for every validation, and the plot of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from ml.files import write_whole


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a validation measured. Losses are in nats per character."""

    chars: int
    minutes: float
    train_nats_per_char: float  # mean since the validation before
    validation_nats_per_char: float
    chars_per_second: float  # of training, over the whole run
    learning_rate: float


class History:
    """The measurements of a run up to its resume point; what a cut run wrote beyond it is written again."""

    def __init__(self, path: Path, *, until: int) -> None:
        self._path = path
        self.rows = [row for row in _read(path) if row.chars <= until]

    def append(self, row: Measurement) -> None:
        """Add `row` and write the file."""
        self.rows.append(row)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(field.name for field in fields(Measurement))
        writer.writerows(astuple(entry) for entry in self.rows)
        write_whole(self._path, text.getvalue().encode())

    def best(self) -> Measurement:
        """Return the earliest of the rows with the lowest validation loss."""
        return min(self.rows, key=lambda row: row.validation_nats_per_char)

    def since_best(self) -> int:
        """Return how many validations there were after the best one."""
        return len(self.rows) - 1 - self.rows.index(self.best()) if self.rows else 0


def read_history(run: Path) -> list[Measurement]:
    """Return the measurements of the run in folder `run`, oldest first."""
    return _read(run / "metrics.csv")


def _read(path: Path) -> list[Measurement]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            Measurement(chars=int(row.pop("chars")), **{k: float(v) for k, v in row.items()})
            for row in csv.DictReader(file)
        ]


def draw_loss(rows: Sequence[Measurement], path: Path) -> None:
    """Write a plot of training and validation loss by characters read to `path` (.png or .svg)."""
    from matplotlib.figure import Figure  # takes a second to import

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="characters read", ylabel="nats per character")
    chars = [row.chars for row in rows]
    axes.plot(
        chars,
        [row.train_nats_per_char for row in rows],
        color="0.6",
        label="training, since the last validation",
    )
    axes.plot(
        chars,
        [row.validation_nats_per_char for row in rows],
        color="C0",
        marker=".",
        label="validation",
    )
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
