"""The trainer: truncated BPTT with carried state, resumable to the exact weight.

A run folder holds `config.json`, `metrics.csv` and its plot `loss.png`, `resume.safetensors`
(weights, optimizer moments, carried state and position: everything the next step depends on), and
in `snapshots/` the weights and a sample text of every validation.
"""

from __future__ import annotations

import dataclasses
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch.nn import functional
from tqdm import tqdm

from ml import strict_json
from ml.config import ModelConfig, TrainConfig, TrainingError
from ml.data.corpus import Corpus
from ml.engine.offline import generate
from ml.engine.stream import Request
from ml.engine.torch_step import TorchStep
from ml.files import write_whole
from ml.measurements import FILE, Measurement
from ml.sampling import Sampling
from ml.training.batches import Batches
from ml.training.device import check_precision, find_device
from ml.training.history import History, draw_loss
from ml.training.model import CharRNN
from ml.training.resume import Position, check_same_run, load_point, save_point
from ml.training.schedule import learning_rate_at
from ml.training.tracking import Tracker
from ml.training.validation import validation_loss, validation_windows

LOG_STEPS = 50  # updates between two points of the training loss
SAMPLE_TEMPERATURE = 0.8


class Trainer:
    """One run in one folder. An interrupted run continues to exactly the same weights."""

    def __init__(
        self, config: TrainConfig, corpus: Corpus, folder: Path, tracker: Tracker | None = None
    ) -> None:
        torch.set_num_threads(config.threads)
        self.device = find_device(config.device)
        check_precision(config.precision, self.device)
        torch.manual_seed(config.seed)
        self.config = config
        self.corpus = corpus
        self.folder = folder
        self.tracker = tracker
        self.batches = Batches(corpus.train, config)
        validation_windows(corpus.validation, config.validation_chars)  # fails now if too short
        self.model = self._make_model().to(self.device)
        self.optimizer = self._make_optimizer()
        self.state = self.model.initial_state(config.batch_size)
        self.step = 0
        self.seconds = 0.0
        self._losses: list[float] = []  # since the last validation
        self._resume_path = folder / "resume.safetensors"
        if self._resume_path.exists():
            check_same_run(folder, config)
            self._resume()
        (folder / "snapshots").mkdir(parents=True, exist_ok=True)
        self.history = History(folder, until=self.chars)
        write_whole(
            folder / "config.json",
            (strict_json.serialize(dataclasses.asdict(config), indent=1) + "\n").encode(),
        )

    def _make_model(self) -> CharRNN:
        config = self.config
        return CharRNN(
            ModelConfig(
                len(self.corpus.vocabulary), config.hidden_size, config.num_layers, config.dropout
            )
        )

    def _make_optimizer(self) -> torch.optim.Optimizer:
        matrices = [p for p in self.model.parameters() if p.ndim > 1]
        vectors = [p for p in self.model.parameters() if p.ndim == 1]
        groups = [
            {"params": matrices, "weight_decay": self.config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        betas = (self.config.beta1, self.config.beta2)
        return torch.optim.AdamW(groups, lr=self.config.learning_rate, betas=betas, foreach=True)

    @property
    def chars(self) -> int:
        """Characters seen so far."""
        return self.step * self.config.batch_size * self.config.sequence_length

    @property
    def finished(self) -> bool:
        """Whether the budget is spent, or the loss has not fallen for `patience` validations."""
        patience = self.config.patience
        return self.chars >= self.config.max_chars or bool(
            patience and self.history.since_best() >= patience
        )

    def train_step(self) -> float:
        """Make one update and return its loss in nats per character.

        Raises TrainingError instead of making an update that is not finite.
        """
        inputs, targets, fresh = self.batches[self.step]
        if fresh:
            self.state = self.model.initial_state(self.config.batch_size)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(self.chars, self.step, self.config)
        with torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.config.precision == "bf16"
        ):
            logits, state = self.model(inputs.to(self.device), self.state)
        loss = functional.cross_entropy(
            logits.float().flatten(0, 1), targets.flatten().to(self.device)
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        value = loss.item()
        if not math.isfinite(value + norm.item()):
            raise TrainingError(
                self._diverged(f"the loss became {value} with a gradient of length {norm.item()}")
            )
        self.optimizer.step()
        self.state = (state[0].detach().float(), state[1].detach().float())
        self.step += 1
        return value

    def run(self) -> float:
        """Train until the run is finished or SIGINT or SIGTERM arrives.

        Return the last validation loss, NaN if there is none.
        """
        try:
            if self.tracker:
                self.tracker.begin(self._parameters(), self.history.rows)
            with _stop_requests() as stop, self._progress() as bar:
                self._train(stop, bar)
            self.save()
        except OSError as error:
            self._end("FAILED")
            raise TrainingError(
                f"{error.filename or self.folder}: {error.strerror or error}; {self._kept()}"
            ) from error
        except BaseException:
            self._end("FAILED")
            raise
        self._end("FINISHED" if self.finished else "KILLED")
        return self.history.rows[-1].validation_nats_per_char if self.history.rows else math.nan

    def _train(self, stop: threading.Event, bar: tqdm[Any]) -> None:
        started = time.monotonic() - self.seconds
        logged = (self.seconds, self.step)
        while not self.finished and not stop.is_set():
            before = self.chars
            self._losses.append(self.train_step())
            bar.update(self.chars - before)
            self.seconds = time.monotonic() - started
            if self.step % LOG_STEPS == 0:
                self._log(bar, self.seconds - logged[0], self.step - logged[1])
                logged = (self.seconds, self.step)
            every = self.config.validate_every
            if self.chars // every > before // every or self.chars >= self.config.max_chars:
                row = self._validate()
                bar.write(
                    f"{self.chars:>12,} characters: "
                    f"validation {row.validation_nats_per_char:.4f} nats/char",
                    sys.stderr,
                )

    def _log(self, bar: tqdm[Any], seconds: float, steps: int) -> None:
        loss = float(np.mean(self._losses[-LOG_STEPS:]))
        bar.set_postfix(nats=f"{loss:.3f}")
        if self.tracker:
            speed = steps * self.config.batch_size * self.config.sequence_length / seconds
            self.tracker.training(self.chars, loss, speed)

    def _validate(self) -> Measurement:
        loss = validation_loss(self.model, self.corpus.validation, self.config.validation_chars)
        if not math.isfinite(loss):
            raise TrainingError(self._diverged(f"the validation loss became {loss}"))
        row = Measurement(
            chars=self.chars,
            minutes=round(self.seconds / 60, 2),
            train_nats_per_char=round(float(np.mean(self._losses)), 4),
            validation_nats_per_char=round(loss, 4),
            chars_per_second=round(self.chars / self.seconds),
            learning_rate=learning_rate_at(self.chars, self.step, self.config),
        )
        self._losses.clear()
        snapshot = self.folder / "snapshots" / f"{self.chars:012d}.safetensors"
        write_whole(
            snapshot, save({name: tensor.cpu() for name, tensor in self.model.state_dict().items()})
        )
        artifacts = {self.folder / "loss.png": "", self.folder / FILE: ""}
        if self.config.sample_chars:
            write_whole(snapshot.with_suffix(".txt"), self.sample().encode())
            artifacts[snapshot.with_suffix(".txt")] = "samples"
        self.history.append(row)
        draw_loss(self.history.rows, self.folder / "loss.png")
        self.save()
        if self.tracker:
            self.tracker.validation(row, artifacts)
        return row

    def sample(self) -> str:
        """Return a text that the model writes now, from the start state."""
        weights = {name: tensor.cpu().numpy() for name, tensor in self.model.state_dict().items()}
        step = TorchStep(
            self.model.config, weights, rows=1, threads=self.config.threads, device=str(self.device)
        )
        sampling = Sampling(
            length=self.config.sample_chars,
            seed=self.config.seed,
            temperature=SAMPLE_TEMPERATURE,
        )
        return generate(step, self.corpus.vocabulary, Request("", sampling)).text

    def save(self) -> None:
        """Write the resume point; the old one stays until the new one is complete."""
        at = Position(self.step, self.seconds, self.state, self._losses)
        save_point(self._resume_path, self.model, self.optimizer, at, self.corpus.digest)

    def _resume(self) -> None:
        at = load_point(self._resume_path, self.model, self.optimizer, self.corpus.digest)
        self.step, self.seconds, self.state, self._losses = (
            at.step,
            at.seconds,
            at.state,
            list(at.losses),
        )

    def _diverged(self, what: str) -> str:
        return (
            f"{what} after {self.chars:,} characters; "
            f"lower --learning-rate and run again: {self._kept()}"
        )

    def _kept(self) -> str:
        return (
            f"the last resume point is kept in {self.folder}"
            if self._resume_path.exists()
            else "no resume point was made yet"
        )

    def _parameters(self) -> dict[str, Any]:
        return dataclasses.asdict(self.config) | {
            "vocab_size": len(self.corpus.vocabulary),
            "corpus_digest": self.corpus.digest,
            "corpus_join_lines": self.corpus.join_lines,
            "corpus_books": len(self.corpus.books),
            "corpus_train_chars": len(self.corpus.train),
            "device_used": str(self.device),
            "torch": torch.__version__,
        }

    def _progress(self) -> tqdm[Any]:
        interval = 0.5 if sys.stderr.isatty() else 30  # a log file needs no moving bar
        return tqdm(
            total=self.config.max_chars,
            initial=self.chars,
            unit="char",
            unit_scale=True,
            mininterval=interval,
        )

    def _end(self, status: str) -> None:
        if self.tracker:
            self.tracker.end(status)


@contextmanager
def _stop_requests() -> Iterator[threading.Event]:
    """Yield an event that SIGINT and SIGTERM set; the current step is then finished and saved."""
    stop = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, lambda *_: stop.set()) for number in signals}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
