"""A checkpoint holds all that a training needs to go on later; two generations are on disk.

A file is what `torch.save` writes, followed by a line with the format's version and the sha256 of
all bytes before it. It is read with `weights_only=True`; all but the tensors of model and optimizer
is JSON text.
"""

import hashlib
import io
import json
import logging
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jobs import files
from jobs.store.attempts import AttemptFiles
from jobs.streams import stream
from jobs.sweep import PROTOCOL_VERSION, Run
from jobs.training.origin import Origin

FORMAT = 2

_TRAILER = f"\nprobprec checkpoint {FORMAT} sha256 ".encode()
_TRAILER_LENGTH = len(_TRAILER) + 64 + 1

log = logging.getLogger(__name__)


class CheckpointError(ValueError):
    """A checkpoint is torn, foreign or unreadable, or a state cannot be saved in a checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of a training at the boundary before step `index` of epoch `epoch`.

    `index` may be the number of steps per epoch: then the epoch's evaluation comes next.
    """

    epoch: int  # from 1
    index: int
    tensors: dict[str, Any]  # nested: tensors, numbers, strings, lists and dicts
    notes: dict[str, Any]  # JSON values
    origin: Origin  # code, packages, image, data and device that made it


class Checkpoints:
    """The checkpoints of one attempt; a new one overwrites the older of the two files."""

    def __init__(self, out: AttemptFiles, *, every: float, resumed: Path | None = None) -> None:
        """`every`: seconds between two; `resumed`: the file that must not be overwritten first."""
        self._files = out.checkpoint_files
        self._next = 1 if resumed == self._files[0] else 0
        self._every = every
        self._last = time.monotonic()
        self.seconds = 0.0
        """Time to write the last checkpoint."""

    @property
    def is_due(self) -> bool:
        """Whether it is time for the next checkpoint."""
        return time.monotonic() - self._last >= self._every

    def write(self, run: Run, take: Callable[[], Checkpoint]) -> Path:
        """Write the next generation: the checkpoint that `take` returns, if it can be read back.

        Raises:
            CheckpointError: the state holds a value that cannot be saved.
            OSError: the file cannot be written.
        """
        start = time.monotonic()
        self._last = start  # even if writing fails, so that it is not tried at every step
        content = _pack(run, take)
        _unpack(content, run)
        path = self._files[self._next]
        files.write_atomically(path, content)
        self._next = 1 - self._next
        self._last = time.monotonic()
        self.seconds = self._last - start
        return path


def find(folders: Sequence[Path], run: Run) -> Iterator[tuple[Path, Checkpoint]]:
    """The run's checkpoints in these attempts' folders, best first; unreadable ones are logged."""
    for folder in folders:
        found = []
        for path in AttemptFiles(folder).checkpoint_files:
            try:
                found.append((path, read(path, run)))
            except FileNotFoundError:
                continue
            except (OSError, CheckpointError) as error:
                log.warning("checkpoint %s skipped: %s", path, error)
        yield from sorted(found, key=lambda pair: (pair[1].epoch, pair[1].index), reverse=True)


def read(path: Path, run: Run) -> Checkpoint:
    """Read the checkpoint of `run` in one file.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is torn, of another run, or of another version of the format.
    """
    return _unpack(path.read_bytes(), run)


def _pack(run: Run, take: Callable[[], Checkpoint]) -> bytes:
    file = io.BytesIO()
    try:
        checkpoint = take()
        torch.save({"tensors": checkpoint.tensors, "notes": _notes(run, checkpoint)}, file)
    except Exception as error:  # a user's state_dict() may raise whatever it likes
        raise CheckpointError(f"cannot be saved: {_first_line(error)}") from error
    file.write(_trailer(file.getbuffer()))
    return file.getvalue()


def _notes(run: Run, checkpoint: Checkpoint) -> str:
    content = {
        "run": run.id,
        "protocol": PROTOCOL_VERSION,
        "epoch": checkpoint.epoch,
        "index": checkpoint.index,
        "notes": checkpoint.notes,
        "origin": checkpoint.origin.to_json(),
    }
    return json.dumps(content)


def _unpack(content: bytes, run: Run) -> Checkpoint:
    payload, trailer = content[:-_TRAILER_LENGTH], content[-_TRAILER_LENGTH:]
    if not trailer.startswith(_TRAILER):
        raise CheckpointError(f"torn, or not of format {FORMAT}")
    if trailer != _trailer(payload):
        raise CheckpointError("torn: its sha256 is not what it says")
    try:
        found = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        notes = json.loads(found["notes"])
    except Exception as error:  # whatever torch.load says of a file that it refuses
        raise CheckpointError(f"cannot be loaded: {_refused(error)}") from error
    if notes["run"] != run.id:
        raise CheckpointError(f"is of run {notes['run']}, not of {run.id}")
    if notes["protocol"] != PROTOCOL_VERSION:
        raise CheckpointError(f"is of protocol version {notes['protocol']}")
    return Checkpoint(
        epoch=notes["epoch"],
        index=notes["index"],
        tensors=found["tensors"],
        notes=notes["notes"],
        origin=Origin.from_json(notes["origin"]),
    )


def _trailer(payload: bytes | memoryview) -> bytes:
    return _TRAILER + hashlib.sha256(payload).hexdigest().encode() + b"\n"


def _refused(error: Exception) -> str:
    """The object that `torch.load` refuses, out of the many lines of its error."""
    if found := re.search(r"GLOBAL (\S+)", str(error)):
        return (
            f"it holds {found[1]}; what can be kept are tensors, numbers, strings, lists and dicts"
        )
    return _first_line(error)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def seed_generators(seed: int) -> None:
    """Seed the global generators of torch, numpy and Python.

    This toolkit does not draw from them, but a user's optimizer or problem may.
    """
    draws = stream(seed, "global")
    torch.manual_seed(int(draws.integers(2**63)))
    np.random.seed(int(draws.integers(2**32)))  # noqa: NPY002 - the global generator is meant
    random.seed(int(draws.integers(2**63)))


def generator_tensors() -> dict[str, Any]:
    """The states of torch's global generators."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def generator_notes() -> dict[str, Any]:
    """The states of numpy's and Python's global generators, as JSON values."""
    name, key, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - as `seed_generators`
    version, words, gauss = random.getstate()
    return {
        "numpy": [name, np.asarray(key).tolist(), *rest],
        "python": [version, list(words), gauss],
    }


def restore_generators(tensors: dict[str, Any], notes: dict[str, Any]) -> None:
    """Set all global generators; those of GPUs only if their number is the same as then."""
    torch.set_rng_state(tensors["cpu"])
    if tensors["cuda"] and len(tensors["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(tensors["cuda"])
    name, key, *rest = notes["numpy"]
    np.random.set_state((name, np.array(key, dtype=np.uint32), *rest))  # noqa: NPY002 - as above
    version, words, gauss = notes["python"]
    random.setstate((version, tuple(words), gauss))
