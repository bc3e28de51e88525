"""metrics.csv: what each validation of a training run measured, in the run and in its versions."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from ml.errors import UserError

FILE = "metrics.csv"


class MeasurementsError(UserError):
    """The file is not a table of measurements."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a validation measured. Losses are in nats per character."""

    chars: int
    minutes: float
    train_nats_per_char: float  # mean since the validation before
    validation_nats_per_char: float
    chars_per_second: float  # of training, over the whole run
    learning_rate: float


COLUMNS = tuple(field.name for field in fields(Measurement))


def read_measurements(folder: Path) -> list[Measurement]:
    """Return the rows of metrics.csv in `folder`, oldest first; none if there is no such file.

    Raises MeasurementsError.
    """
    path = folder / FILE
    if not path.exists():
        return []
    try:
        with path.open(newline="") as file:
            return [
                Measurement(int(row.pop("chars")), **{k: _number(v) for k, v in row.items()})
                for row in csv.DictReader(file)
            ]
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        reason = str(error)[:100]
        raise MeasurementsError(f"{path} is not a table of measurements: {reason}") from None


def read_losses(folder: Path) -> list[tuple[str, float, int]]:
    """Return name, value and characters read of each loss in metrics.csv, oldest first.

    Other columns may be missing or of another name: the table may be of another release. Raises
    MeasurementsError.
    """
    try:
        with (folder / FILE).open(newline="") as file:
            return [
                (name, float(text), int(row["chars"]))
                for row in csv.DictReader(file)
                for name, text in row.items()
                if name.endswith("nats_per_char")
            ]
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise MeasurementsError(f"{FILE} is not a table of losses: {str(error)[:100]}") from None


def as_csv(rows: Sequence[Measurement]) -> str:
    """Return the text of metrics.csv; what is read from it and written again has the same bytes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(astuple(row) for row in rows)
    return text.getvalue()


def best(rows: Sequence[Measurement]) -> Measurement:
    """Return the earliest of the rows with the lowest validation loss."""
    return min(rows, key=lambda row: row.validation_nats_per_char)


def _number(text: str) -> float:
    """Return an int for a whole number, so that it is written again as it was."""
    return int(text) if text.isdecimal() else float(text)
