"""What tests of all parts share: waiting for a fact, a run, the command itself."""

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from jobs.profile import LOCAL
from jobs.results.ledger import Ledger
from jobs.store.attempts import RunFolder
from jobs.store.journal import Event
from jobs.store.submission_plan import Plan
from jobs.sweep import PlannedRun, Run, Sweep

ALL = os.environ.get("PROBPREC_TESTS") == "all"
"""Whether everything is tested (`scripts/test --all`), not only what the quick set takes."""


def _commit() -> str:
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "no commit"
    return done.stdout.strip()


COMMIT = os.environ.setdefault("PROBPREC_TESTS_COMMIT", _commit())
"""What the quick set is drawn by, the same in all processes; set it to draw that of another commit."""

LONG = 1800.0 if ALL else 600.0
"""Seconds after which something that should happen has not; nothing waits that long when all is well."""


def wait_for(
    condition: Callable[[], Any], seconds: float = LONG, *, pause: float = 0.05, what: str = ""
) -> Any:
    """Wait until the condition holds; returns what it returned."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"it did not happen in {seconds:.0f} s: {what}"
        time.sleep(pause)
    return found


def note(folder: RunFolder, event: str, **details: Any) -> None:
    """Append a line to a run's journal, also one that nothing of ours writes any more."""
    folder.note(Event(event, details))


Row = TypeVar("Row")
Column = TypeVar("Column")


def some_pairs(
    rows: Sequence[Row], columns: Sequence[Column], *, seed: str, more: int
) -> list[tuple[Row, Column]]:
    """Pairs that leave nobody out: whoever is in a row or a column has two partners at least.

    Args:
        rows: Two at least.
        columns: Two at least.
        seed: What is drawn depends on it, and on nothing else.
        more: So many pairs beyond those.

    Returns:
        The pairs, in the order of rows and columns.
    """
    assert len(rows) > 1
    assert len(columns) > 1
    if len(rows) < len(columns):
        return sorted(
            ((row, column) for column, row in some_pairs(columns, rows, seed=seed, more=more)),
            key=lambda pair: (rows.index(pair[0]), columns.index(pair[1])),
        )
    draws = random.Random(seed)  # of a string: the same in every process
    across, down = (draws.sample(range(len(of)), len(of)) for of in (rows, columns))
    turns = len(down)  # a ring: with the next column, too
    found = {(row, down[(i + k) % turns]) for i, row in enumerate(across) for k in (0, 1)}
    rest = [(r, c) for r in range(len(rows)) for c in range(len(columns)) if (r, c) not in found]
    found |= set(draws.sample(rest, min(more, len(rest))))
    return [(rows[r], columns[c]) for r, c in sorted(found)]


def make_run(**changes: Any) -> Run:
    """A run of the smallest problem for one epoch, but for these fields."""
    fields: dict[str, Any] = {
        "problem": "digits_mlp",
        "optimizer": "torch.optim.SGD",
        "hyperparameters": {"lr": 0.1},
        "seed": 42,
        "epochs": 1,
        "batch_size": 32,
    }
    return Run(**(fields | changes))


def make_sweep_of(runs: Sequence[PlannedRun], name: str = "a") -> Sweep:
    """A sweep of planned runs of the problem `p` by the optimizer `o`."""
    return Sweep(
        name=name,
        description="",
        runs=tuple(runs),
        problems=("p",),
        optimizers=("o",),
        targets={},
        data=None,
        code=(),
        sources={},
    )


def probprec(
    *arguments: object,
    cwd: Path,
    check: int | None = 0,
    environment: Mapping[str, str] | None = None,
    base: Mapping[str, str] | None = None,
) -> "subprocess.CompletedProcess[str]":
    """Run `probprec` and wait for it.

    Args:
        arguments: Its words.
        cwd: Where it is run.
        check: The exit code that it must have; None: any.
        environment: What is changed in the environment.
        base: The environment; default: this process's.
    """
    done = subprocess.run(
        [sys.executable, "-m", "cluster.cli", *map(str, arguments)],
        cwd=cwd,
        env={**(os.environ if base is None else base), **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    if check is not None:
        assert done.returncode == check, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose path is short, as pytest's are not: for sockets, and for lines of 80 characters."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        yield Path(folder)


def make_base(tree: Path) -> Path:
    """The smallest unpacked tree that a build of an image can start from."""
    for name in ("bin", "etc", "tmp", "proc", "sys", "dev", "mnt", "opt", "root", "var/tmp"):
        (tree / name).mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox, "install Debian's busybox-static"
    shutil.copy(busybox, tree / "bin" / "busybox")
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    for name in set(listed.stdout.split()) - {"busybox"}:
        (tree / "bin" / name).symlink_to("busybox")
    (tree / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (tree / "etc" / "group").write_text("root:x:0:\n")
    return tree


def python(code: str, *folders: Path, cwd: Path | None = None, options: Sequence[str] = ()) -> str:
    """What a new Python prints that imports from these folders, before all others."""
    done = subprocess.run(
        [sys.executable, *options, "-c", code],
        env={"PYTHONPATH": ":".join(map(str, folders)), "PYTHONSAFEPATH": "1"},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def make_plan(**content):
    """A submission's plan; what is not given is as plain as it can be."""
    groups = [
        {"resources": {}, "threads": 1, "needs_gpu": False, "lead": 60, **group}
        for group in content.pop("groups", [])
    ]
    code = {"file": "c.zip", "sha256": "", "own": [], "commit": None, "dirty": None}
    code |= content.pop("code", {})
    profile = LOCAL.to_json() | content.pop("profile", {})
    known = {"time": 1.0, "profile": profile, "code": code, "groups": groups}
    return Plan.from_json(known | content)


def content_of(part):
    """What a submission, an array or a feeder has written down."""
    return json.loads(part.file.read_text())


def texts(ledger: Ledger) -> tuple[str, ...]:
    """The findings of a ledger as a person reads them."""
    return tuple(map(str, ledger.findings))
