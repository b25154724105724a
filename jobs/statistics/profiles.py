"""Performance profiles: how often each optimizer is nearly the fastest of a set, over problems."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jobs.errors import InputError
from jobs.statistics.interval import LEVEL, FloatArray
from jobs.statistics.time_to_target import Reach
from jobs.streams import stream

Runs = Mapping[str, Mapping[str, Sequence[Reach]]]
"""Optimizer -> problem -> its runs, at the seeds that were planned."""

PROBLEMS_MIN = 3
"""How many problems a profile must have: of fewer its shares are 0, a half and 1."""

TAU_MAX = 4.0
"""The ratio to the fastest from which on a problem counts as unsolved (Dahl et al. 2023)."""

RESAMPLES = 2000
"""How often the seeds are drawn again for a band."""


class TooFewProblemsError(InputError):
    """There are too few problems for a statement over problems."""


@dataclass(frozen=True, kw_only=True)
class Band:
    """What seeds drawn again within each problem give in 95 % of draws; the problems stay the same.

    A percentile bootstrap (Efron 1979): of few seeds it is too narrow.
    """

    low: FloatArray  # (T,), of the shares
    high: FloatArray  # (T,)
    score_low: float
    score_high: float


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The profile of one optimizer, relative to the set that it is in."""

    optimizer: str
    ratios: Mapping[str, float]  # problem -> its time over the fastest's; infinity: unsolved
    shares: FloatArray  # (T,), of the problems with a ratio of at most tau: Dolan & Moré's rho(tau)
    score: float  # in [0, 1]; 1: the fastest on each problem
    band: Band | None  # None: some optimizer has a single run of a problem


@dataclass(frozen=True, kw_only=True)
class Profiles:
    """The profiles of a set of optimizers; with another set, each of them is another."""

    relative_to: tuple[str, ...]  # the optimizers of the set
    problems: tuple[str, ...]
    taus: FloatArray  # (T,), from 1 to 4: ratios to the fastest
    profiles: tuple[Profile, ...]  # in the order of the optimizers
    under_way: int  # runs whose end is not known, counted as if they never reached their target


def performance_profiles(runs: Runs) -> Profiles:
    """The share of problems that each optimizer solves within tau times the fastest's time.

    The time of an optimizer on a problem is the median over its runs, where never is infinite. The
    ratio to the fastest of the set gives the profile (Dolan & Moré 2002, "Benchmarking
    optimization software with performance profiles"); beyond 4 it counts as unsolved. A problem
    that nobody solves stays in the denominator. The score is AlgoPerf's, the integral of the
    profile over tau in [1, 4], divided by 3 (Dahl et al. 2023). The optimizers that are compared
    decide who is fastest: the order of two of them can change with a third (Gould & Scott 2016).

    Args:
        runs: of each optimizer, on the same problems; no cell without a run.

    Raises:
        TooFewProblemsError: fewer than three problems.
    """
    optimizers, problems = tuple(runs), _problems(runs)
    taus = np.linspace(1.0, TAU_MAX, 301)
    cells = [[runs[optimizer][problem] for problem in problems] for optimizer in optimizers]
    times = np.array([[np.median(_times(cell)) for cell in row] for row in cells])
    ratios = _ratios(times)
    return Profiles(
        relative_to=optimizers,
        problems=problems,
        taus=taus,
        profiles=tuple(
            Profile(
                optimizer=optimizer,
                ratios=dict(zip(problems, own.tolist(), strict=True)),
                shares=_shares(own, taus),
                score=float(_score(own)),
                band=band,
            )
            for optimizer, own, band in zip(optimizers, ratios, _bands(runs, taus), strict=True)
        ),
        under_way=sum(run.state == "under_way" for row in cells for cell in row for run in cell),
    )


def _problems(runs: Runs) -> tuple[str, ...]:
    """The problems of all optimizers, in the first one's order."""
    problems = tuple(next(iter(runs.values()), {}))
    if len(problems) < PROBLEMS_MIN:
        raise TooFewProblemsError(
            f"a performance profile needs at least {PROBLEMS_MIN} problems with a target that all"
            f" optimizers ran, there {'is' if len(problems) == 1 else 'are'} {len(problems)}:"
            " look at each by itself (figure target)"
        )
    if any(set(of) != set(problems) or not all(of.values()) for of in runs.values()):
        raise ValueError("each optimizer must have a run of each problem")
    return problems


def _times(cell: Sequence[Reach]) -> FloatArray:
    """The time to target of each run (R,); never is infinite."""
    return np.array([run.at if run.state == "reached" else np.inf for run in cell])


def _ratios(times: FloatArray) -> FloatArray:
    """The ratios of times (O, P, ...) to the fastest optimizer's; infinite where unsolved.

    Where the fastest time is 0, all that took longer are beyond any ratio.
    """
    fastest = times.min(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where((times == fastest) & np.isfinite(times), 1.0, times / fastest)
    return np.where(ratios <= TAU_MAX, ratios, np.inf)


def _shares(ratios: FloatArray, taus: FloatArray) -> FloatArray:
    """The share of problems with a ratio of at most tau, of ratios (P, ...): (..., T)."""
    return np.asarray((ratios[..., None] <= taus).mean(axis=0))


def _score(ratios: FloatArray) -> FloatArray:
    """The integral of a profile over [1, 4], of ratios (P, ...), divided by its length: (...)."""
    return np.asarray((np.maximum(TAU_MAX - ratios, 0.0) / (TAU_MAX - 1)).mean(axis=0))


def _bands(runs: Runs, taus: FloatArray) -> Sequence[Band | None]:
    """The band of each optimizer, in their order."""
    if min(len(cell) for row in runs.values() for cell in row.values()) == 1:
        return [None] * len(runs)
    problems = list(next(iter(runs.values())))
    drawn = [
        [_redrawn(row[problem], f"{optimizer} on {problem}") for problem in problems]
        for optimizer, row in runs.items()
    ]
    return [_band(ratios, taus) for ratios in _ratios(np.array(drawn))]


def _redrawn(cell: Sequence[Reach], name: str) -> FloatArray:
    """The median times of runs drawn again from a cell (B,), the same in whatever set it is."""
    times = _times(cell)
    draws = stream(0, f"performance profile: {name}").integers(
        len(times), size=(RESAMPLES, len(times))
    )
    return np.asarray(np.median(times[draws], axis=1))


def _band(ratios: FloatArray, taus: FloatArray) -> Band:
    """The band of an optimizer's ratios to the fastest in each of the resamples (P, B)."""
    ends = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    low, high = np.quantile(_shares(ratios, taus), ends, axis=0)
    score_low, score_high = np.quantile(_score(ratios), ends)
    return Band(low=low, high=high, score_low=float(score_low), score_high=float(score_high))
