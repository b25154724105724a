"""The screen of a sweep shows its runs as a table, why runs wait or failed, and what to type next."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cluster.status import advice, choice_lines, nodes, progress
from cluster.status.queue import Queue
from cluster.status.run_status import RunStatus
from cluster.status.sweep_status import SweepStatus
from cluster.terminal.plain import plain, to_copy
from jobs.store.state import STATES, UNFINISHED
from jobs.store.store import Store
from jobs.sweep import Sweep

STYLES: Mapping[str, str] = {
    "completed": "green",
    "diverged": "magenta",
    "running": "cyan",
    "pending": "dim",
    "stopped": "yellow",
    "failed": "bold red",
    "lost": "bold yellow",
    "unknown": "yellow",
}


_SHORT = {
    "completed": "done",
    "running": "run",
    "pending": "wait",
    "stopped": "stop",
    "unknown": "?",
}


_WIDE_COLUMNS = 120  # a terminal this wide has room for more than the states


_COMMANDS = "probprec ", "scontrol "


_BAR_COLUMNS, _FRAME_LINES = 20, 7  # width of a bar; lines of the table that are no rows


_MAX_LINES_SHOWN = 5  # arrays, pending reasons, or kinds of failures; the others are counted


def _is_typed(line: RenderableType) -> bool:
    """Whether the line holds a command to type."""
    return isinstance(line, Text) and any(name in line.plain for name in _COMMANDS)


def count(found: Sequence[RunStatus]) -> Counter[str]:
    """The number of runs in each state."""
    return Counter(one.state.state for one in found)


def screen(
    look: SweepStatus, store: Store, *, width: int, height: int | None = None, fit: bool = True
) -> list[RenderableType]:
    """The lines of the screen, the most important ones last: that is where a person looks.

    Args:
        look: the sweep as it stands.
        store: the sweep's folder.
        width: columns of the terminal.
        height: lines of the terminal; default: any number.
        fit: cut lines that are wider than the terminal.
    """
    most = _MAX_LINES_SHOWN if height is None else max(1, (height - 14) // 4)
    below = [plain(note, style="yellow") for note in look.notes]
    if any(one.is_live for one in look.runs):
        below.append(plain(str(progress.eta(look.runs))))
    below += jobs_lines(look.queue, most)
    below += _waiting(look.runs, most)
    below += choice_lines.lines(store, look.sweep, look.runs, most)
    below += troubles(look.runs, most, partial(advice.of_class, store, look=look))
    below += _bad_nodes(look, store)
    below.append(to_copy(str(advice.of_sweep(store, look)), style="dim"))
    for line in below:
        if fit and not _is_typed(line):  # a command must be seen whole
            line.no_wrap, line.overflow = True, "ellipsis"
    taken = sum(1 if line.no_wrap else -(-len(line) // width) for line in below)
    room = None if height is None else height - taken
    return [table(look.sweep, look.runs, width=width, height=room), *below]


def table(
    sweep: Sweep, found: Sequence[RunStatus], *, width: int = 80, height: int | None = None
) -> Table:
    """The table has a row per problem and optimizer, a column per state that occurs, and the epochs done.

    If the rows do not fit into `height` lines, the table has one per problem, or only their sum.
    """
    pairs = _grouped(found, with_optimizer=True)
    rows = pairs
    if height is not None and len(rows) > height - _FRAME_LINES:
        rows = _grouped(found, with_optimizer=False)
    if height is not None and len(rows) > height - _FRAME_LINES:
        rows = {}
    shown = [name for name in STATES if count(found)[name]]
    is_wide = width >= _WIDE_COLUMNS
    title = plain(f"{sweep.name}: {len(found)} runs")
    result = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    result.add_column("problem", overflow="fold")
    result.add_column("optimizer", overflow="fold")
    if is_wide:
        result.add_column("cells", justify="right")
    for name in shown:
        heading = name if is_wide else _SHORT.get(name, name)
        result.add_column(heading, justify="right", style=STYLES[name])
    result.add_column("epochs", justify="right", no_wrap=True)
    if is_wide:
        result.add_column("", no_wrap=True)
        result.add_column("s/epoch", justify="right")
    for (problem, optimizer), members in rows.items():
        result.add_row(
            plain(problem), plain(optimizer), *_cells_of_row(members, shown, is_wide=is_wide)
        )
    if len(rows) != 1:
        result.add_section()
        hidden = "" if rows is pairs else f"({len(pairs)} pairs)"
        result.add_row("all", hidden, *_cells_of_row(found, shown, is_wide=is_wide))
    return result


def _grouped(
    found: Sequence[RunStatus], *, with_optimizer: bool
) -> dict[tuple[str, str], list[RunStatus]]:
    rows: dict[tuple[str, str], list[RunStatus]] = {}
    for one in found:
        key = (one.planned.problem, one.planned.optimizer if with_optimizer else "")
        rows.setdefault(key, []).append(one)
    return rows


def _cells_of_row(
    members: Sequence[RunStatus], shown: Sequence[str], *, is_wide: bool
) -> list[str]:
    counts = count(members)
    done, wanted = sum(map(progress.done, members)), progress.wanted(members)
    share = done / wanted if wanted else 1.0
    percent = 100 if done == wanted else min(99, int(100 * share))
    states = [str(counts[name] or "") for name in shown]
    if not is_wide:
        return [*states, f"{percent} %"]
    filled = int(share * _BAR_COLUMNS)
    seconds = progress.seconds_per_epoch(members)
    return [
        str(len({one.planned.run.cell for one in members})),
        *states,
        f"{done} of {wanted}",
        f"{'━' * filled}{' ' * (_BAR_COLUMNS - filled)} {percent:3d} %",
        "" if seconds is None else f"{seconds:.3g}",
    ]


def jobs_lines(queue: Queue, most: int = _MAX_LINES_SHOWN) -> list[Text]:
    """A line per array of the sweep in the queue, with the ids that Slurm's commands take."""
    jobs: dict[int, Counter[str]] = {}
    feeders = set()
    for element in queue.jobs.values():
        if not element.is_over:
            jobs.setdefault(element.job_id, Counter())[element.state.lower()] += 1
            if element.task is None:
                feeders.add(element.job_id)
    lines = []
    for job, states in list(jobs.items())[:most]:
        what = "sends the next ones" if job in feeders else "array"
        said = ", ".join(f"{number} {name}" for name, number in states.most_common())
        lines.append(plain(f"job {job}, {what}: {said}"))
    if len(jobs) > most:
        lines.append(plain(f"... and {len(jobs) - most} more jobs", style="dim"))
    return lines


