"""A light training: `python -m jobs.train` for tests that ask nothing about training, without torch.

    python tests/trainer.py -m jobs.train RUN.json --out DIR ...

A script, which a profile names as its `python:` (`tests.slurm.make_profile`). The command line, the
signals, the exit codes and `error.json` are those of `jobs.train` itself; in the place of a model
stands a chain of hashes, one link per step, that goes through the checkpoints. All curves are read
off that chain, so that a checkpoint that is lost, torn, foreign or used at another step shows in the
record. `test_jobs_train_light.py` holds this and `jobs.train` to the same list of checks.

With `PROBPREC_TEST_TRAINER=torch` it is `jobs.train` that trains. Both wait between two steps while
the file that `PROBPREC_TEST_HOLD` names says so: a fault hits exactly the runs it is meant for.
"""

import hashlib
import importlib
import json
import logging
import os
import platform
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs import files, train
from jobs.datasets import find
from jobs.datasets.catalog import DATASETS
from jobs.problems.catalog import PROBLEMS
from jobs.store.attempts import AttemptFiles
from jobs.sweep import Run
from jobs.training import execute as real
from jobs.training import own_code
from jobs.training.curves import Curves
from jobs.training.origin import NOTHING, InputHashes, Origin
from jobs.training.stop import InterruptionError, Stop
from jobs.training.training_time import TrainingTime

STEPS_PER_EPOCH = {"digits_mlp": 37, "quadratic_deep": 7}
LOG_INTERVAL = 10
DIVERGES_FROM = 1e3  # a learning rate
PHASES = ("setup", "train", "eval", "estimate", "apply")
TRAILER = b"\nlight checkpoint sha256 "

log = logging.getLogger(__name__)


class CheckpointError(ValueError):
    """A checkpoint is torn or foreign."""


@dataclass
class Chain:
    """What is trained: everything that a checkpoint holds."""

    run: str
    link: str = ""
    epoch: int = 0  # under way; 0 is the evaluation before training
    index: int = 0  # steps taken in this epoch
    step: int = 0
    curves: Curves = field(default_factory=Curves)
    started: float = field(default_factory=time.time)
    resumes: int = 0
    time: TrainingTime = field(default_factory=lambda: TrainingTime(_nothing))
    origin: Origin | None = None  # what made the checkpoint

    def next_link(self) -> None:
        """Take a step."""
        text = f"{self.run} {self.step} {self.link}"
        self.link = hashlib.sha256(text.encode()).hexdigest()

    def number(self, name: str) -> float:
        """A number between 0 and 1 that depends on all steps so far."""
        digest = hashlib.sha256(f"{self.link} {name}".encode()).hexdigest()
        return int(digest[:8], 16) / 2**32

    def pack(self) -> bytes:
        """The bytes of a checkpoint."""
        assert self.origin is not None
        content = {name: getattr(self, name) for name in Chain.__dataclass_fields__}
        content |= {
            "curves": self.curves.to_json(),
            "time": self.time.state_dict(),
            "origin": self.origin.to_json(),
        }
        payload = json.dumps(content).encode()
        return payload + TRAILER + hashlib.sha256(payload).hexdigest().encode()

    @classmethod
    def unpack(cls, content: bytes, run: Run) -> "Chain":
        """Inverse of `pack`; CheckpointError if it is torn or of another run."""
        payload, found, digest = content.rpartition(TRAILER)
        if not found or hashlib.sha256(payload).hexdigest().encode() != digest:
            raise CheckpointError("torn")
        values = json.loads(payload)
        if values["run"] != run.id:
            raise CheckpointError(f"is of run {values['run']}")
        spent = TrainingTime(_nothing)
        spent.load_state_dict(values["time"])
        values |= {
            "curves": Curves.from_json(values["curves"]),
            "time": spent,
            "origin": Origin.from_json(values["origin"]),
        }
        return cls(**values)


