"""A comparison in one sentence, as a paper prints it: what is shown, by how much, of which runs, how sure."""

import math
from collections.abc import Iterator
from dataclasses import replace

from jobs.results.cells import Cell, spell_seeds
from jobs.results.comparisons import Answer, Compared
from jobs.results.question import Question
from jobs.results.selection import Selection
from jobs.statistics.claims import Claim
from jobs.statistics.comparison import Comparison
from jobs.statistics.interval import Interval
from jobs.statistics.multiplicity import ALPHA
from jobs.text import spelled

_DIGITS = 2  # significant ones, of half an interval
_DECIMALS_MAX = 6


def sentence(answer: Answer, question: Question) -> str:
    """Say what the answer says."""
    made = answer.compared
    if made is None:
        return f"{headline(answer, question)}: {answer.refused}."
    parts = [f"{_effect(answer, made.comparison)}, {runs_text(made)}, {test_text(answer, made)}"]
    parts += [_selected(answer), _diverged(answer, made.comparison)]
    parts += [*_missing(answer, made)] if answer.claim is Claim.UNDECIDED else []
    return f"{headline(answer, question)}: {'; '.join(parts)}."


def headline(answer: Answer, question: Question) -> str:
    """Say what is shown, and no number: the beginning of the sentence."""
    if answer.compared is None:
        return f"{_names(answer)} are not compared on {answer.problem}"
    first, second, problem = answer.a.optimizer, answer.b.optimizer, answer.problem
    margin = "" if question.margin is None else spelled(question.margin)
    if answer.claim is Claim.SUPERIOR and answer.winner is not None:
        loser = second if answer.winner is answer.a else first
        return f"{answer.winner.optimizer} is better than {loser} on {problem}"
    if answer.claim is Claim.EQUIVALENT:
        return f"{first} and {second} differ by less than {margin} on {problem}"
    if answer.claim is Claim.NONINFERIOR:
        return f"{first} is not worse than {second} by {margin} or more on {problem}"
    wanted = {
        Claim.SUPERIOR: f"whether {first} or {second} is better",
        Claim.EQUIVALENT: f"whether {first} and {second} differ by less than {margin}",
        Claim.NONINFERIOR: f"whether {first} is worse than {second} by less than {margin}",
    }
    return f"It is undecided {wanted[question.claim]} on {problem}"


def interval_text(interval: Interval) -> str:
    """Spell an interval: `95 % CI 0.0027 to 0.0215`, or the range of the values."""
    form = _form(interval)
    name = "range" if interval.level is None else f"{100 * interval.level:g} % CI"
    return f"{name} {interval.low:{form}} to {interval.high:{form}}"


