"""Watch a sweep until it is over, wherever it runs, as a live table, or as lines without a terminal.

Files are read often, and Slurm is asked seldom.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live

from cluster.commands import sweep_screen
from cluster.status import progress
from cluster.status.sweep_status import SweepStatus, sweep_status
from cluster.terminal.plain import command, plain
from jobs.store.state_cache import StateCache
from jobs.store.store import Store
from jobs.sweep import Sweep
from jobs.units import duration

_QUIET_LOOKS_MIN = 3  # looks in a row without a live run: a worker may be between two runs


class CurrentSweep:
    """A sweep is read again after a new submission or a choice."""

    def __init__(self, store: Store) -> None:
        self._store, self._version = store, store.version()
        self._sweep = store.sweep()

    def read(self) -> Sweep:
        """The sweep as it is now."""
        version = self._store.version()
        if version != self._version:
            self._sweep, self._version = self._store.sweep(), version
        return self._sweep


@dataclass
class Pace:
    """A pace of looks: the next one comes soon after a change, and ever later while nothing happens."""

    shortest: float
    longest: float
    pause: float = 0.0

    def next(self, *, changed: bool, took: float = 0.0) -> float:
        """Seconds to wait, a fifth more or less, so that several watchers do not ask at one time.

        Args:
            changed: whether the last look found a change.
            took: seconds that the last look took; looking is never more than a tenth of the time.
        """
        longer = self.shortest if changed or not self.pause else self.pause * 1.5
        self.pause = min(max(longer, 9 * took), self.longest)
        return self.pause * random.uniform(0.8, 1.2)  # noqa: S311 - no secret


def until_over(
    store: Store,
    console: Console,
    *,
    sleep: Callable[[float], None] = time.sleep,
    files: Pace | None = None,
    slurm: Pace | None = None,
) -> SweepStatus:
    """Watch until no run waits or runs any more; returns the last look.

    Args:
        store: the sweep.
        console: the console that shows it.
        sleep: the function that waits.
        files: how often to read files; default: every 2 to 20 s.
        slurm: how often to ask Slurm; default: every 5 to 60 s.
    """
    watching = _SweepWatcher(store, files or Pace(2.0, 20.0), slurm or Pace(5.0, 60.0))
    try:
        with _shown(store, console) as show:
            while True:
                look, pause = watching.look()
                show(look, max(pause, watching.until_slurm))
                if look.is_complete or watching.quiet >= _QUIET_LOOKS_MIN:
                    return look
                sleep(pause)
    except KeyboardInterrupt:
        console.print(
            plain(
                f"no longer watching; the jobs go on. {command('status', store.root, '--watch')}"
                f" continues, {command('cancel', store.root)} stops them"
            )
        )
        raise


class _SweepWatcher:
    """A watcher reads a sweep's files, and now and then asks Slurm."""

    def __init__(self, store: Store, files: Pace, slurm: Pace) -> None:
        self.store, self.files, self.slurm = store, files, slurm
        self.memory = StateCache(store)
        self._sweep = CurrentSweep(store)
        self.quiet = 0  # fresh looks in a row without a live run
        self._last: SweepStatus | None = None
        self._ask_at = 0.0

    @property
    def until_slurm(self) -> float:
        """Seconds until Slurm is asked again."""
        return max(0.0, self._ask_at - time.monotonic())

    def look(self) -> tuple[SweepStatus, float]:
        """The sweep as it stands, and the seconds to wait until the next look."""
        before, start = self._last, time.monotonic()
        is_asking = before is None or self.quiet > 0 or start >= self._ask_at
        found = sweep_status(
            self.store,
            self._sweep.read(),
            memory=self.memory,
            earlier=None if is_asking else before,
        )
        took = time.monotonic() - start
        changed = before is None or _essence(before) != _essence(found)
        if is_asking:
            self._ask_at = time.monotonic() + self.slurm.next(changed=changed, took=took)
        elif changed:
            self._ask_at = min(self._ask_at, start + self.slurm.shortest)
        self.quiet = self.quiet + 1 if found.is_over else 0
        self._last = found
        return found, self.files.next(changed=changed or self.quiet > 0, took=took)


def _essence(look: SweepStatus) -> list[tuple[str, int | None, int]]:
    return [(one.state.state, one.state.epoch, one.state.attempts) for one in look.runs]


_Show = Callable[[SweepStatus, float], None]


@contextmanager
def _shown(store: Store, console: Console) -> Iterator[_Show]:
    """A function that shows a look: in place on a terminal, else as a line per change."""
    if not console.is_terminal:
        yield _line_by_line(console)
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def show(look: SweepStatus, until_slurm: float) -> None:
            hint = "Ctrl-C stops watching, not the jobs"
            if look.queue.runs:
                hint += f"; Slurm is asked again in about {duration(until_slurm)}"
            lines = sweep_screen.screen(look, store, width=console.width, height=console.height - 2)
            live.update(Group(*lines[:-1], plain(hint, style="dim")), refresh=True)

        yield show


def _line_by_line(console: Console) -> _Show:
    last = ""

    def show(look: SweepStatus, _: float) -> None:
        nonlocal last
        counts: Counter[str] = sweep_screen.count(look.runs)
        said = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
        done, wanted = sum(map(progress.done, look.runs)), progress.wanted(look.runs)
        line = f"{said}; {done} of {wanted} epochs"
        if line != last:
            last = line
            eta = f"; {progress.eta(look.runs)}" if not look.is_over else ""
            text = f"{time.strftime('%H:%M:%S')} {line}{eta}"
            console.print(plain(text), soft_wrap=True)

    return show
