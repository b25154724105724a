"""Processes that outlive this one are started, recognized and signalled, never another one in their place.

A process is known by its pid and its start time, so a reused pid is not taken for it. Signals go
through a pidfd, which closes the gap between the look and the signal.
"""

import errno
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jobs.errors import ExpectedError

PROC = Path("/proc")
DAEMONS = frozenset(
    {
        "slurmctld",
        "slurmdbd",
        "slurmd",
        "slurmstepd",
        "slurmscriptd",
        "munged",
        "mariadbd",
    }
)


class LabError(ExpectedError, RuntimeError):
    """The lab, or a process of it, failed; the text has the reason, and the end of its log."""


@dataclass(frozen=True)
class Process:
    """A process, by its pid and its start (clock ticks since boot)."""

    pid: int
    start: int


@dataclass(frozen=True)
class Stat:
    """The content of /proc/PID/stat."""

    process: Process
    name: str
    state: str
    parent: int


def stat(pid: int) -> Stat | None:
    """The process with this pid; None: there is none."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    name, _, rest = text.partition("(")[2].rpartition(")")
    fields = rest.split()
    return Stat(Process(pid, int(fields[19])), name, fields[0], int(fields[1]))


def is_alive(process: Process) -> bool:
    """Whether any thread of the process still runs (a zombie has none).

    /proc shows a zombie as soon as the first thread is gone. Only with the last one do its children
    lose their parent, and those that are stopped get a SIGHUP, which kills them (setpgid(2)).
    """
    with _opened(process) as handle:
        return handle is not None


def send(process: Process, sig: int) -> bool:
    """Signal the process if it still runs; returns whether it did."""
    with _opened(process) as handle:
        if handle is None:
            return False
        try:
            signal.pidfd_send_signal(handle, sig)
        except ProcessLookupError:
            return False
        return True


_GONE_ERRNOS = {errno.ESRCH, errno.EINVAL, errno.ENOENT}
"""Errors of pidfd_open for a pid whose process is gone; the last two: the pid is a thread's now."""


@contextmanager
def _opened(process: Process) -> Iterator[int | None]:
    """A pidfd of the process; None: it does not run any more."""
    try:
        handle = os.pidfd_open(process.pid)
    except OSError as error:
        if error.errno not in _GONE_ERRNOS:
            raise
        yield None
        return
    try:
        found, end = stat(process.pid), select.poll()
        end.register(handle, select.POLLIN)  # readable once all threads are gone (pidfd_open(2))
        is_it = found is not None and found.process == process and not end.poll(0)
        yield handle if is_it else None
    finally:
        os.close(handle)


def wait_gone(processes: Sequence[Process], seconds: float) -> list[Process]:
    """Wait until the processes are gone; returns those that still run after `seconds`."""
    deadline = time.monotonic() + seconds
    left = [process for process in processes if is_alive(process)]
    while left and time.monotonic() < deadline:
        time.sleep(0.01)
        left = [process for process in left if is_alive(process)]
    return left


def start(
    command: Sequence[str], *, pid_file: Path, log: Path, environment: Mapping[str, str]
) -> Process | None:
    """Start a daemon apart from this process: own session, own parent, own log, no inherited files.

    Returns:
        The process, also written to `pid_file`; None if it ended at once (its log says why).
    """
    pid_file.unlink(missing_ok=True)
    script = 'umask 022; echo $$ >"$0.new"; mv "$0.new" "$0"; exec "$@"'
    with log.open("ab") as output:
        subprocess.run(
            ["setsid", "--fork", "sh", "-c", script, str(pid_file), *command],  # noqa: S607 - Debian's
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env=dict(environment),
            check=True,
        )
    deadline = time.monotonic() + 10
    while not pid_file.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    found = stat(int(pid_file.read_text()))
    if found is None or found.state in "ZX":
        return None
    pid_file.write_text(f"{found.process.pid} {found.process.start}\n")
    return found.process


def read(pid_file: Path) -> Process | None:
    """The process that `start` wrote to `pid_file`, running or not."""
    try:
        pid, begun = pid_file.read_text().split()
    except (OSError, ValueError):
        return None
    return Process(int(pid), int(begun))


def everything() -> Iterator[Stat]:
    """All processes of this machine."""
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (found := stat(int(entry.name))) is not None:
            yield found


def of_lab(folder: Path, also: Iterable[int] = ()) -> list[Process]:
    """Every process of the lab in `folder`: daemons, steps, their jobs' processes and descendants.

    A user's command (`lab exec -- bash`) names the folder, too, but is no job: it is left out, as are
    this process and its ancestors.

    Args:
        folder: The lab's folder, as its processes spell it.
        also: Pids of further processes that belong to the lab, but do not name it.
    """
    table = {found.process.pid: found for found in everything() if found.state not in "ZX"}
    mine = _ancestors(table, os.getpid())
    roots = {pid for pid, found in table.items() if _belongs(found, folder)} | set(also)
    return [one for one in _below(table, roots) if one.pid not in mine]


def descendants(processes: Iterable[Process]) -> list[Process]:
    """These processes and their descendants, as far as the parents in between still live."""
    table = {found.process.pid: found for found in everything() if found.state not in "ZX"}
    return _below(table, {process.pid for process in processes})


def _below(table: Mapping[int, Stat], roots: set[int]) -> list[Process]:
    return [found.process for pid, found in table.items() if roots & _ancestors(table, pid)]


def _ancestors(table: Mapping[int, Stat], pid: int) -> set[int]:
    line = set()
    while pid in table and pid not in line:
        line.add(pid)
        pid = table[pid].parent
    return line


def _belongs(found: Stat, folder: Path) -> bool:
    proc = PROC / str(found.process.pid)
    try:
        environment = (proc / "environ").read_bytes().split(b"\0")
        command = (proc / "cmdline").read_bytes()
    except OSError:
        return False
    is_ours = f"SLURM_CONF={folder}/slurm.conf".encode() in environment
    if any(part.startswith(b"SLURMD_NODENAME=") for part in environment):
        return is_ours
    if found.name not in DAEMONS:
        return False
    # slurmstepd overwrites its environment with its title; its open log gives it away.
    return (
        is_ours or f"{folder}/".encode() in command or has_open(found.process.pid, (f"{folder}/",))
    )


def has_open(pid: int, prefixes: tuple[str, ...]) -> bool:
    """Whether a process holds a file open whose path begins with one of these."""
    try:
        links = list((PROC / str(pid) / "fd").iterdir())
        return any(str(link.readlink()).startswith(prefixes) for link in links)
    except OSError:
        return False
