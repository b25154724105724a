"""Watch a submission on this machine until it is over: a live table, or a line per finished run."""

import time
from collections.abc import Callable

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from cluster import status
from cluster.status import Standing
from cluster.submit import Receipt
from jobs import state
from jobs.state import State
from jobs.sweep import PlannedRun, Sweep


class Watch:
    """Knows the runs of a sweep; asks again only after those that may still change."""

    def __init__(self, sweep: Sweep, receipt: Receipt) -> None:
        self.sweep = sweep
        self.receipt = receipt
        self._final: dict[str, State] = {}
        self._start = time.monotonic()
        self._epochs_at_start: int | None = None

    def look(self) -> list[Standing]:
        """The state of every run now."""
        return [Standing(planned, self._state(planned)) for planned in self.sweep.runs]

    def _state(self, planned: PlannedRun) -> State:
        run_id = planned.run.id
        if run_id in self._final:
            return self._final[run_id]
        found = state.of(self.receipt.store.run(run_id))
        is_old = found.attempts <= self.receipt.submitted.get(run_id, -1)
        if found.state in {"completed", "diverged"}:
            self._final[run_id] = found
        elif found.state in {"failed", "lost"} and is_old:  # of an earlier submission
            return State(state="pending", evidence="submitted again", attempts=found.attempts)
        elif found.state == "failed":
            self._final[run_id] = found
        return found

    def eta(self, found: list[Standing]) -> float | None:
        """Seconds to go, by the epochs per second since the watch began; None: not known yet."""
        done = sum(_epochs_done(standing) for standing in found)
        if self._epochs_at_start is None:
            self._epochs_at_start = done
        progressed = done - self._epochs_at_start
        if progressed == 0:
            return None
        remaining = sum(standing.planned.run.epochs for standing in found) - done
        return remaining * (time.monotonic() - self._start) / progressed


def follow(sweep: Sweep, receipt: Receipt, console: Console) -> list[Standing]:
    """Show how the submission goes until its workers have ended; returns the last look."""
    watch = Watch(sweep, receipt)
    if console.is_terminal:
        return _live(watch, console)
    return _lines(watch, console)


def _live(watch: Watch, console: Console) -> list[Standing]:
    bar = Progress(
        TextColumn("epochs"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[eta]}"),
        console=console,
        auto_refresh=False,
    )
    total = sum(planned.run.epochs for planned in watch.sweep.runs)
    task = bar.add_task("", total=total, eta="")
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def show(found: list[Standing]) -> None:
            eta = watch.eta(found)
            bar.update(
                task,
                completed=sum(_epochs_done(standing) for standing in found),
                eta="" if eta is None else f"about {_duration(eta)} to go",
            )
            lines = [status.table(watch.sweep, found), *status.troubles(found, most=3), bar]
            hint = Text("Ctrl-C stops; the same command continues", style="dim")
            live.update(Group(*lines, hint), refresh=True)

        return _until_over(watch, show)


def _lines(watch: Watch, console: Console) -> list[Standing]:
    reported = set(watch.receipt.done)

    def show(found: list[Standing]) -> None:
        for standing in found:
            run = standing.planned.run
            if run.id in reported or standing.state.state in {"pending", "running", "lost"}:
                continue
            reported.add(run.id)
            reason = f": {standing.state.message}" if standing.state.message else ""
            console.print(
                f"[{len(reported)}/{len(found)}] {standing.state.state}: {run.id}"
                f" {standing.planned.problem} {standing.planned.optimizer} seed {run.seed}{reason}",
                style=status.STYLES[standing.state.state],
                markup=False,
                highlight=False,
                soft_wrap=True,
            )

    return _until_over(watch, show)


def _until_over(watch: Watch, show: Callable[[list[Standing]], None]) -> list[Standing]:
    """Look and show, at least every half second, but never for more than a tenth of the time."""
    while True:
        over = watch.receipt.is_over()  # asked first, so that the last look misses nothing
        start = time.monotonic()
        found = watch.look()
        show(found)
        if over:
            return found
        time.sleep(max(0.5, 9 * (time.monotonic() - start)))


def _epochs_done(standing: Standing) -> int:
    """Epochs that need no more work: all of them once the run has ended, however it ended."""
    if standing.state.state in {"completed", "diverged", "failed"}:
        return standing.planned.run.epochs
    return standing.state.epoch or 0


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
