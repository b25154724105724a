"""One run of the container runtime is read line by line, and never outlives this process."""

import codecs
import io
import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from containers.errors import naming

GRACE_S = 10.0
"""A command has this long between SIGTERM and SIGKILL."""

TICK_S = 1.0
"""A silent command ticks this often."""

# A shell script: if this process ends, even by kill -9, its pipe to the shell closes without a line.
_GUARD = """\
read -r over && exit
kill -s TERM -- "-$0"
sleep 5
kill -s KILL -- "-$0"
"""


def run(
    words: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    log: Path,
    on_line: Callable[[str], object],
    on_tick: Callable[[], object],
    hold: int,
) -> int:
    """Run a command in a folder; returns its exit code.

    Args:
        words: the command.
        environment: the command's whole environment.
        folder: the working directory.
        log: the file for the command's output.
        on_line: called with each line of output.
        on_tick: called in each second without output.
        hold: a descriptor (a lock) that stays open until the command's processes are over.
    """
    with (
        log.open("w", encoding="utf-8", buffering=1) as kept,
        _start(words, environment, folder) as process,
        _guarded(process.pid, hold),
        _ended(process),
    ):
        for line in _lines(process):
            if line is None:
                on_tick()
            else:
                with naming(log):
                    kept.write(f"{line}\n")
                on_line(line.rstrip())
        return process.wait()


def _start(
    words: Sequence[str], environment: Mapping[str, str], folder: Path
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        words,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # so that the group can be ended as a whole
        umask=0o022,  # others run the image, too
    )


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str | None]:
    """Each line of output at once; None for each second without output."""
    pipe = process.stdout.fileno() if process.stdout else -1
    bare = codecs.getincrementaldecoder("utf-8")("replace")
    decoder = io.IncrementalNewlineDecoder(bare, translate=True)
    poll, rest, said = select.poll(), "", b" "
    poll.register(pipe, select.POLLIN)
    while said:
        if not poll.poll(TICK_S * 1000):
            yield None
            continue
        said = os.read(pipe, 1 << 16)
        *lines, rest = (rest + decoder.decode(said, final=not said)).split("\n")
        yield from lines
    yield from filter(None, [rest])


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End the command's group if this process is interrupted."""
    try:
        yield
    except BaseException:
        _signal(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
        _signal(process.pid, signal.SIGKILL)
        raise


@contextmanager
def _guarded(group: int, hold: int) -> Iterator[None]:
    """Start a shell that ends the group if this process is killed."""
    guard = subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, str(group)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[hold],
        start_new_session=True,
    )
    try:
        yield
    finally:
        with suppress(BrokenPipeError):
            guard.communicate(b"over\n")


def _signal(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
