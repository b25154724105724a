"""Of the comparisons a reviewer asks: can times be compared, are many accounted for, are there enough seeds?"""

from collections.abc import Iterator

from jobs.report.content import Check, Level
from jobs.report.review import Review, quoted, runs_of
from jobs.results.captions import spell_counts
from jobs.results.cells import name_some
from jobs.results.comparisons import Answer
from jobs.results.times import HOW_TO_MEASURE, paces
from jobs.statistics.claims import Claim
from jobs.statistics.multiplicity import ALPHA, resolution
from jobs.text import printable

_NOTHING = "nothing is compared"


def comparable_time(review: Review) -> Check:
    """Whether the wall clock of optimizers can be compared: equal machines, and nobody else on them."""
    found = list(paces(review.results.selections, review.results.found)) if review.selected else []
    refused = [f"{one.selection.name}: {one.refused}" for one in found if one.refused]
    mixed = review.about("mixed_machine")
    pairs = sum(one.wall.pairs for one in found if one.wall)
    if refused:
        answer = f"over {pairs} pairs of runs; not {name_some(refused)} ({HOW_TO_MEASURE})"
    elif pairs:
        answer = f"over {pairs} pairs of equal seed and hardware, each run alone on its host"
    else:
        answer = "no two runs of equal seed and batch size have times to compare"
    return Check(
        question="Can wall clock be compared?",
        level=Level.GOOD if pairs and not refused and not mixed else Level.CAUTION,
        answer=printable("; ".join([answer, *([quoted(mixed)] if mixed else [])])),
        runs=runs_of(mixed),
    )


def multiplicity(review: Review) -> Check:
    """Whether the number of comparisons is declared, and p values are adjusted for it."""
    question = "Is it accounted for that many comparisons are made?"
    if not review.answers:
        return Check(question=question, level=Level.CAUTION, answer=_NOTHING)
    family = review.answers[0].family
    refused = [one for one in review.answers if one.compared is None]
    text = "one comparison is declared: there is nothing to adjust"
    if family > 1:
        text = f"{family} comparisons are declared, and p values adjusted for all of them by Holm"
    if refused:
        which = name_some([f"{one.a.name}: {one.refused}" for one in refused])
        text = f"{text}; {len(refused)} could not be made: {which}"
    level = Level.CAUTION if refused else Level.GOOD
    return Check(question=question, level=level, answer=printable(text))


def enough_seeds(review: Review) -> Check:
    """Whether so many seeds can show anything, and how many would show what is undecided."""
    question, made = "Are there enough seeds?", [one for one in review.answers if one.compared]
    if not made:
        return Check(question=question, level=Level.CAUTION, answer=_NOTHING)
    few = [one for one in made if one.smallest_p > ALPHA]
    undecided = [one for one in made if one.claim is Claim.UNDECIDED and one not in few]
    parts = [
        *_few(few, len(made)),
        *_undecided(undecided, len(made)),
    ] or [f"{_all(len(made))} what was asked ({_runs(made)})"]
    return Check(
        question=question,
        level=Level.BAD if few else Level.CAUTION if undecided else Level.GOOD,
        answer=printable("; ".join(parts)),
    )


def _all(count: int) -> str:
    return f"each of {count} comparisons shows" if count > 1 else "the one comparison shows"


def _some(number: int, count: int, verb: str) -> str:
    """`2 of 3 comparisons are`, `1 of 3 comparisons is`, `the one comparison is`."""
    which = f"{number} of {count} comparisons" if count > 1 else "the one comparison"
    return f"{which} {verb}"


def _few(few: list[Answer], count: int) -> Iterator[str]:
    if few:
        smallest = min(one.smallest_p for one in few)
        pairs = resolution(1, few[0].family).pairs_needed
        yield (
            f"{_some(len(few), count, 'can show nothing')} ({_runs(few)}): the smallest p of so few runs"
            f" is {smallest:.2g}{_declared(few[0].family)}; {pairs} pairs of seeds can"
        )


def _declared(family: int) -> str:
    return f" by Holm among {family} declared" if family > 1 else ""


def _undecided(undecided: list[Answer], count: int) -> Iterator[str]:
    """How many seeds would decide, at the margin where one was declared."""
    if undecided:
        needed = [one.compared.needed for one in undecided if one.compared]
        seeds = [one.margin or one.observed for one in needed]
        known = [number for number in seeds if number is not None]
        power = ""
        if known:
            low, high = min(known), max(known)
            power = f"; {low} to {high}" if high > low else f"; {low}"
            power += " seeds per optimizer would give a power of 80 %"
            power += " at the margin" if needed[0].margin else " for differences as observed"
        verb = "are undecided" if len(undecided) > 1 else "is undecided"
        yield f"{_some(len(undecided), count, verb)} ({_runs(undecided)}){power}"


def _runs(made: list[Answer]) -> str:
    """`n=3`, `n=3 to 9`: the runs of an arm."""
    return spell_counts([n for one in made if one.compared for n in one.compared.comparison.n])
