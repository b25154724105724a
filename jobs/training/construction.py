"""Before a submission own classes are imported, and each setting is constructed on a tiny model.

`python -m jobs.training.construction` reads a `Question` from stdin and writes lines of an `Answer`
to stdout; the output of the user's code goes to stderr. This module imports torch only when used.
"""

import importlib
import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

from jobs import importing, optimizers
from jobs.errors import InputError
from jobs.regime.placeholders import Numbers
from jobs.regime.settings import Settings
from jobs.sweep import Run
from jobs.training import own_code

_MODULE_ERRORS = (ImportError, SyntaxError, AttributeError, NameError)
"""Exceptions of an import that the module's code causes; others may come from this machine."""
_VALUE_ERRORS = (TypeError, ValueError)
"""Exceptions of a constructor that the setting causes; others may come from this machine."""
_STEPS_PER_EPOCH = 100  # assumed: the data, and so the true number, is not known yet
_TINY_MODELS = ((2, True), (64, False))  # features, bias: small with bias; larger, a matrix alone


@dataclass(frozen=True, kw_only=True)
class Question:
    """The own classes to import, and the runs whose optimizers to construct."""

    own: tuple[str, ...]  # folders of the user's own modules
    problems: tuple[str, ...]  # dotted paths of own classes
    runs: tuple[Run, ...]  # one for each setting of an optimizer

    def to_json(self) -> dict[str, Any]:
        """The question, as stdin has it."""
        runs = [run.to_json() for run in self.runs]
        return {"own": self.own, "problems": self.problems, "runs": runs}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Inverse of `to_json`."""
        return cls(
            own=tuple(content["own"]),
            problems=tuple(content["problems"]),
            runs=tuple(map(Run.from_json, content["runs"])),
        )


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The failure to import one class, or to construct one setting."""

    about: Literal["problem", "run"]
    index: int  # of the problem or run in the question
    is_mistake: bool  # the user's; False: this machine or the tiny model may be the cause
    text: str
    hyperparameter: str = ""  # the hyperparameter or key of the regime at fault, if only one is


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The findings so far: the process may have been killed."""

    findings: tuple[Finding, ...]
    absent: str  # a module that trainings need and this Python lacks; then nothing was tried
    begun: str  # the class that was tried last
    is_whole: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """The answer in the lines of stdout; the last line may be torn."""
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line[-1] == "\n"]
        return cls(
            findings=tuple(Finding(**line["finding"]) for line in lines if "finding" in line),
            absent=next((line["absent"] for line in lines if "absent" in line), ""),
            begun=next((line["begun"] for line in reversed(lines) if "begun" in line), ""),
            is_whole=any("end" in line for line in lines),
        )


@dataclass(frozen=True)
class _Failure:
    text: str
    is_mistake: bool


def construct(question: Question) -> Iterator[dict[str, Any]]:
    """The lines of the answer."""
    if absent := _absent():
        yield {"absent": absent}
    else:
        own_code.use(tuple(map(Path, question.own)))  # as in a training: after its own imports
        for index, path in enumerate(question.problems):
            yield {"begun": path}
            if failure := _failure_of_problem(path):
                yield _line(Finding(about="problem", index=index, **asdict(failure)))
        begun = ""
        for index, run in enumerate(question.runs):
            if run.optimizer != begun:
                begun = run.optimizer
                yield {"begun": begun}
            if finding := _finding(index, run):
                yield _line(finding)
    yield {"end": True}


def _line(finding: Finding) -> dict[str, Any]:
    return {"finding": asdict(finding)}


def _absent() -> str:
    """Why no training can begin in this Python; "": nothing is missing."""
    for name in ("torch", "jobs.training"):
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - a broken library may raise anything
            missing = getattr(error, "name", None) or name
            return f"{missing} is not in this Python: {_first_line(error)}"
    return ""


def _failure_of_problem(path: str) -> _Failure | None:
    from jobs.problems.problem import Problem

    if failure := _failure_of_import(path):
        return failure
    if issubclass(importing.load_class(path), Problem):
        return None
    return _Failure(f"{path} is not a jobs.problems.problem.Problem", is_mistake=True)


@cache
def _failure_of_import(path: str) -> _Failure | None:
    top = path.partition(".")[0]
    if importlib.util.find_spec(top) is None:
        return _Failure(f"{path} was not imported: no {top!r} in this Python", is_mistake=False)
    try:
        importing.load_class(path)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's module may do anything
        file, _ = _origin(error)
        is_mistake = isinstance(error, _MODULE_ERRORS) and not own_code.is_installed(file)
        hint = ""
        if is_mistake and isinstance(error, ModuleNotFoundError):
            hint = f"; if only the runs' image has it, install it for {sys.executable}, too"
        return _Failure(f"{path} cannot be imported: {_said(error)}{hint}", is_mistake)
    return None


def _finding(index: int, run: Run) -> Finding | None:
    for name, path in optimizers.classes(run):
        if failure := _failure_of_import(path):
            return Finding(about="run", index=index, hyperparameter=name, **asdict(failure))
    error = _construct(run, *_TINY_MODELS[0])
    if error is None:
        return None
    is_mistake = isinstance(error, _VALUE_ERRORS)
    if is_mistake:
        again = _construct(run, *_TINY_MODELS[1])
        if again is None and "groups" in run.regime:
            return None  # which parameters a group gets, only the real model says
        is_mistake = isinstance(again, _VALUE_ERRORS)
    said = f"{run.optimizer} cannot be constructed: {_said(error)}"
    text = str(error) if isinstance(error, InputError) else said
    text = text if is_mistake else f"{text} (tried on a tiny model; it may be due to that)"
    name = _culprit(run) if is_mistake else ""
    return Finding(about="run", index=index, is_mistake=is_mistake, text=text, hyperparameter=name)


def _construct(run: Run, features: int, bias: bool) -> BaseException | None:
    """Construct the optimizer and schedule of `run`; returns why that failed, or None."""
    import torch

    from jobs.regime import step_arguments
    from jobs.regime.passes import require
    from jobs.regime.schedule import Scheduler
    from jobs.training import stepping

    numbers = Numbers.of(run, _STEPS_PER_EPOCH)
    try:
        for part in _parts(run):
            layers = [torch.nn.Linear(features, features, bias=bias) for _ in range(2)]
            model = torch.nn.Sequential(*layers)
            optimizer = optimizers.build(part, model, numbers)
            settings = Settings.from_json(part.regime)
            if settings.closure:
                stepping.require_closure(optimizer)
            step_arguments.wants(optimizer)
            require(optimizer, settings)
            Scheduler(settings.schedule, optimizer, numbers)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's class may do anything
        return error
    return None


def _parts(run: Run) -> Iterator[Run]:
    """The run without groups, and for each group two runs: all parameters in it, and some.

    The tiny model has none of the parameter names that groups match.
    """
    yield replace(run, regime={name: one for name, one in run.regime.items() if name != "groups"})
    for group in Settings.from_json(run.regime).groups:
        own = {} if group.path else run.hyperparameters
        yield replace(
            run,
            optimizer=group.path or run.optimizer,
            hyperparameters={**own, **group.hyperparameters},
            regime={},
        )
        whose = replace(group, match="^1", dims=(), kinds=())  # of the second layer
        yield replace(run, regime={"groups": [whose.to_json()]})


def _culprit(run: Run) -> str:
    """The only setting without which the construction succeeds; "": none, or several."""
    found = [name for name, less in _less(run) if _construct(less, *_TINY_MODELS[0]) is None]
    return found[0] if len(found) == 1 else ""


def _less(run: Run) -> Iterator[tuple[str, Run]]:
    """Each setting's name, and the run without that setting."""
    for name in run.hyperparameters:
        rest = {other: value for other, value in run.hyperparameters.items() if other != name}
        yield name, replace(run, hyperparameters=rest)
    for name in run.regime:
        rest = {other: value for other, value in run.regime.items() if other != name}
        yield name, replace(run, regime=rest)