def p_text(p: float) -> str:
    """Spell a p value: `0.020`, `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def difference_text(comparison: Comparison, *, is_turned: bool = False) -> str:
    """Spell the mean of A less that of B with its interval; empty: there is no such difference.

    Args:
        comparison: A run diverged, or an arm has one run: there is no difference of means.
        is_turned: Spell that of B less A.
    """
    if comparison.difference is None:
        return ""
    estimate, interval = comparison.difference.estimate, comparison.difference.interval()
    if is_turned:
        estimate, interval = -estimate, replace(interval, low=-interval.high, high=-interval.low)
    return f"{estimate:+{_form(interval)}} ({interval_text(interval)})"


def why_no_difference(comparison: Comparison) -> str:
    """Say why there is no difference of means."""
    is_diverged = any(one.count for one in comparison.diverged)
    return "a run diverged" if is_diverged else "only one run"


def runs_text(made: Compared) -> str:
    """Spell the runs that were compared: `9 pairs of seeds 43..51`."""
    first, second = (_seeds(cell) for cell in made.runs)
    if made.comparison.paired:
        count, planned = made.comparison.n[0], len(made.runs[0].planned)
        lacking = f" ({planned} were planned)" if planned > count else ""
        return (
            f"{count} pairs of {first}{lacking}" if count > 1 else f"one pair of {first}{lacking}"
        )
    return f"{first} against {second}"


def test_text(answer: Answer, made: Compared) -> str:
    """Spell the declared test and its p value: `exact sign-flip p = 0.020, one comparison declared`."""
    test = made.comparison.test
    name = "sign-flip" if made.comparison.paired else "permutation"
    kind = f"exact {name}" if test.exact else f"{name} ({test.arrangements} draws)"
    if made.evidence.claim is not Claim.SUPERIOR:
        kind = "one-sided t"
    text = f"{kind} p {p_text(made.evidence.p_value)}"
    if answer.family == 1:
        return f"{text}, one comparison declared"
    return f"{text}, {p_text(made.p_adjusted).removeprefix('= ')} by Holm over {answer.family} comparisons declared"


def _names(answer: Answer) -> str:
    return f"{answer.a.optimizer} and {answer.b.optimizer}"


def _effect(answer: Answer, made: Comparison) -> str:
    """`final test accuracy +0.0121 (95 % CI 0.0027 to 0.0215)`, of whom the verdict calls better.

    Where it calls neither so, it says whose the difference is: `... of Adam less that of SGD -0.0028`.
    """
    what = f"{answer.value.replace('_', ' ')} {answer.metric.replace('_', ' ')}"
    is_turned = answer.claim is Claim.SUPERIOR and answer.winner is answer.b
    if text := difference_text(made, is_turned=is_turned):
        is_named = answer.claim is not Claim.SUPERIOR
        whose = f" of {answer.a.optimizer} less that of {answer.b.optimizer}" if is_named else ""
        return f"{what}{whose} {text}"
    chance = made.improvement
    interval = f" ({interval_text(chance.interval)})" if chance.interval else ""
    return f"{what} of {answer.a.optimizer} is better with probability {chance.probability:.2f}{interval}"


def _seeds(cell: Cell) -> str:
    return spell_seeds(one.planned.run.seed for one in cell.results)


def _selected(answer: Answer) -> str:
    first, second = _basis(answer.a), _basis(answer.b)
    if first == second:
        return f"both {first}"
    return f"{answer.a.optimizer} {first}, {answer.b.optimizer} {second}"


def _basis(one: Selection) -> str:
    """`with a setting selected on seed 42 out of 20`."""
    if not one.by:
        return "with the only setting tried"
    where = spell_seeds(one.seeds) if one.is_reported_on_others else "the same seeds"
    return f"with a setting selected on {where} out of {one.settings}"


def _diverged(answer: Answer, made: Comparison) -> str:
    counts = [
        f"{found.count} of {found.n} runs of {one.optimizer}"
        for one, found in zip((answer.a, answer.b), made.diverged, strict=True)
        if found.count
    ]
    if not counts:
        return "no run of either diverged"
    return f"{' and '.join(counts)} diverged, which counts as worse than any that did not"


def _missing(answer: Answer, made: Compared) -> Iterator[str]:
    """What stands in the way of the claim, and what would help."""
    if answer.forbidden:
        yield f"nothing may be claimed: {answer.forbidden[0]}"
        return
    if made.evidence.obstacle:
        yield made.evidence.obstacle
        return
    if answer.smallest_p > ALPHA:
        text = f"so few runs cannot show it, p is at least {answer.smallest_p:.3g}"
        yield f"{text}: it takes {can.pairs_needed} pairs" if (can := answer.resolution) else text
    for seeds, which in (
        (made.needed.observed, "a difference as large as the observed one"),
        (made.needed.margin, "it at the margin"),
    ):
        if seeds is not None:
            yield f"{seeds} seeds per optimizer would show {which} with a power of 80 %"


def _form(interval: Interval) -> str:
    """A number's format: half of the interval has two digits; what is huge or tiny has an exponent."""
    half, largest = (interval.high - interval.low) / 2, max(abs(interval.low), abs(interval.high))
    decimals = 4
    if math.isfinite(half) and half > 0:
        decimals = max(0, _DIGITS - 1 - math.floor(math.log10(half)))
    return f".{decimals}f" if decimals <= _DECIMALS_MAX and largest < 1e6 else ".2e"
