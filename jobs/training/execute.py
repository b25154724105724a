"""A training is built from its run, restored from a checkpoint if there is one, and carried out."""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.store.attempts import AttemptFiles
from jobs.sweep import Run
from jobs.training import own_code, preflight
from jobs.training.origin import NOTHING, InputHashes
from jobs.training.stop import Stop

if TYPE_CHECKING:
    import torch

    from jobs.training.loop import Training


log = logging.getLogger(__name__)

CHECKPOINT_EVERY = 600.0  # seconds


def execute(
    run: Run,
    *,
    data: Path | None,
    out: AttemptFiles,
    resume: Sequence[Path] = (),
    stop: Stop | None = None,
    checkpoint_every: float = CHECKPOINT_EVERY,
    gpu: bool = False,
    own: Sequence[Path] = (),
    given: InputHashes = NOTHING,
) -> dict[str, Any]:
    """Train `run` and return its record; progress and checkpoints go to `out`.

    Args:
        run: the run to train.
        data: folder of the data sets, searched before all others.
        out: files of this attempt.
        resume: folders of earlier attempts, newest first.
        stop: asked at every boundary whether to stop.
        checkpoint_every: seconds between two checkpoints; 0: one after every step.
        gpu: fail rather than train on the CPU.
        own: folders of the user's own modules.
        given: hashes of image and data, from the launcher.

    Raises:
        InterruptionError: the training was told to stop.
        DataError, ImportError, TypeError, ValueError, ...: the run cannot have a result.
    """
    from jobs.training.loop import Training

    own_code.use(own)  # after the modules that every training imports
    device = _device(gpu=gpu)
    stop = stop or Stop()
    make = partial(build, Training, run, device, data=data, out=out, stop=stop, given=given)
    training = begin(run, make, out=out, resume=resume, every=checkpoint_every)
    stop.defer()
    return _record(training, training.go(), data)


def _device(*, gpu: bool) -> "torch.device":
    """The device of the training; GpuMissingError if a GPU is required, and none works."""
    import torch

    if gpu:
        preflight.require_gpu()
    preflight.warn_of_small_shared_memory()
    torch.backends.cudnn.deterministic = True  # as DeepOBS
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _record(training: "Training", reason: dict[str, Any], data: Path | None) -> dict[str, Any]:
    from jobs.store.record import SCHEMA
    from jobs.training import provenance

    run, meter = training.run, training.meter
    return {
        "schema": SCHEMA,
        "id": run.id,
        "run": run.to_json(),
        "outcome": "completed" if reason["reason"] == "completed" else "diverged",
        "stop": reason,
        "curves": training.curves.to_json(),
        "time": training.time.to_json(),
        "cost": meter.to_json(),
        "provenance": provenance.of_training(run, data, meter.device, training.origin())
        | {"started": training.started, "ended": time.time(), "resumes": training.resumes},
    }


def begin(
    run: Run,
    make: "Callable[[], Training]",
    *,
    out: AttemptFiles,
    resume: Sequence[Path],
    every: float,
) -> "Training":
    """The training at the best checkpoint that fits, else at its beginning."""
    from jobs.training import checkpoint

    training = make()
    why = "no checkpoint can be read"
    for path, saved in checkpoint.find(resume, run):
        if changes := training.changed_since(saved):
            why = f"not from the checkpoint after step {saved.notes['step']}: {'; '.join(changes)}"
            log.warning("checkpoint %s skipped: %s", path, why)
            continue
        try:
            training.restore(saved)
        except Exception as error:  # a user's optimizer may refuse its own state in any way
            refusal = f"{type(error).__name__}: {error}"
            log.warning("checkpoint %s skipped: %s", path, refusal, exc_info=True)
            why = f"a checkpoint cannot be restored: {refusal}"
            training = make()
            continue
        log.info("goes on after step %d, from %s", training.step, path)
        training.note_progress(resumed=str(path))
        training.checkpoints = checkpoint.Checkpoints(out, every=every, resumed=path)
        return training
    if resume:
        log.warning("starts anew: %s", why)
        training.note_progress(anew=why)
    training.checkpoints = checkpoint.Checkpoints(out, every=every)
    return training


def build(
    kind: "type[Training]",
    run: Run,
    device: "torch.device",
    *,
    data: Path | None,
    out: AttemptFiles,
    stop: Stop,
    given: InputHashes = NOTHING,
) -> "Training":
    """The training of `run` at its beginning."""
    from jobs import optimizers, problems
    from jobs.datasets.watched_path import watched
    from jobs.regime.placeholders import Numbers
    from jobs.training import checkpoint
    from jobs.training.cost import Meter

    started = time.time()
    checkpoint.seed_generators(run.seed)
    meter = Meter(device)
    with meter.phase("setup"):
        folder = None if data is None else watched(data)
        problem = problems.build(run, data=folder, device=device)
        numbers = Numbers.of(run, problem.steps_per_epoch)
        optimizer = optimizers.build(run, problem.model, numbers)
    training = kind(run, problem, optimizer, meter, out, stop, given)
    training.started = started
    return training
