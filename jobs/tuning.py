"""Tuning: settings are compared on seeds of their own, and the chosen one is evaluated on others.

The values here say which settings compete, by which criterion, and which setting was chosen.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, Self

from jobs.canonical import digest

At = Literal["final", "best"]

METRICS = ("valid_accuracy", "valid_loss", "train_accuracy", "train_loss")
"""Metrics that a choice may use. Test metrics may not: they judge the chosen setting."""

WHEN: tuple[At, ...] = ("final", "best")
"""The metric's value after the last epoch, or its best value (DeepOBS' `final` and `best`)."""


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """The number by which settings are compared: its mean over the tuning seeds."""

    metric: str  # one of METRICS
    at: At

    def __str__(self) -> str:
        """The criterion as a spec spells it."""
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
    chosen: str | None = None  # the chosen setting's cell; not in `sweep.json`

    @cached_property
    def key(self) -> str:
        """12 hex digits that name the tuning: equal cells, seeds and criteria have equal keys."""
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
    """One of a tuning's settings, with the result of its runs."""

    cell: str
    setting: Mapping[str, Any]  # the values that the spec's axes vary
    lr: float | None  # its step size, if that is a single number
    value: float | None  # mean of the criterion's metric; None: a run diverged, or lacks it
    diverged: int  # number of diverged runs
    records: Mapping[str, str]  # id of each of its runs -> sha256 of the record


def best(candidates: Sequence[Candidate], criterion: Criterion) -> Candidate | None:
    """The candidate with the best value; among equals, the smallest step size; None: no value."""

    def rank(one: Candidate) -> tuple[float, float]:
        value = math.nan if one.value is None else one.value
        step_size = math.inf if one.lr is None else one.lr
        return -value if criterion.is_better_high else value, step_size

    return min((one for one in candidates if one.value is not None), key=rank, default=None)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The setting that was chosen for a tuning, and its competitors; written once."""

    key: str  # of the tuning
    problem: str
    optimizer: str
    criterion: Criterion
    seeds: tuple[int, ...]
    cell: str  # of the chosen setting
    time: float  # unix time
    by: str  # process and host
    candidates: tuple[Candidate, ...]

    @property
    def winner(self) -> Candidate:
        """The chosen candidate."""
        return next(one for one in self.candidates if one.cell == self.cell)

    def to_json(self) -> dict[str, Any]:
        """The content of `choices/KEY.json`."""
        return {"schema": 1, **asdict(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`; ValueError if the chosen candidate is not the best."""
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
