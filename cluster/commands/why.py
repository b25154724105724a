"""The command `probprec why` explains what became of a run, and what to do about it."""

import re
import time
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cluster.commands import escalate, selection, status, sweep_screen
from cluster.commands.logs import last_lines, newest_log
from cluster.slurm import client
from cluster.slurm.process import CallCount
from cluster.status import advice, meaning, nodes
from cluster.status.nodes import Node
from cluster.status.run_status import RunStatus
from cluster.status.sweep_status import SweepStatus, sweep_status
from cluster.terminal.exit_codes import DONE, INCOMPLETE
from cluster.terminal.output import print_json
from cluster.terminal.plain import PlainConsole, plain, to_copy
from jobs.resources import Resources, slurm_time
from jobs.store import record
from jobs.store.journal import AttemptSummary
from jobs.store.state import RECORDED, UNFINISHED
from jobs.store.store import Store
from jobs.units import duration, memory

_MAX_LOG_LINES = 12
_UNIT_BYTES = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


class _PostMortem:
    """A post mortem of one run: its attempts, log, node and memory."""

    def __init__(self, store: Store, look: SweepStatus, one: RunStatus) -> None:
        self.store, self.look, self.one = store, look, one
        self.state = one.state
        self.folder = store.run(one.planned.run.id)
        self.pasts = self.folder.history()
        self.asked = escalate.last_asked(store).get(self.folder.id, Resources())
        self.log = newest_log(self.folder)
        self.log_lines = last_lines(self.log, _MAX_LOG_LINES) if self.log else []
        self.node = self._judge()
        self.peak, self.peak_source = self._peak()

    def _judge(self) -> Node | None:
        """The node of the last attempt, if it failed runs."""
        judged = {node.name: node for node in nodes.judge(self.look.runs)}
        return judged.get(self.state.node or "")

    def _peak(self) -> tuple[int | None, str]:
        """The peak memory in bytes, and its source."""
        try:
            cost = record.read(self.folder.record_file).cost
        except (OSError, record.RecordError):
            return self._peak_of_accounting()
        total = (cost.get("total") or cost).get("peak_memory_bytes")
        return total, "record"

    def _peak_of_accounting(self) -> tuple[int | None, str]:
        element = self.state.element
        if element is None or not self.pasts or self.look.queue.unknown is not None:
            return None, ""
        rows = [row for row in self.look.accounting if row.element == element] or client.accounting(
            [element], (self.pasts[0].start or time.time()) - 60
        )
        sizes = [_bytes_of(row.max_rss) for row in rows or ()]
        return max((size for size in sizes if size), default=None), "sacct"

    @property
    def meaning(self) -> tuple[str, str] | None:
        """The meaning of the run's failure class, and what to do about it."""
        if self.state.state not in UNFINISHED:
            return None
        return meaning.MEANING.get(self.state.failure or "lost")

    @property
    def asked_bytes(self) -> int | None:
        """The memory in bytes that the run's last job asked for."""
        mebibytes = self.asked.mem or (self.asked.mem_per_cpu or 0) * (self.asked.cpus or 1)
        return mebibytes * 1024**2 or None

    def commands(self) -> list[str]:
        """The commands to type next."""
        is_bad = self.node is not None and self.node.is_suspicious
        return advice.of_run(self.store, self.look, self.one, on_bad_node=is_bad)

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        meaning = self.meaning
        return {
            "schema": 1,
            "sweep": self.look.sweep.name,
            **status.run_json(self.one),
            "run": self.one.planned.run.to_json(),
            "meaning": meaning[0] if meaning else None,
            "advice": meaning[1] if meaning else None,
            "waits_for": self.one.reason.words if self.one.reason else None,
            "hopeless": self.one.reason.is_hopeless if self.one.reason else False,
            "history": [self._past_json(past) for past in self.pasts],
            "node_evidence": self.node.to_json() if self.node else None,
            "memory": {"peak": self.peak, "asked": self.asked_bytes, "source": self.peak_source},
            "resources": self.asked.to_json(),
            "epoch_s": self.state.epoch_s,
            "log_tail": self.log_lines,
            "next": self.commands(),
            "notes": self.look.notes,
        }

    def _past_json(self, past: AttemptSummary) -> dict[str, Any]:
        return {**asdict(past), "step": self.step_of(past)}

    def begun_anew(self) -> list[tuple[AttemptSummary, str]]:
        """The attempts that could not resume from an earlier one's checkpoint, and why."""
        reasons = (
            (past, past.anew or self.folder.attempt(past.fence).why_anew()) for past in self.pasts
        )
        return [(past, reason) for past, reason in reasons if reason is not None]

    def step_of(self, past: AttemptSummary) -> int | None:
        """The step of an attempt's last checkpoint."""
        if past.step is not None:
            return past.step
        return self.folder.attempt(past.fence).checkpointed_step()


def why(store: Store, run: str, *, as_json: bool) -> int:
    """Explain how a run stands; 1 unless it has a record.

    Raises:
        InputError: no such run, or several that begin so.
    """
    calls = CallCount()
    sweep = store.sweep()
    planned = selection.resolve(sweep, [run])[0]
    look = sweep_status(store, sweep, about=planned)
    one = next(one for one in look.runs if one.planned is planned)
    found = _PostMortem(store, look, one)
    if as_json:
        content = found.to_json() | {"slurm_calls": calls.total}
        print_json(content)
    else:
        _show(found, PlainConsole())
    return DONE if one.state.state in RECORDED else INCOMPLETE


