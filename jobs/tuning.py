"""Tuning: settings are compared on seeds of their own, and the chosen one is evaluated on others.

Plain values: which settings there are to choose from, by what, and what was chosen from what.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, Self

from jobs.canonical import digest

At = Literal["final", "best"]

METRICS = ("valid_accuracy", "valid_loss", "train_accuracy", "train_loss")
"""What may choose. Test data may not: what it chose, it cannot judge."""

WHEN: tuple[At, ...] = ("final", "best")
"""After the last epoch, or the best of all evaluations (DeepOBS' modes `final` and `best`)."""


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """The number by which settings are compared: its mean over the tuning seeds."""

    metric: str  # one of METRICS
    at: At

    def __str__(self) -> str:
        """As a spec spells it."""
        return f"{self.metric} {self.at}"

    @property
    def is_better_high(self) -> bool:
        """Whether more is better."""
        return self.metric.endswith("accuracy")


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """The settings of one optimizer on one problem, one of which is to be chosen."""

    problem: str  # label
    optimizer: str  # label
    cells: tuple[str, ...]  # ids of the settings' cells, in the spec's order
    seeds: tuple[int, ...]  # on which they are compared
    evaluation: tuple[int, ...]  # seeds on which the chosen one is run
    criterion: Criterion
    chosen: str | None = None  # the cell that was; not part of what is asked for

    @cached_property
    def key(self) -> str:
        """12 hex digits that name what is chosen from, and how: another one is another choice."""
        return digest(
            {
                "cells": sorted(self.cells),
                "seeds": sorted(self.seeds),
                "criterion": str(self.criterion),
            }
        )

    def to_json(self) -> dict[str, Any]:
        """An entry of `sweep.json`."""
        content = asdict(self)
        del content["chosen"]
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`."""
        return cls(
            problem=content["problem"],
            optimizer=content["optimizer"],
            cells=tuple(content["cells"]),
            seeds=tuple(content["seeds"]),
            evaluation=tuple(content["evaluation"]),
            criterion=Criterion(**content["criterion"]),
        )


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One setting that could have been chosen, and how it did."""

    cell: str
    setting: Mapping[str, Any]  # what the spec's axes gave it
    lr: float | None  # its step size, where it is one number
    value: float | None  # mean of the criterion's number; None: a run diverged, or has none
    diverged: int  # runs that did
    records: Mapping[str, str]  # id of each of its runs -> sha256 of the record


def best(candidates: Sequence[Candidate], criterion: Criterion) -> Candidate | None:
    """The candidate of the best value, of equal ones that of the smallest step size; None: none is."""

    def rank(one: Candidate) -> tuple[float, float]:
        value = math.nan if one.value is None else one.value
        step_size = math.inf if one.lr is None else one.lr
        return -value if criterion.is_better_high else value, step_size

    return min((one for one in candidates if one.value is not None), key=rank, default=None)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was chosen, from what, and by whom: written once."""

    key: str  # of the tuning
    problem: str
    optimizer: str
    criterion: Criterion
    seeds: tuple[int, ...]
    cell: str  # the one that was chosen
    time: float  # unix time
    by: str  # process and host
    candidates: tuple[Candidate, ...]

    @property
    def winner(self) -> Candidate:
        """The chosen one."""
        return next(one for one in self.candidates if one.cell == self.cell)

    def to_json(self) -> dict[str, Any]:
        """What `choices/KEY.json` holds."""
        return {"schema": 1, **asdict(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`; ValueError if what was chosen is not the best of the candidates."""
        choice = cls(
            key=content["key"],
            problem=content["problem"],
            optimizer=content["optimizer"],
            criterion=Criterion(**content["criterion"]),
            seeds=tuple(content["seeds"]),
            cell=content["cell"],
            time=content["time"],
            by=content["by"],
            candidates=tuple(Candidate(**one) for one in content["candidates"]),
        )
        found = best(choice.candidates, choice.criterion)
        if found is None or choice.cell != found.cell:
            raise ValueError(f"it chooses {choice.cell}, which is not the best of its candidates")
        return choice
