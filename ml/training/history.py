"""The measurements of a training run, kept in its metrics.csv, and the plot of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ml.files import write_whole
from ml.measurements import FILE, Measurement, as_csv, best, read_measurements


class History:
    """The measurements of a run up to its resume point; later ones are measured again."""

    def __init__(self, run: Path, *, until: int) -> None:
        """Read those of the folder `run` that were made within the first `until` characters."""
        self._path = run / FILE
        self.rows = [row for row in read_measurements(run) if row.chars <= until]

    def append(self, row: Measurement) -> None:
        """Add `row` and write the file."""
        self.rows.append(row)
        write_whole(self._path, as_csv(self.rows).encode())

    def since_best(self) -> int:
        """Return how many validations there were after the best one."""
        return len(self.rows) - 1 - self.rows.index(best(self.rows)) if self.rows else 0


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
