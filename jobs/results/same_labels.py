"""Labels that stand for different things in several sweeps are told apart."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

from jobs.results.finding import Finding
from jobs.sweep import PlannedRun, Sweep
from jobs.tuning import Tuning

_Renamed = Mapping[tuple[str, str], str]
"""Names: sweep and label -> the label side by side with those of other sweeps."""


@dataclass(frozen=True)
class Labels:
    """What the labels of each sweep are called side by side with those of the others."""

    problems: _Renamed
    optimizers: _Renamed
    findings: tuple[Finding, ...]

    def problem(self, sweep: str, label: str) -> str:
        """What a sweep's problem is called."""
        return self.problems.get((sweep, label), label)

    def optimizer(self, sweep: str, label: str) -> str:
        """What a sweep's optimizer is called."""
        return self.optimizers.get((sweep, label), label)

    def of_run(self, sweep: str, planned: PlannedRun) -> PlannedRun:
        """The run with those labels; itself where they are its own."""
        problem, optimizer = (
            self.problem(sweep, planned.problem),
            self.optimizer(sweep, planned.optimizer),
        )
        if (problem, optimizer) == (planned.problem, planned.optimizer):
            return planned
        return replace(planned, problem=problem, optimizer=optimizer)

    def of_tuning(self, sweep: str, tuning: Tuning) -> Tuning:
        """The tuning with those labels."""
        return replace(
            tuning,
            problem=self.problem(sweep, tuning.problem),
            optimizer=self.optimizer(sweep, tuning.optimizer),
        )


def told_apart(sweeps: Mapping[str, Sweep]) -> Labels:
    """A label that stands for different things is followed by the sweep's name.

    A problem's label stands for its class and target. An optimizer's stands for its class, and on a
    problem that several sweeps have, for its settings (the number of epochs and the batch size are a
    part of them) and for what is tuned and chosen.
    """
    problems: dict[str, dict[str, Hashable]] = {}
    for name, sweep in sweeps.items():
        for label in sweep.problems:
            classes = frozenset(one.run.problem for one in sweep.runs if one.problem == label)
            problems.setdefault(label, {})[name] = (classes, sweep.targets.get(label))
    apart = {label for label, meanings in problems.items() if len(set(meanings.values())) > 1}
    of_sweeps = {name: _Optimizers(sweep, apart) for name, sweep in sweeps.items()}
    optimizers = {
        label: [name for name, sweep in sweeps.items() if label in sweep.optimizers]
        for sweep in sweeps.values()
        for label in sweep.optimizers
    }
    unlike = {
        label: names for label, names in optimizers.items() if _is_unlike(label, names, of_sweeps)
    }
    renamed = _renamed(
        {label: [*problems[label]] for label in problems if label in apart}, problems
    )
    others = _renamed(unlike, optimizers)
    return Labels(
        renamed, others, (*_findings("problem", renamed), *_findings("optimizer", others))
    )


class _Optimizers:
    """What the optimizers' labels of a sweep stand for, by problem."""

    def __init__(self, sweep: Sweep, apart: set[str]) -> None:
        self.classes: dict[str, set[str]] = {}
        self._settings: dict[tuple[str, str], set[Hashable]] = {}
        for one in sweep.asked:
            self.classes.setdefault(one.optimizer, set()).add(one.run.optimizer)
            if one.problem not in apart:
                key = (one.optimizer, one.problem)
                self._settings.setdefault(key, set()).add((one.run.cell, one.role))
        for tuning in (one for one in sweep.tunings if one.problem not in apart):
            key = (tuning.optimizer, tuning.problem)
            self._settings.setdefault(key, set()).add((tuning.key, tuning.chosen))

    def is_unlike(self, other: "_Optimizers", label: str) -> bool:
        """Whether the label stands for something else there."""
        if self.classes.get(label) != other.classes.get(label):
            return True
        shared = self._settings.keys() & other._settings.keys()  # noqa: SLF001 - of its own kind
        return any(
            self._settings[key] != other._settings[key]  # noqa: SLF001
            for key in shared
            if key[0] == label
        )


def _is_unlike(label: str, names: Sequence[str], sweeps: Mapping[str, _Optimizers]) -> bool:
    pairs = ((one, other) for at, one in enumerate(names) for other in names[at + 1 :])
    return any(sweeps[one].is_unlike(sweeps[other], label) for one, other in pairs)


def _renamed(labels: Mapping[str, Sequence[str]], taken: Mapping[str, object]) -> _Renamed:
    """The labels followed by each sweep's name, once more where a spec has that label, too."""
    found = {}
    for label, sweeps in labels.items():
        for sweep in sweeps:
            name = f"{label} [{sweep}]"
            found[sweep, label] = f"{name} [{sweep}]" if name in taken else name
    return found


def _findings(what: str, renamed: _Renamed) -> list[Finding]:
    names: dict[str, list[str]] = {}
    for (_, label), name in renamed.items():
        names.setdefault(label, []).append(name)
    said = {
        label: f"{what} {label} is not the same in all sweeps: told apart as {', '.join(own)}"
        for label, own in names.items()
    }
    return [Finding("told_apart", text) for text in said.values()]
