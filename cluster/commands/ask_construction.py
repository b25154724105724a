"""`check` asks a child process whether each optimizer of a spec can be constructed.

Constructing takes torch, so one child does it for all optimizers (`jobs.training.construction`). Its
findings are mistakes of the spec, with their positions; those that may be due to this machine are notes.
"""

import json
import subprocess
import sys
from dataclasses import dataclass

from cluster.commands import torch_environment
from cluster.terminal.plain import PlainConsole
from jobs.problems.catalog import PROBLEMS
from jobs.spec.expand import Cell
from jobs.spec.hyperparameters import of_setting
from jobs.spec.plan import Plan
from jobs.sweep import Run
from jobs.training.construction import Answer, Finding, Question
from jobs.yaml.mistakes import Mistake, Place, SpecError, in_reading_order

TIMEOUT_S = 120.0
"""The child may take this long; importing torch takes some of it."""


@dataclass(frozen=True, kw_only=True)
class Construction:
    """The result: the number of settings that were constructed, and notes about the others."""

    constructed: int  # settings
    notes: tuple[
        str, ...
    ]  # a line per class or setting that was not imported or constructed, and why

    def lines(self) -> list[str]:
        """The lines that `check` prints."""
        settings = f"{self.constructed:,} setting{'' if self.constructed == 1 else 's'}"
        done = f"constructed {settings} of the optimizers, on a tiny model"
        return [done, *self.notes] if self.constructed else list(self.notes)


@dataclass(frozen=True)
class _Subjects:
    """The distinct classes and settings, each with a cell that has it."""

    problems: dict[str, Cell]
    runs: dict[str, tuple[Run, Cell]]

    @classmethod
    def of(cls, plan: Plan) -> "_Subjects":
        asked = cls({}, {})
        for planned, cell in zip(plan.sweep.runs, plan.cells, strict=True):
            run = planned.run
            if run.problem not in PROBLEMS:
                asked.problems.setdefault(run.problem, cell)
            settings = (dict(run.hyperparameters), dict(run.regime))
            key = json.dumps([cell.optimizer.label, run.optimizer, *settings])
            asked.runs.setdefault(key, (run, cell))
        return asked


def construct(plan: Plan) -> Construction:
    """Import the sweep's own classes and construct each distinct setting of its optimizers once.

    Raises:
        SpecError: with every class that cannot be imported and setting that cannot be constructed.
    """
    asked = _Subjects.of(plan)
    question = Question(
        own=plan.sweep.code,
        problems=tuple(asked.problems),
        runs=tuple(run for run, _ in asked.runs.values()),
    )
    with PlainConsole(stderr=True).status("constructing the optimizers"):
        answer, ending = _ask(question)
    mistakes, notes = _told(asked, answer)
    if mistakes:
        raise SpecError(in_reading_order(mistakes, plan.sweep.sources))
    if answer.absent:
        return Construction(
            constructed=0, notes=(f"optimizers were not constructed: {answer.absent}",)
        )
    if not answer.is_whole:
        notes.append(f"optimizers were not all constructed: {ending}")
        return Construction(constructed=0, notes=tuple(notes))
    failed = sum(finding.about == "run" for finding in answer.findings)
    return Construction(constructed=len(asked.runs) - failed, notes=tuple(notes))


def _ask(question: Question) -> tuple[Answer, str]:
    """The child's answer, and how the child ended if the answer is not whole."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "jobs.training.construction"],
            input=json.dumps(question.to_json()).encode(),
            env={**torch_environment.environment(), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        said, ending = done.stdout, f"the process ended with exit code {done.returncode}"
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    except subprocess.TimeoutExpired as late:
        said, ending, last = late.stdout or b"", f"the {TIMEOUT_S:g} seconds for it were over", ""
    except OSError as error:
        absent = f"{sys.executable} cannot be started: {error.strerror}"
        return Answer(findings=(), absent=absent, begun="", is_whole=True), ""
    answer = Answer.parse(said.decode())
    tried = f"{answer.begun} was tried" if answer.begun else "torch was imported"
    return answer, f"{ending} while {tried}" + (f": {last}" if last else "")


def _told(asked: _Subjects, answer: Answer) -> tuple[list[Mistake], list[str]]:
    """The mistakes and the notes: one per place, with the first finding there."""
    cells = {
        "problem": list(asked.problems.values()),
        "run": [cell for _, cell in asked.runs.values()],
    }
    told: dict[tuple[bool, Place, str], dict[str, None]] = {}
    for finding in answer.findings:
        place, path = _place(finding, cells[finding.about][finding.index])
        told.setdefault((finding.is_mistake, place, path), {})[finding.text] = None
    mistakes, notes = [], []
    for (is_mistake, place, path), texts in told.items():
        first, *others = texts
        text = first + (f" (and {len(others):,} more like this)" if others else "")
        one = Mistake.at(place, path, text)
        if is_mistake:
            mistakes.append(one)
        else:
            notes.append(str(one))
    return mistakes, notes


def _place(finding: Finding, cell: Cell) -> tuple[Place, str]:
    """The place in the spec that a finding is about, and the path of its key."""
    if finding.about == "problem":
        return cell.problem.place, f"problems.{cell.problem.label}"
    for setting in cell.optimizer.settings:
        if finding.hyperparameter and of_setting(setting.name) == finding.hyperparameter:
            choice = cell.choices[setting.name]
            return choice.place or setting.place, setting.path
    return cell.optimizer.place, f"optimizers.{cell.optimizer.label}"
