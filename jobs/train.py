"""Train one run by the DeepOBS protocol and write what came of it.

    python -m jobs.train RUN.json --out DIR [--data DIR]

DIR gets `progress.jsonl` (a line per evaluated epoch) and in the end either `outcome.json` (a
record: completed or diverged) or `error.json` (why there is none) with exit code 1.
"""

import argparse
import ctypes
import json
import logging
import math
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from jobs import failure, files, optimizers, problems, provenance
from jobs.cost import Meter
from jobs.curves import Curves
from jobs.problems.problem import Batch, Problem
from jobs.record import SCHEMA
from jobs.store import AttemptFiles
from jobs.sweep import Run

LOG_INTERVAL = 10
"""Steps between two entries of the minibatch loss, counted within each epoch (DeepOBS' default)."""

_SPLITS: tuple[Literal["train", "valid", "test"], ...] = ("train", "valid", "test")

log = logging.getLogger(__name__)


class DivergedError(ArithmeticError):
    """The run left the finite numbers."""

    def __init__(self, reason: str, epoch: int, step: int) -> None:
        super().__init__(f"{reason} in epoch {epoch} at step {step}")
        self.stop = {"reason": reason, "epoch": epoch, "step": step}


class Training:
    """One run's training.

    Evaluates all splits before training and after every epoch, logs the minibatch loss every
    `LOG_INTERVAL`th step, and stops at the first loss that is not finite. Nothing after that step
    is kept, and nothing is invented for it.

    An optimizer may offer `start_estimate()` (called after every epoch's evaluation),
    `estimating` (its next step belongs to an estimation), `backward(loss)` (to be used instead of
    `loss.backward()`), `hvp_count` and `get_log()`; all are optional.
    """

    def __init__(
        self,
        run: Run,
        problem: Problem,
        optimizer: torch.optim.Optimizer,
        meter: Meter,
        out: AttemptFiles,
    ) -> None:
        self.run = run
        self.problem = problem
        self.optimizer = optimizer
        self.meter = meter
        self.out = out
        self.step = 0  # steps begun so far, over all epochs
        self.curves = Curves()
        self._forwards = 0
        problem.model.register_forward_hook(self._count_forward)
        self._monitor = FiniteMonitor(meter.device)
        self._backward = getattr(optimizer, "backward", torch.Tensor.backward)
        self._restart = getattr(optimizer, "start_estimate", None)
        self._get_log = getattr(optimizer, "get_log", None)

    def go(self) -> dict[str, Any]:
        """Train to the end or to the divergence; returns the record's `stop`."""
        try:
            for epoch in range(self.run.epochs + 1):
                if epoch > 0:
                    self._train(epoch)
                self._evaluate(epoch)
                if self._restart is not None and 0 < epoch < self.run.epochs:
                    self._restart()
        except DivergedError as diverged:
            log.info("%s", diverged)
            return diverged.stop
        return {"reason": "completed", "epoch": self.run.epochs, "step": self.step}

    def _evaluate(self, epoch: int) -> None:
        row: dict[str, float] = {}
        with self.meter.phase("eval") as phase:
            before = self._forwards
            for split in _SPLITS:
                loss, accuracy = self.problem.evaluate(split, epoch)
                row[f"{split}_loss"] = loss
                if accuracy is not None:
                    row[f"{split}_accuracy"] = accuracy
            phase.forward += self._forwards - before
        if not all(math.isfinite(value) for value in row.values()):
            raise DivergedError("nonfinite_evaluation", epoch, self.step)
        self.curves.add_epoch(row)
        files.append_line(
            self.out.progress_file, {"time": time.time(), "epoch": epoch, "epochs": self.run.epochs}
        )
        log.info("epoch %d/%d: %s", epoch, self.run.epochs, _format(row))

    def _train(self, epoch: int) -> None:
        self.problem.model.train()
        batches = self.problem.train_batches(epoch)
        for index in range(self.problem.steps_per_epoch):
            self._take_step(batches.__next__, log_now=index % LOG_INTERVAL == 0)
            if self._monitor.is_due(index + 1 == self.problem.steps_per_epoch):
                self._check(epoch)

    def _take_step(self, next_batch: Any, *, log_now: bool) -> None:
        estimating = bool(getattr(self.optimizer, "estimating", False))
        forwards, hvps = self._forwards, getattr(self.optimizer, "hvp_count", 0)
        with self.meter.phase("estimate" if estimating else "train") as phase:
            batch: Batch = next_batch()
            self.optimizer.zero_grad()
            loss, _ = self.problem.loss(batch)
            self._backward(loss)
            phase.forward += self._forwards - forwards
            phase.backward += 1
        with self.meter.phase("estimate" if estimating else "apply") as phase:
            self.optimizer.step()
            phase.hvp += getattr(self.optimizer, "hvp_count", 0) - hvps
        self._monitor.see(loss.detach(), self.step, keep=log_now)
        rate = self.optimizer.param_groups[0]["lr"]
        if log_now or not isinstance(rate, torch.Tensor):  # reading a tensor may wait for the GPU
            self.curves.see_learning_rate(self.step, float(rate))
        if log_now and self._get_log is not None:
            self.curves.add_log(self.step, self._get_log())
        self.step += 1

    def _count_forward(self, *_: object) -> None:
        self._forwards += 1

    def _check(self, epoch: int) -> None:
        losses, first_bad = self._monitor.collect()
        for step, value in losses:
            self.curves.add_minibatch_loss(step, value)
        if first_bad is not None:
            self.curves.cut(first_bad)
            raise DivergedError("nonfinite_loss", epoch, first_bad)