def _show(found: _PostMortem, console: Console) -> None:
    for line in _headlines(found):
        console.print(line)
    if found.pasts:
        console.print(_attempts(found))
    for fact in _facts(found):
        console.print(plain(fact))
    if found.log is not None and found.state.state not in RECORDED:
        console.print(plain(f"log: {found.log}", style="dim"))
        for logged in found.log_lines:
            console.print(plain(f"  {logged}", "dim"), no_wrap=True, overflow="ellipsis")
    if found.meaning:
        console.print(plain(f"what to do: {found.meaning[1]}"))
    for todo in found.commands():
        console.print(to_copy(f"  {todo}", style="bold"), soft_wrap=True)


def _headlines(found: _PostMortem) -> list[Text]:
    one, state = found.one, found.state
    run = one.planned.run
    title = plain(f"{run.id}  {one.planned.problem} {one.planned.optimizer} seed {run.seed}")
    varied = ", ".join(f"{name}={value}" for name, value in one.planned.varied.items())
    headline = plain(state.state, style=sweep_screen.STYLES[state.state])
    if state.state in UNFINISHED:
        name = f" ({state.failure})" if state.failure != state.state else ""
        headline.append(plain(f"{name}: {state.message}"))
    lines = [title.append(plain(f"  {varied}" if varied else "", "dim")), headline]
    if found.meaning:
        lines.append(plain(f"that means: {found.meaning[0]}"))
    lines.append(plain(f"evidence: {state.evidence}"))
    if one.reason is not None and one.reason.is_hopeless:
        lines.append(plain("waiting does not help: somebody has to act", style="bold red"))
    return [*lines, *(plain(note, style="yellow") for note in found.look.notes)]


def _attempts(found: _PostMortem) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("attempt", justify="right", no_wrap=True)
    table.add_column("node", overflow="fold")
    if any(past.element for past in found.pasts):
        table.add_column("element", overflow="fold")
    table.add_column("began", no_wrap=True)
    table.add_column("took", justify="right", no_wrap=True)
    table.add_column("ended", overflow="fold")
    table.add_column("saved step", justify="right")
    for past in found.pasts[-10:]:
        elements = [past.element or ""] if any(one.element for one in found.pasts) else []
        step = found.step_of(past)
        ended = _ended(found, past)
        took = duration(past.end - past.start) if past.end and past.start else ""
        row = [str(past.fence), past.node or "", *elements, _clock(past.start), took, ended]
        table.add_row(*map(Text, row), "" if step is None else str(step))
    return table


def _ended(found: _PostMortem, past: AttemptSummary) -> str:
    if past.outcome is not None:
        return past.outcome
    if past.is_over:
        again = ", requeued" if past.is_requeued else ""
        return f"{past.failure}{again}"
    is_last = past.fence == found.state.attempts
    return "alive" if is_last and found.state.state == "running" else "no word"


def _clock(moment: float | None) -> str:
    return time.strftime("%a %H:%M:%S", time.localtime(moment)) if moment else ""


def _facts(found: _PostMortem) -> list[str]:
    """Progress, time, memory and node, as far as known."""
    state, run = found.state, found.one.planned.run
    lines = []
    if state.epoch is not None:
        rate = f", {state.epoch_s:.3g} s per epoch" if state.epoch_s else ""
        step = f", step {state.step} of {state.steps}" if state.step and state.steps else ""
        lines.append(f"progress: epoch {state.epoch} of {run.epochs}{step}{rate}")
    if found.asked.time is not None:
        limit = f"time: {slurm_time(found.asked.time)} asked for each attempt"
        left = (run.epochs - (state.epoch or 0)) * (state.epoch_s or 0)
        needs = f"; the epochs that are left take about {duration(left)}" if left else ""
        lines.append(limit + needs)
    if found.peak is not None or found.asked_bytes is not None:
        lines.append(f"memory: {_memory(found)}")
    lines += [f"attempt {past.fence} began anew: {anew}" for past, anew in found.begun_anew()]
    if found.pasts and found.pasts[-1].data:
        lines.append(f"data: {found.pasts[-1].data}")
    if state.node is not None:
        lines.append(f"node: {state.node}, {_judgement(found.node)}")
    return lines


def _judgement(node: Node | None) -> str:
    if node is None:
        return "against which nothing speaks"
    if node.is_suspicious:
        return f"which looks bad: {node.evidence}"
    return f"not enough evidence against it: {node.evidence}"


def _memory(found: _PostMortem) -> str:
    peak = "peak not known" if found.peak is None else f"peak {memory(found.peak)}"
    source = f" ({found.peak_source})" if found.peak is not None else ""
    asked = "" if found.asked_bytes is None else f", {memory(found.asked_bytes)} asked for"
    return f"{peak}{source}{asked}"


def _bytes_of(text: str) -> int | None:
    """A size as sacct prints it, `2345K`."""
    match = re.fullmatch(r"([0-9.]+)([KMGT]?)", text)
    return int(float(match[1]) * _UNIT_BYTES[match[2]]) if match else None
