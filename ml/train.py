"""The trainer: truncated BPTT with carried state, resumable to the exact weight.

A run folder holds `config.json`, `metrics.csv`, `resume.safetensors` (weights, optimizer moments, carried state and
position: everything the next step depends on) and a `snapshots/` entry for every validation.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from ml.config import ModelConfig, TrainConfig
from ml.corpus import Corpus
from ml.model import CharRNN, State

CHUNK = 8192  # characters; every lane reads a shuffled sequence of chunks, so any prefix of a run sees all the books
VALIDATION_LANES = 64
METRICS = ("chars", "minutes", "train_nats_per_char", "validation_nats_per_char", "chars_per_second", "learning_rate")


class TrainingError(Exception):
    """Training cannot start or go on; the message says why. The last resume point is kept."""


class Batches:
    """Training batches as a pure function of the step, which is what makes an exact resume simple.

    An epoch is a permutation of the chunks drawn from (seed, epoch); lane b reads chunks b, b+B, b+2B, … of it.
    """

    def __init__(self, ids: np.ndarray, config: TrainConfig) -> None:
        if CHUNK % config.sequence_length:
            raise TrainingError(f"the sequence length must divide {CHUNK}, and {config.sequence_length} does not")
        self._ids = ids
        self._config = config
        self._chunks = (len(ids) - 1) // CHUNK
        self._rounds = self._chunks // config.batch_size
        self._steps_per_chunk = CHUNK // config.sequence_length
        if not self._rounds:
            need = config.batch_size * CHUNK + 1
            raise TrainingError(f"the text is too short: {config.batch_size} lanes need {need:,} characters, it has {len(ids):,}")
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0))

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor, bool]:
        """Return inputs and targets (T, B) of `step`, and whether lanes start a new chunk (and so a fresh state)."""
        chunk_round, within = divmod(step, self._steps_per_chunk)
        epoch, chunk_round = divmod(chunk_round, self._rounds)
        if self._order[0] != epoch:
            generator = np.random.default_rng((self._config.seed, epoch))
            self._order = (epoch, generator.permutation(self._chunks))
        lanes = self._order[1][chunk_round * self._config.batch_size :][: self._config.batch_size]
        starts = lanes * CHUNK + within * self._config.sequence_length
        rows = np.stack([self._ids[start : start + self._config.sequence_length + 1] for start in starts], axis=1)
        window = torch.from_numpy(rows.astype(np.int64))  # (T + 1, B)
        return window[:-1], window[1:], within == 0


def learning_rate_at(chars: int, step: int, config: TrainConfig) -> float:
    """Return the learning rate: linear warm-up, constant, then a cosine over the last `cooldown` of the budget."""
    warmup = min(1.0, (step + 1) / max(1, config.warmup_steps))
    cooldown_chars = config.cooldown * config.max_chars
    into = (chars - (config.max_chars - cooldown_chars)) / cooldown_chars if cooldown_chars else 0.0
    into = min(1.0, max(0.0, into))
    cosine = config.final_learning_rate + (1 - config.final_learning_rate) * (1 + math.cos(math.pi * into)) / 2
    return config.learning_rate * warmup * cosine


@torch.no_grad()
def validation_loss(model: CharRNN, ids: np.ndarray, max_chars: int) -> float:
    """Return nats per character over up to `max_chars` of `ids`, state carried, read in evenly spaced lanes."""
    lane_length = (len(ids) - 1) // VALIDATION_LANES
    length = min(lane_length, max_chars // VALIDATION_LANES)
    if length < 1:
        raise TrainingError("the validation split is too short to validate on")
    starts = np.arange(VALIDATION_LANES) * lane_length
    rows = np.stack([ids[start : start + length + 1] for start in starts], axis=1)
    window = torch.from_numpy(rows.astype(np.int64))
    model.eval()
    state: State | None = None
    total = 0.0
    for at in range(0, length, 256):
        logits, state = model(window[at : min(at + 256, length)], state)
        targets = window[at + 1 : at + 1 + len(logits)]
        total += functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum").item()
    model.train()
    return total / (length * VALIDATION_LANES)


class Trainer:
    """One run in one folder. `run()` trains to the budget; an interrupted run continues with the very same weights."""

    def __init__(self, config: TrainConfig, corpus: Corpus, folder: Path) -> None:
        torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.config = config
        self.corpus = corpus
        self.folder = folder
        (folder / "snapshots").mkdir(parents=True, exist_ok=True)
        self.model = CharRNN(ModelConfig(len(corpus.vocabulary), config.hidden_size, config.num_layers, config.dropout))
        self.batches = Batches(corpus.train, config)
        self.optimizer = self._make_optimizer()
        self.state = self.model.initial_state(config.batch_size)
        self.step = 0
        self.seconds = 0.0
        self._recent_loss: list[float] = []
        self._resume_path = folder / "resume.safetensors"
        if self._resume_path.exists():
            self._resume()
        (folder / "config.json").write_text(json.dumps(dataclasses.asdict(config), indent=1) + "\n")

    def _make_optimizer(self) -> torch.optim.AdamW:
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

    def train_step(self) -> float:
        """Make one update and return its loss in nats per character."""
        inputs, targets, fresh = self.batches[self.step]
        if fresh:
            self.state = self.model.initial_state(self.config.batch_size)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(self.chars, self.step, self.config)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.config.precision == "bf16"):
            logits, state = self.model(inputs, self.state)
        loss = functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimizer.step()
        self.state = (state[0].detach().float(), state[1].detach().float())
        self.step += 1
        value = loss.item()
        if not math.isfinite(value):
            raise TrainingError(f"the loss became {value} at step {self.step}; lower --learning-rate and run again")
        return value

    def run(self) -> float:
        """Train until the budget is spent or SIGINT or SIGTERM arrives; return the last validation loss."""
        last = math.nan
        next_validation = (self.chars // self.config.validate_every + 1) * self.config.validate_every
        started = time.monotonic() - self.seconds
        with _stop_requests() as stop, tqdm(total=self.config.max_chars, initial=self.chars, unit="char", unit_scale=True) as bar:
            while self.chars < self.config.max_chars and not stop.is_set():
                before = self.chars
                self._recent_loss.append(self.train_step())
                bar.update(self.chars - before)
                self.seconds = time.monotonic() - started
                if self.step % 50 == 0:
                    bar.set_postfix(nats=f"{np.mean(self._recent_loss[-50:]):.3f}")
                if self.chars >= next_validation or self.chars >= self.config.max_chars:
                    next_validation += self.config.validate_every
                    last = self._validate()
                    bar.write(f"{self.chars:>12,} characters: validation {last:.4f} nats/char")
            self.save()
        return last

    def _validate(self) -> float:
        loss = validation_loss(self.model, self.corpus.validation, self.config.validation_chars)
        row = (
            self.chars,
            round(self.seconds / 60, 2),
            round(float(np.mean(self._recent_loss)), 4),
            round(loss, 4),
            round(self.chars / self.seconds),
            round(learning_rate_at(self.chars, self.step, self.config), 6),
        )
        path = self.folder / "metrics.csv"
        fresh = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if fresh:
                writer.writerow(METRICS)
            writer.writerow(row)
        self._recent_loss.clear()
        save_file(self.model.state_dict(), self.folder / "snapshots" / f"{self.chars:012d}.safetensors")
        self.save()
        return loss

    def save(self) -> None:
        """Write the resume point; the old one is replaced only when the new one is complete."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        names = {id(parameter): name for name, parameter in self.model.named_parameters()}
        for parameter, moments in self.optimizer.state.items():
            for key, value in moments.items():
                tensors[f"optimizer.{names[id(parameter)]}.{key}"] = torch.as_tensor(value).clone()
        tensors["state.hidden"], tensors["state.cell"] = (part.contiguous() for part in self.state)
        tensors["generator"] = torch.get_rng_state()
        position = {"step": str(self.step), "seconds": str(self.seconds)}
        partial = self._resume_path.with_suffix(".partial")
        save_file(tensors, partial, metadata=position)
        partial.replace(self._resume_path)

    def _resume(self) -> None:
        tensors = load_file(self._resume_path)
        with safe_open(self._resume_path, "pt") as file:
            position = file.metadata()
        weights = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
        try:
            self.model.load_state_dict(weights)
        except RuntimeError:
            raise TrainingError(f"{self.folder} holds a run of another architecture; choose a new --run folder") from None
        for name, parameter in self.model.named_parameters():
            prefix = f"optimizer.{name}."
            moments = {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
            self.optimizer.state[parameter] = moments
        self.state = (tensors["state.hidden"], tensors["state.cell"])
        torch.set_rng_state(tensors["generator"])
        self.step = int(position["step"])
        self.seconds = float(position["seconds"])


@contextmanager
def _stop_requests() -> Iterator[threading.Event]:
    """Yield an event that SIGINT and SIGTERM set, so that a step in progress is finished and saved."""
    stop = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, lambda *_: stop.set()) for number in signals}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