class FiniteMonitor:
    """Watches every step's loss without making the host wait for the GPU at every step.

    On the GPU the first bad step is kept in a tensor and read once per `LOG_INTERVAL` steps; on
    the CPU there is nothing to wait for, and it is read at each.
    """

    def __init__(self, device: torch.device) -> None:
        self._interval = LOG_INTERVAL if device.type == "cuda" else 1
        self._never = torch.iinfo(torch.int64).max
        self._first_bad = torch.full((), self._never, dtype=torch.int64, device=device)
        self._kept: list[tuple[int, torch.Tensor]] = []
        self._seen = 0

    def see(self, loss: torch.Tensor, step: int, *, keep: bool) -> None:
        """Take in the loss (0-dim) of a step; `keep` it for the curve."""
        bad = torch.where(torch.isfinite(loss), self._never, step)
        self._first_bad = torch.minimum(self._first_bad, bad)
        if keep:
            self._kept.append((step, loss))
        self._seen += 1

    def is_due(self, last: bool) -> bool:
        """Whether it is time to `collect`."""
        return last or self._seen >= self._interval

    def collect(self) -> tuple[list[tuple[int, float]], int | None]:
        """The kept losses before the first bad step, and that step, if there is one."""
        found = int(self._first_bad.item())
        losses = [(step, loss.item()) for step, loss in self._kept if step < found]
        self._kept.clear()
        self._seen = 0
        return losses, None if found == self._never else found


def execute(run: Run, *, data: Path | None, out: AttemptFiles) -> dict[str, Any]:
    """Train `run` and return its record; progress goes to `out`.

    Raises:
        DataError, ImportError, TypeError, ValueError, ...: whatever keeps the run from a result.
    """
    started = time.time()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.deterministic = True  # as DeepOBS
    meter = Meter(device)
    with meter.phase("setup"):
        problem = problems.build(run, data=data, device=device)
        optimizer = optimizers.build(run, problem.model.parameters())
    training = Training(run, problem, optimizer, meter, out)
    stop = training.go()
    return {
        "schema": SCHEMA,
        "id": run.id,
        "run": run.to_json(),
        "outcome": "completed" if stop["reason"] == "completed" else "diverged",
        "stop": stop,
        "curves": training.curves.to_json(),
        "cost": meter.to_json(),
        "provenance": provenance.of_training(run, data, device)
        | {"started": started, "ended": time.time()},
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m jobs.train`; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m jobs.train", description="Train one run.")
    parser.add_argument("run", type=Path, help="the run, as JSON")
    parser.add_argument("--out", type=Path, required=True, help="folder for what comes of it")
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument(
        "--die-with-parent", action="store_true", help="end when the launcher is killed"
    )
    options = parser.parse_args(arguments)
    if options.die_with_parent:
        _die_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.out.mkdir(parents=True, exist_ok=True)
    out = AttemptFiles(options.out)
    try:
        run = Run.from_json(json.loads(options.run.read_bytes()))
        outcome = execute(run, data=options.data, out=out)
        files.write_atomically(out.outcome_file, files.to_json(outcome))
    except Exception as error:  # whatever ends a run is named, then reported
        log.exception("the run failed")
        report = failure.of_exception(error)
        files.write_atomically(out.error_file, files.to_json(report.to_json()))
        return 1
    return 0


def _die_with_parent() -> None:
    """Have the kernel kill this process when its launcher is gone (prctl(2), Linux)."""
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def _format(row: Mapping[str, float]) -> str:
    return ", ".join(f"{metric} {value:.4f}" for metric, value in row.items())


if __name__ == "__main__":
    sys.exit(main())