def _said(error: BaseException) -> str:
    """The error's text, with the line of the user's own code that raised it."""
    file, line = _origin(error)
    where = f" ({file}:{line})" if file and not own_code.is_installed(file) else ""
    return f"{type(error).__name__}: {_first_line(error)}{where}"


def _origin(error: BaseException) -> tuple[str, int | None]:
    """The file and line that raised the error, without frames of Python or of this toolkit."""
    if isinstance(error, SyntaxError) and error.filename:
        return error.filename, error.lineno
    frames = _frames(error)
    return (frames[-1].filename, frames[-1].lineno) if frames else ("", None)


def _frames(error: BaseException) -> Sequence[traceback.FrameSummary]:
    """The error's frames that are neither Python's, nor this toolkit's, nor a `__getattr__`."""
    return [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.name != "__getattr__"
        and not own_code.is_pythons(frame.filename)
        and not own_code.is_toolkit(frame.filename)
    ]


def _first_line(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return text.partition("\n")[0]


def main() -> int:
    """The command `python -m jobs.training.construction`."""
    question = Question.from_json(json.loads(sys.stdin.buffer.read()))
    with os.fdopen(os.dup(1), "w") as answer:
        os.dup2(2, 1)
        for line in construct(question):
            answer.write(json.dumps(line) + "\n")
            answer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
