"""Train the beginning of a run and write down its state after every step, to compare two trainings.

    python -m jobs.training.trace RUN.json --out DIR --trace FILE --steps N [--data DIR] [--own DIR]...
        [--resume DIR] [--stop-after STEP]

Each epoch has at most N steps, and each evaluation at most `EVALUATED` batches. FILE gets the
trace, DIR the files that `python -m jobs.train` writes. The training always runs on the CPU.
"""

import argparse
import hashlib
import itertools
import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jobs import failure, files
from jobs.problems.problem import Batch, Problem, Split
from jobs.store.attempts import AttemptFiles
from jobs.sweep import Run
from jobs.training import checkpoint, execute, own_code
from jobs.training.checkpoint import Checkpoint
from jobs.training.loop import Training
from jobs.training.stop import InterruptionError, Stop
from jobs.training.trace_comparison import Line

EVALUATED = 2
"""Batches of each split that an evaluation takes."""

_STANDARD_ATTRIBUTES = {"state", "param_groups", "defaults"}  # of all optimizers; in `state_dict`
_LIST_DEPTH_MAX = 4

log = logging.getLogger(__name__)


class TracedTraining(Training):
    """A short training that writes a `Line` at every boundary and after a resume."""

    file: Path
    steps: int
    stop_after: int | None = None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._loss: torch.Tensor | None = None
        self._loss_of = self.problem.loss
        self._shorten(self.problem)

    def _shorten(self, problem: Problem) -> None:
        evaluation_batches = problem.evaluation_batches

        def few(split: Split, epoch: int) -> Iterator[Batch]:
            return itertools.islice(evaluation_batches(split, epoch), EVALUATED)

        def seen(batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
            loss, accuracy = self._loss_of(batch)
            self._loss = loss.detach()
            return loss, accuracy

        problem.steps_per_epoch = min(self.steps, problem.steps_per_epoch)
        vars(problem).update(evaluation_batches=few, loss=seen)

    def restore(self, saved: Checkpoint) -> None:
        """Restore a checkpoint, and write a line with the restored state."""
        super().restore(saved)
        self._write(resumed=True)

    def boundary(self, *, between_epochs: bool = False) -> None:
        """Write a line; stop if this is the step to stop after."""
        self._write(resumed=False)
        if self.step == self.stop_after:
            self._stop.asked = True
        super().boundary(between_epochs=between_epochs)

    def _write(self, *, resumed: bool) -> None:
        line = Line(
            epoch=self.epoch,
            index=self.index,
            step=self.step,
            resumed=resumed,
            loss=None if self._loss is None else self._loss.item(),
            state=state_of(self),
            attributes=attributes_of(self.optimizer),
        )
        with self.file.open("a") as file:
            file.write(json.dumps(vars(line)) + "\n")


def state_of(training: Training) -> dict[str, Any]:
    """All values that a checkpoint restores, by names that a person understands."""
    named: dict[str, Any] = dict(_state_of_optimizer(training.optimizer.state_dict()))
    for key, value in training.problem.model.state_dict().items():
        named[f"model weights '{key}'"] = value
    for part, state in training.regime.state_dict().items():
        named[f"the state of {part}"] = state
    notes = checkpoint.generator_notes()
    named["the global random generator of torch"] = torch.get_rng_state()
    named["the global random generator of numpy"] = notes["numpy"]
    named["the global random generator of Python"] = notes["python"]
    return dict(_flat(named))


def _state_of_optimizer(state: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The parts of an optimizer's `state_dict` by name; parts not in torch's layout by key."""
    for part, content in state.items():
        if part == "state" and isinstance(content, Mapping):
            for index, of_parameter in content.items():
                is_torchs = isinstance(of_parameter, Mapping) and isinstance(index, int)
                for key, value in (of_parameter if is_torchs else {index: of_parameter}).items():
                    of = f" of parameter {index}" if is_torchs else ""
                    yield f"optimizer state '{key}'{of}", value
        elif part == "param_groups" and all(isinstance(group, Mapping) for group in content):
            for index, group in enumerate(content):
                for key, value in group.items():
                    yield f"optimizer setting '{key}' of group {index}", value
        else:
            yield f"optimizer state '{part}'", content


def attributes_of(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The other attributes of an optimizer that are plain values, or made of plain values."""
    own = {
        key: value
        for key, value in vars(optimizer).items()
        if key not in _STANDARD_ATTRIBUTES and "hook" not in key and key != "_inner"
    }
    return dict(_flat(own))


def _flat(named: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Each value as JSON can hold it: numbers and texts as they are, all else as a hash."""
    for name, value in named.items():
        if isinstance(value, dict):
            for key, found in _flat(value):
                yield f"{name}.{key}", found
        elif value is None or isinstance(value, bool | int | float | str):
            yield str(name), repr(value)
        elif (found := _hash(value, _LIST_DEPTH_MAX)) is not None:
            yield str(name), found


def _hash(value: Any, depth: int) -> str | None:
    """The sha256 of tensors, plain values and lists of these; None for a value of another kind."""
    if isinstance(value, torch.Tensor):
        dense = value.detach().cpu().contiguous().reshape(-1)
        content = dense.view(torch.uint8).numpy().tobytes()
        return hashlib.sha256(f"{value.dtype}{tuple(value.shape)}".encode() + content).hexdigest()
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, np.ndarray | np.generic):
        return hashlib.sha256(f"{value.dtype}{value.shape}".encode() + value.tobytes()).hexdigest()
    if isinstance(value, dict):
        value = [item for pair in value.items() for item in pair]
    if isinstance(value, Sequence | set) and depth:
        parts = [_hash(item, depth - 1) for item in value]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m jobs.training.trace`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.training.trace", description="Trace a training."
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--trace", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--own", type=Path, action="append", default=[])
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--stop-after", type=int)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    own_code.use(options.own)
    options.out.mkdir(parents=True, exist_ok=True)
    out = AttemptFiles(options.out)
    run = Run.from_json(json.loads(options.run.read_bytes()))
    try:
        result = _trace(run, options, out)
    except InterruptionError:
        return failure.EXIT_INTERRUPTED
    except Exception as error:
        log.exception("the run failed")
        files.write_atomically(out.error_file, files.to_json(failure.of_exception(error).to_json()))
        return 1
    files.write_atomically(out.outcome_file, files.to_json(result))
    return 0


def _trace(run: Run, options: argparse.Namespace, out: AttemptFiles) -> dict[str, Any]:
    class Traced(TracedTraining):
        file = options.trace
        steps = options.steps
        stop_after = options.stop_after

    make = partial(
        execute.build, Traced, run, torch.device("cpu"), data=options.data, out=out, stop=Stop()
    )
    resume = [options.resume] if options.resume else []
    training = execute.begin(run, make, out=out, resume=resume, every=float("inf"))
    return {"stop": training.go(), "curves": training.curves.to_json()}


if __name__ == "__main__":
    sys.exit(main())