class Light:
    """One training, as `jobs.training.Training`."""

    def __init__(
        self, run: Run, out: AttemptFiles, stop: Stop, every: float, given: InputHashes = NOTHING
    ) -> None:
        self.run, self.out, self.stop, self.every = run, out, stop, every
        self.given = given
        self.chain = Chain(run.id)
        self.steps_per_epoch = STEPS_PER_EPOCH.get(run.problem, 10)
        self.lr = float(run.hyperparameters.get("lr", 0.01))
        self.own_step = _own_step(run)
        self.next_file = 0
        self.last_checkpoint = time.monotonic()
        self.longest_epoch = 0.0
        self.epoch_start = time.monotonic()

    def resume(self, folders: Sequence[Path]) -> None:
        """Go on from the best checkpoint of the newest folder that has a good one."""
        why = "no checkpoint can be read"
        for folder in folders:
            found = []
            for path in AttemptFiles(folder).checkpoint_files:
                try:
                    chain = Chain.unpack(path.read_bytes(), self.run)
                except FileNotFoundError:
                    continue
                except (OSError, ValueError, KeyError) as error:
                    log.warning("checkpoint %s skipped: %s", path, error)
                    continue
                assert chain.origin is not None
                if changes := chain.origin.changes(self.given, "cpu"):
                    why = f"not from the checkpoint after step {chain.step}: {'; '.join(changes)}"
                else:
                    found.append((chain, path))
            if found:
                self.chain, path = max(found, key=lambda one: (one[0].epoch, one[0].index))
                self.chain.resumes += 1
                self.next_file = 1 if path == self.out.checkpoint_files[0] else 0
                self.note(resumed=str(path))
                return
        if folders:
            log.warning("starts anew: %s", why)
            self.note(anew=why)

    def go(self) -> dict[str, Any]:
        """Train to the end or the divergence; returns the record's `stop`."""
        chain = self.chain
        while chain.epoch <= self.run.epochs:
            while chain.epoch > 0 and chain.index < self.steps_per_epoch:
                if self.lr >= DIVERGES_FROM and chain.step == LOG_INTERVAL // 2:
                    reason = "nonfinite_loss"
                    return {"reason": reason, "epoch": chain.epoch, "step": chain.step}
                self.take_step()
                self.boundary()
            self.evaluate()
        return {"reason": "completed", "epoch": self.run.epochs, "step": chain.step}

    def take_step(self) -> None:
        """Another link of the chain; its loss, and the step of the user's optimizer."""
        chain = self.chain
        with chain.time.running():
            self.own_step()
            chain.next_link()
        if chain.index % LOG_INTERVAL == 0:
            chain.curves.add_minibatch_loss(chain.step, chain.number("minibatch"))
        chain.curves.see_learning_rate(chain.step, self.lr)
        chain.step, chain.index = chain.step + 1, chain.index + 1

    def evaluate(self) -> None:
        """The end of an epoch."""
        chain = self.chain
        kinds = ["loss"] if self.run.problem == "quadratic_deep" else ["loss", "accuracy"]
        names = [f"{split}_{kind}" for split in ("train", "valid", "test") for kind in kinds]
        chain.curves.add_epoch({name: chain.number(name) for name in names})
        chain.time.add_epoch(chain.step)
        seconds = time.monotonic() - self.epoch_start
        self.longest_epoch = max(self.longest_epoch, seconds if chain.epoch > 0 else 0)
        self.note(chain.epoch, **({"epoch_s": seconds} if chain.epoch > 0 else {}))
        chain.epoch, chain.index = chain.epoch + 1, 0
        self.epoch_start = time.monotonic()
        if chain.epoch <= self.run.epochs:
            self.boundary(between_epochs=True)

    def boundary(self, *, between_epochs: bool = False) -> None:
        """Between two steps: leave if it is time to, or write a checkpoint if one is due."""
        for _ in held(self.out, lambda: self.chain.step):
            self.look(between_epochs=between_epochs)

    def look(self, *, between_epochs: bool) -> None:
        """As `Training.boundary`."""
        if self.stop.asked:
            self.save()
            raise InterruptionError("told to stop by a signal")
        longest = self.longest_epoch
        if between_epochs and longest and not self.stop.has_time_for(longest):
            self.save()
            raise InterruptionError("the next epoch would not end in time")
        if time.monotonic() - self.last_checkpoint >= self.every:
            self.save()

    def save(self) -> None:
        """The next generation, over the older one."""
        path = self.out.checkpoint_files[self.next_file]
        self.chain.origin = Origin.now(self.given, "cpu")
        files.write_atomically(path, self.chain.pack())
        self.next_file = 1 - self.next_file
        self.last_checkpoint = time.monotonic()
        self.note(checkpoint=path.name)

    def note(self, evaluated: int | None = None, **more: Any) -> None:
        """A line of progress."""
        chain = self.chain
        known = chain.epoch - 1 if chain.epoch > 0 else None
        line = {
            "time": time.time(),
            "epoch": known if evaluated is None else evaluated,
            "epochs": self.run.epochs,
            "step": chain.step,
            "steps": self.run.epochs * self.steps_per_epoch,
        }
        files.append_line(self.out.progress_file, line | more)


def execute(
    run: Run,
    *,
    data: Path | None,
    out: AttemptFiles,
    resume: Sequence[Path] = (),
    stop: Stop | None = None,
    checkpoint_every: float = real.CHECKPOINT_EVERY,
    gpu: bool = False,
    own: Sequence[Path] = (),
    given: InputHashes = NOTHING,
) -> dict[str, Any]:
    """As `jobs.training.execute.execute`."""
    own_code.use(own)
    if gpu:
        from jobs.training import preflight

        preflight.require_gpu()
    _read_data(run, data)
    stop = stop or Stop()
    training = Light(run, out, stop, checkpoint_every, given)
    training.resume(resume)
    stop.defer()
    return _record(training, training.go(), data)