def _waiting(found: Sequence[RunStatus], most: int = _MAX_LINES_SHOWN) -> list[Text]:
    """A line per pending reason, hopeless ones first."""
    reasons = Counter(one.reason for one in found if one.reason is not None)
    ordered = sorted(reasons.items(), key=lambda item: (not item[0].is_hopeless, -item[1]))
    lines = []
    for reason, number in ordered[:most]:
        style = "bold red" if reason.is_hopeless else ""
        lines.append(plain(f"{number} pending: {reason.words} ({reason.name})", style=style))
    return lines


def troubles(
    found: Sequence[RunStatus],
    most: int = _MAX_LINES_SHOWN,
    advise: Callable[[str, Sequence[RunStatus]], str] | None = None,
) -> list[Text]:
    """Lines per failure class and error: the number of runs, and what to type, or the first run's log.

    Stopped runs need no explanation: their line has the number and the reason.
    """
    groups: dict[tuple[str, str | None], list[RunStatus]] = {}
    for one in found:
        if one.state.state in UNFINISHED:
            key = (one.state.failure or one.state.state, one.state.message)
            groups.setdefault(key, []).append(one)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    lines = []
    for (name, message), members in ordered[:most]:
        first = members[0]
        run = first.planned.run
        text = plain("")
        number = f"{len(members)} " if len(members) > 1 else ""
        is_stopped = first.state.state == "stopped"
        what = "stopped" if is_stopped else name
        text.append(f"{number}{what}: ", style=STYLES[first.state.state])
        where = f"{run.id} {first.planned.problem} {first.planned.optimizer} seed {run.seed}"
        text.append(plain(message if advise is not None else f"{where}: {message}"))
        lines.append(text)
        if is_stopped:
            continue
        if advise is not None:
            lines.append(to_copy(f"  {advise(name, members)}"))
        elif first.state.log is not None:
            lines.append(plain(f"  log: {first.state.log}", style="dim"))
    if len(ordered) > most:
        rest = sum(len(members) for _, members in ordered[most:])
        lines.append(plain(f"... and {rest} more (--json lists them all)", style="dim"))
    return lines


def _bad_nodes(look: SweepStatus, store: Store) -> list[Text]:
    bad = nodes.suspicious(look.runs)[:2]
    lines = []
    for node in bad:
        text = plain(f"{node.name} looks bad: ", style="bold yellow")
        lines.append(text.append(plain(node.evidence, "not bold")))
    again = advice.around_bad_nodes(store, look) if bad else None
    return lines if again is None else [*lines, to_copy(f"  {again}")]
