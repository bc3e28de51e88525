"""The serving path loads no training stack and no web framework.

They would cost every worker memory and start-up time.
"""

from __future__ import annotations

import subprocess
import sys

from ml.versions.version import Version

PROGRAM = """
import sys
from pathlib import Path
from ml.engine.engine import Request
from functools import partial
from ml.engine.cache import EngineCache
from ml.sampling import Sampling
from ml.versions.load import load_engine
import ml.versions.errors, ml.versions.version, ml.engine.sampler, ml.engine.step

load = partial(load_engine, max_streams=4, threads=1, step="onnx")
cache = EngineCache(load, size=1)
engine = cache.get(Path(sys.argv[1]), sys.argv[2])
stream = engine.submit(Request("The ", Sampling(length=100, seed=1)))
assert stream.wait(60)
engine.score("The cat")
cache.close()
print(len(stream.text), *sorted({"torch", "onnx", "mlflow", "django", "generator", "tqdm"}
            & set(sys.modules)))
"""


def test_serving_imports_neither_torch_nor_the_site(version: Version) -> None:
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(version.folder), version.digest]
    result = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert result.stderr == ""
    assert result.stdout.split() == ["100"]
