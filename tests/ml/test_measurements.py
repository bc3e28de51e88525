"""metrics.csv: what is read from it is written again with the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.measurements import (
    FILE,
    Measurement,
    MeasurementsError,
    as_csv,
    best,
    read_losses,
    read_measurements,
)
from ml.training.history import History

ROWS = [
    Measurement(512, 0.02, 2.5, 2.0, 11452, 0.004),
    Measurement(1024, 0.1, 2.0, 1.75, 11347, 1e-05),
    Measurement(1536, 1.46, 1.5, 1.75, 11400, 8e-05),
]


def test_reading_and_writing_keep_every_byte(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(as_csv(ROWS))
    assert read_measurements(tmp_path) == ROWS
    assert as_csv(read_measurements(tmp_path)) == as_csv(ROWS)
    assert as_csv(ROWS).splitlines()[1] == "512,0.02,2.5,2.0,11452,0.004"


def test_a_run_without_the_file_has_no_measurements(tmp_path: Path) -> None:
    assert read_measurements(tmp_path) == []


def test_the_best_is_the_earliest_with_the_lowest_loss() -> None:
    assert best(ROWS) == ROWS[1]


def test_a_history_goes_on_from_the_resume_point(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(as_csv(ROWS))
    history = History(tmp_path, until=1024)
    assert history.since_best() == 0
    history.append(ROWS[2])
    assert history.since_best() == 1
    assert (tmp_path / FILE).read_text() == as_csv(ROWS)


def test_losses_of_a_table_of_another_release_are_read(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("chars,minutes,test_nats_per_char\n10,0.1,2.5\n")
    assert read_losses(tmp_path) == [("test_nats_per_char", 2.5, 10)]


@pytest.mark.parametrize(
    "text",
    ["chars\nmany\n", "minutes\n1\n", as_csv(ROWS[:1])[:-10], as_csv(ROWS[:1]).strip() + ",7\n"],
    ids=["words", "other columns", "cut off", "too long"],
)
def test_an_invalid_table_is_refused_with_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(MeasurementsError, match=r"metrics\.csv is not a table of measurements"):
        read_measurements(tmp_path)
