"""Follow the runs that `run` has started on this machine until their workers have ended.

A terminal shows a live table; any other output gets a line per run that ends and per choice.
"""

import time
from collections.abc import Callable

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cluster.commands import sweep_screen
from cluster.commands.watch import CurrentSweep, Pace
from cluster.status import choice_lines, progress
from cluster.status.run_status import RunStatus
from cluster.submit.submit import Receipt
from cluster.terminal.plain import plain
from jobs.store import state
from jobs.store.state import RECORDED, UNFINISHED, State
from jobs.sweep import PlannedRun, Sweep

_MAX_RUNS_NAMED = 4  # runs under way that a line names


class Watch:
    """A watch over the runs of a sweep reads again only the states that may still change."""

    def __init__(self, receipt: Receipt) -> None:
        self.receipt = receipt
        self._sweep = CurrentSweep(receipt.store)
        self._at_first = {planned.run.id for planned in receipt.sweep.runs}
        self._final: dict[str, State] = {}
        self._told = receipt.sweep

    @property
    def sweep(self) -> Sweep:
        """The sweep, with the runs that follow from choices made by now."""
        return self._sweep.read()

    def look(self) -> list[RunStatus]:
        """The state of every run now."""
        states = ((planned, self._state(planned)) for planned in self.sweep.runs)
        return [RunStatus(one, of, is_live=of.state == "running") for one, of in states]

    def _state(self, planned: PlannedRun) -> State:
        run_id = planned.run.id
        if run_id in self._final:
            return self._final[run_id]
        found = state.of(self.receipt.store.run(run_id))
        is_old = found.attempts <= self.receipt.submitted.get(run_id, -1)
        if found.state in RECORDED:
            self._final[run_id] = found
        elif found.state in UNFINISHED and is_old:  # this state is of an earlier submission
            return State(state="pending", evidence="submitted again", attempts=found.attempts)
        elif found.state in {"failed", "stopped"}:
            self._final[run_id] = found
        return found

    def new_choices(self) -> list[str]:
        """Lines about the choices that were made since the last call."""
        before, self._told = self._told, self.sweep
        return choice_lines.new(self.receipt.store, before, self._told)

    def waiting(self, found: list[RunStatus]) -> set[str]:
        """The ids of the runs that the workers have yet to begin."""
        pending = {one.planned.run.id for one in found if one.state.state == "pending"}
        return {
            run_id
            for run_id in pending
            if run_id in self.receipt.submitted or run_id not in self._at_first  # chosen since
        }

    def is_busy(self, found: list[RunStatus]) -> bool:
        """Whether the workers have runs under way or to begin."""
        return any(one.is_live for one in found) or bool(self.waiting(found))

    def eta(self, found: list[RunStatus]) -> progress.Eta:
        """The time that the workers still need for the runs of this submission."""
        lanes = sum(not worker.done() for worker in self.receipt.workers)
        return progress.eta(found, self.waiting(found), lanes)


def follow(receipt: Receipt, console: Console) -> list[RunStatus]:
    """Show the runs of a submission until its workers have ended; returns their last states."""
    watch = Watch(receipt)
    if console.is_terminal:
        return _live(watch, console)
    return _lines(watch, console)


def _live(watch: Watch, console: Console) -> list[RunStatus]:
    bar = Progress(
        TextColumn("epochs"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[eta]}", markup=False),
        console=console,
        auto_refresh=False,
    )
    task = bar.add_task("", eta="")
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def show(found: list[RunStatus]) -> None:
            for line in watch.new_choices():
                console.print(plain(line), soft_wrap=True)
            completed = sum(_epochs_done(one) for one in found)
            eta = watch.eta(found).short if watch.is_busy(found) else ""
            bar.update(task, completed=completed, total=progress.wanted(found), eta=eta)
            room = console.height - 11
            rows = sweep_screen.table(watch.sweep, found, width=console.width, height=room)
            open_ = choice_lines.lines(watch.receipt.store, watch.sweep, found, 3)
            lines: list[RenderableType] = [rows, *open_, *sweep_screen.troubles(found, most=3), bar]
            hint = plain("Ctrl-C stops; the same command continues", style="dim")
            live.update(Group(*lines, hint), refresh=True)

        return _until_over(watch, show)


def _lines(watch: Watch, console: Console) -> list[RunStatus]:
    return _until_over(watch, _Lines(watch, console).show)


class _Lines:
    """An output gets a line per run that has ended, and ever more seldom one on the other runs' epochs."""

    def __init__(self, watch: Watch, console: Console) -> None:
        self._watch, self._console = watch, console
        self._reported = set(watch.receipt.done)
        self._pace, self._epochs = Pace(5.0, 300.0), 0
        self._next = time.monotonic() + self._pace.next(changed=True)

    def show(self, found: list[RunStatus]) -> None:
        """Print the lines that are new."""
        for line in self._watch.new_choices():
            self._print(line)
        epochs = sum(map(progress.done, found))
        far = f"{epochs} of {progress.wanted(found)} epochs"
        if self._watch.is_busy(found):
            far += f"; {self._watch.eta(found)}"
        ended = [one for one in found if self._has_ended(one)]
        for one in ended:
            self._reported.add(one.planned.run.id)
            head = f"[{len(self._reported)}/{len(found)}] {one.state.state}: {one.planned.run.id}"
            reason = f": {one.state.message}" if one.state.message else ""
            line = f"{head} {_name(one.planned)}{reason}; {far}"
            self._print(line, sweep_screen.STYLES[one.state.state])
        is_due = epochs != self._epochs and time.monotonic() >= self._next
        if is_due and not ended:
            running = [_at(one) for one in found if one.state.state == "running"]
            self._print("; ".join([far, *running[:_MAX_RUNS_NAMED]]))
        if is_due or ended:
            self._epochs = epochs
            self._next = time.monotonic() + self._pace.next(changed=False)

    def _has_ended(self, one: RunStatus) -> bool:
        is_open = one.state.state in {"pending", "running", "lost"}
        return not is_open and one.planned.run.id not in self._reported

    def _print(self, line: str, style: str = "") -> None:
        self._console.print(plain(line, style), soft_wrap=True)


def _name(planned: PlannedRun) -> str:
    """A run by its setting."""
    varied = "".join(f" {name}={value}" for name, value in planned.varied.items())
    return f"{planned.problem} {planned.optimizer}{varied} seed {planned.run.seed}"


def _at(one: RunStatus) -> str:
    return f"{_name(one.planned)} at epoch {one.state.epoch or 0} of {one.planned.run.epochs}"


def _until_over(watch: Watch, show: Callable[[list[RunStatus]], None]) -> list[RunStatus]:
    """Look and show, at most twice a second, and never for more than a tenth of the time."""
    while True:
        over = watch.receipt.is_over()  # before the look, so that the last look misses nothing
        start = time.monotonic()
        found = watch.look()
        show(found)
        if over:
            return found
        time.sleep(max(0.5, 9 * (time.monotonic() - start)))


def _epochs_done(one: RunStatus) -> int:
    """Epochs that need no more work: all of them once the run has ended, however it ended."""
    if one.state.state in RECORDED | {"failed", "stopped"}:
        return one.planned.run.epochs
    return one.state.epoch or 0
