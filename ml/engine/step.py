"""One step of the model for a batch of rows, and its implementation on ONNX Runtime.

A step owns the states of a fixed number of rows, one for each stream. `run(start, stop)` feeds each
of these rows the character in `ids`, updates their states in place and returns the logits of the
next characters.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime

from ml.config import HIDDEN_ZERO, ModelConfig
from ml.errors import UserError

Logits = npt.NDArray[np.float32]  # (n, V)

MANY_ROWS = 8  # with fewer, one thread is as fast as two, and far faster when a core is busy
_TYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}  # of a hidden state
_ZERO = {np.float32: 0, np.uint8: HIDDEN_ZERO}  # what 0.0 is in a state of that type
_MAX_BINDINGS = 512

Session: TypeAlias = onnxruntime.InferenceSession


class StepError(UserError):
    """The graph is not a step graph of this model; the message says what differs."""


class Step(Protocol):
    """What the engine needs of an inference backend. Not thread-safe: one thread drives a step."""

    ids: npt.NDArray[np.int32]  # (rows,) the characters to feed next, written by the caller

    def run(self, start: int, stop: int) -> Logits:
        """Feed `ids[start:stop]` and return logits (stop - start, V), valid until the next call."""

    def reset(self, row: int) -> None:
        """Set the state of `row` to zero."""

    def swap(self, a: int, b: int) -> None:
        """Exchange the states of two rows (not their ids)."""

    def save(self, row: int) -> bytes:
        """Return an exact copy of the state of `row`."""

    def load(self, row: int, state: bytes) -> None:
        """Set the state of `row` to one that `save` returned, of whichever row."""

    def fork(self, rows: int) -> Step:
        """Return a step for `rows` rows that shares the weights but not the states.

        It may run in another thread than this one.
        """


class OnnxStep:
    """A step graph (see ml/versions/graph.py) run by ONNX Runtime on the CPU."""

    def __init__(self, graph: bytes, model: ModelConfig, *, rows: int, threads: int) -> None:
        """Load `graph`. Raises StepError if it is not a step graph of `model`."""
        lone = _session(graph, 1)
        self._start((lone, _session(graph, threads) if threads > 1 else lone), model, rows)

    def _start(self, sessions: tuple[Session, Session], model: ModelConfig, rows: int) -> None:
        hidden_type = _check_interface(sessions[0], model)
        self._sessions = sessions  # for few rows, and for many
        self._model = model
        self.ids = np.zeros(rows, np.int32)
        self._logits = np.zeros((rows, model.vocab_size), np.float32)
        shape = (rows, model.hidden_size)
        self._states: dict[str, npt.NDArray[Any]] = {}
        for layer in range(model.num_layers):
            self._states[f"hidden_{layer}"] = np.full(shape, _ZERO[hidden_type], hidden_type)
            self._states[f"cell_{layer}"] = np.zeros(shape, np.float32)
        self._zero = {name: state[0].copy() for name, state in self._states.items()}
        self._bindings: dict[tuple[int, int], tuple[Session, onnxruntime.IOBinding, Logits]] = {}

    def run(self, start: int, stop: int) -> Logits:
        """Feed `ids[start:stop]` and return logits (stop - start, V), valid until the next call."""
        session, binding, logits = self._bindings.get((start, stop)) or self._bind(start, stop)
        session.run_with_iobinding(binding)
        return logits

    def _bind(self, start: int, stop: int) -> tuple[Session, onnxruntime.IOBinding, Logits]:
        """Bind rows start to stop.

        Each state is bound as input and as output; ml/versions/graph.py says why this is safe.
        """
        if len(self._bindings) >= _MAX_BINDINGS:
            self._bindings.clear()
        session = self._sessions[stop - start >= MANY_ROWS]
        binding = session.io_binding()

        def bind(add: Any, name: str, array: npt.NDArray[Any]) -> None:
            rows = array[start:stop]
            add(name, "cpu", 0, rows.dtype.type, rows.shape, rows.ctypes.data)

        bind(binding.bind_input, "ids", self.ids)
        bind(binding.bind_output, "logits", self._logits)
        for name, state in self._states.items():
            bind(binding.bind_input, name, state)
            bind(binding.bind_output, f"next_{name}", state)
        bound = self._bindings[start, stop] = (session, binding, self._logits[start:stop])
        return bound

    def reset(self, row: int) -> None:
        """Set the state of `row` to zero."""
        for name, state in self._states.items():
            state[row] = self._zero[name]

    def swap(self, a: int, b: int) -> None:
        """Exchange the states of two rows (not their ids)."""
        for state in self._states.values():
            state[[a, b]] = state[[b, a]]

    def save(self, row: int) -> bytes:
        """Return an exact copy of the state of `row`."""
        return b"".join(state[row].tobytes() for state in self._states.values())

    def load(self, row: int, state: bytes) -> None:
        """Set the state of `row` to one that `save` returned, of whichever row."""
        offset = 0
        for own in self._states.values():
            own[row] = np.frombuffer(state, own.dtype, self._model.hidden_size, offset)
            offset += own[row].nbytes

    def fork(self, rows: int) -> OnnxStep:
        """Return a step for `rows` rows with its own states, on the same sessions.

        A session may run in several threads at once.
        """
        step = OnnxStep.__new__(OnnxStep)
        step._start(self._sessions, self._model, rows)
        return step


def _session(graph: bytes, threads: int) -> Session:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL  # states are written in place
    options.log_severity_level = 3
    # Between two steps the second thread may spin, so that the next one starts sooner; in an idle
    # engine it must not.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common base but Exception
        reason = str(error).splitlines()[0][:200]
        raise StepError(f"the step graph cannot be loaded: {reason}") from None


def _check_interface(session: Session, model: ModelConfig) -> type[Any]:
    """Return the type of the hidden state.

    Raises StepError if names, shapes or types are not those of `model`.
    """
    inputs = {value.name: value for value in session.get_inputs()}
    outputs = {value.name: value for value in session.get_outputs()}
    hidden_type = inputs["hidden_0"].type if "hidden_0" in inputs else ""
    if hidden_type not in _TYPES:
        raise StepError("the step graph has no hidden state of a known type")
    width = model.hidden_size
    state = {f"hidden_{layer}": (hidden_type, width) for layer in range(model.num_layers)}
    state |= {f"cell_{layer}": ("tensor(float)", width) for layer in range(model.num_layers)}
    expected_outputs = {f"next_{name}": spec for name, spec in state.items()} | {
        "logits": ("tensor(float)", model.vocab_size)
    }
    if (
        set(inputs) != {*state, "ids"}
        or set(outputs) != set(expected_outputs)
        or inputs["ids"].type != "tensor(int32)"
    ):
        raise StepError(
            "the step graph has other inputs or outputs than a step graph of this model"
        )
    for values, specs in ((inputs, state), (outputs, expected_outputs)):
        for name, (type_, size) in specs.items():
            value = values[name]
            if value.type != type_ or len(value.shape) != 2 or value.shape[1] != size:
                found = f"{value.type} {value.shape}"
                raise StepError(f"the step graph's {name} is {found}, expected {type_} [n, {size}]")
    return _TYPES[hidden_type]
