from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from ml.versions.registry import Registry

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "training.ipynb"


# It trains: for half a minute on an idle machine, for several on an old one that is busy.
@pytest.mark.timeout(300)
# Warnings of the Jupyter packages; ours show up in the kernel.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_training_notebook_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    for name, value in {"CHARRNN_WORK": str(tmp_path), "MLFLOW_TRACKING_URI": uri}.items():
        monkeypatch.setenv(name, value)
    for name in ("CHARRNN_TEXT", "MPLBACKEND"):
        monkeypatch.delenv(name, raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook, timeout=280, resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    ).execute()
    outputs = [
        output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    ]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    (version,) = Registry(uri).versions()
    assert version.title == "the notebook's model"
    loss = version.metrics["validation_nats_per_char"]
    print(f"{loss} nats per character")
    assert loss < 0.6  # the tiny language is soon learned
    assert version.metrics["int8_validation_nats_per_char"] == pytest.approx(loss, abs=0.005)


def test_the_notebook_is_kept_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert all(
        cell.outputs == [] and cell.execution_count is None
        for cell in notebook.cells
        if cell.cell_type == "code"
    )