def _read_data(run: Run, folder: Path | None) -> None:
    """Every byte of it, compared with what it should be."""
    info = PROBLEMS.get(run.problem)
    if info is None or info.dataset is None:
        return
    dataset = DATASETS[info.dataset]
    place = find.find(dataset.name, folder)
    for file in dataset.files:
        path = find.locate(place, file, dataset.suffixes)
        assert path is not None
        find.read_verified(path, file)


def _own_step(run: Run) -> Callable[[], object]:
    """The step of an optimizer of the user's; nothing for those that need torch."""
    path = run.optimizer.replace(":", ".")
    if path.partition(".")[0] in {"torch", "probprec"}:
        return _nothing
    module, _, name = path.rpartition(".")
    optimizer = getattr(importlib.import_module(module), name)([], **run.hyperparameters)
    step: Callable[[], object] = optimizer.step
    return step


def _nothing() -> None: ...


def _record(training: Light, stop: dict[str, Any], data: Path | None) -> dict[str, Any]:
    from jobs.store.record import SCHEMA

    origin = Origin.now(training.given, "cpu")
    phase = {"wall_s": 0.0, "cpu_s": 0.0, "forward": 0, "backward": 0, "hvp": 0}
    chain = training.chain
    return {
        "schema": SCHEMA,
        "id": training.run.id,
        "run": training.run.to_json(),
        "outcome": "completed" if stop["reason"] == "completed" else "diverged",
        "stop": stop,
        "curves": chain.curves.to_json(),
        "time": chain.time.to_json(),
        "cost": {name: dict(phase) for name in PHASES}
        | {"peak_memory_bytes": 1, "peak_gpu_memory_bytes": None},
        "provenance": {
            "data": {"folder": str(data)},
            "code": "light",
            "training_code": "light",
            "own_code": dict(origin.own),
            "packages": dict(origin.packages),
            "environment": "light",
            "host": socket.gethostname(),
            "machine": platform.machine(),
            "cpu": "light",
            "python": platform.python_version(),
            "torch": "light",
            "numpy": "light",
            "threads": 1,
            "device": "cpu",
            "gpu": None,
            "cuda": None,
            "driver": None,
            "started": chain.started,
            "ended": time.time(),
            "resumes": chain.resumes,
        },
    }


def expected(run: Run) -> dict[str, Any]:
    """What the record of an undisturbed run says: `outcome`, `stop` and `curves`."""
    training = Light(run, AttemptFiles(Path("/dev/null")), Stop(), 1e9)
    training.own_step = _nothing
    training.note = _nothing_said
    record = _record(training, training.go(), None)
    return {key: record[key] for key in ("outcome", "stop", "curves")}


def _nothing_said(evaluated: int | None = None, **more: Any) -> None: ...


def held(out: AttemptFiles, step: Callable[[], int]) -> Iterator[None]:
    """Once, and then again and again as long as the hold says that the step is one to wait at."""
    yield
    is_new = True
    while (wanted := _step_of_hold(out)) is not None and step() >= wanted:
        if is_new:
            place = Path(f"{os.environ['PROBPREC_TEST_HOLD']}.at")
            place.mkdir(exist_ok=True)
            (place / f"{out.path.parts[-3]}.{int(out.path.name)}").write_text(str(step()))
            is_new = False
        time.sleep(0.05)
        yield


def _step_of_hold(out: AttemptFiles) -> int | None:
    hold = os.environ.get("PROBPREC_TEST_HOLD")
    if hold is None:
        return None
    run, fence = out.path.parts[-3], int(out.path.name)
    for name in (f"{hold}.{run}.{fence}", f"{hold}.{run}", f"{hold}.{fence}", hold):
        try:
            return int(Path(name).read_text() or 0)
        except OSError:
            continue
    return None


def _hold_the_real_one() -> None:
    """`jobs.train` itself, that waits between two steps."""
    build = real.build

    def held_build(*args: Any, **kwargs: Any) -> Any:
        training = build(*args, **kwargs)
        boundary = training.boundary

        def wait(**more: Any) -> None:
            for _ in held(training.out, lambda: int(training.step)):
                boundary(**more)

        training.boundary = wait
        return training

    real.build = held_build


def main(arguments: Sequence[str]) -> int:
    """The command; returns the exit code."""
    if list(arguments[:2]) != ["-m", "jobs.train"]:  # the doctor looks at the interpreter
        os.execv(sys.executable, [sys.executable, *arguments])
    os.nice(int(os.environ.get("PROBPREC_TEST_NICE", "0")))
    if os.environ.get("PROBPREC_TEST_TRAINER") == "torch":
        _hold_the_real_one()
    else:
        train.execute = execute
    return train.main(arguments[2:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
