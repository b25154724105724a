"""Sentences on what numbers are, how optimizers were compared, and what figures show."""

from collections.abc import Iterator, Sequence

from jobs.report.training_sentences import joined
from jobs.results import targets
from jobs.results.comparisons import Answer
from jobs.results.profile_figure import profiles_of
from jobs.results.question import Question
from jobs.results.reach_times import solved_by
from jobs.results.selection import baseline_of
from jobs.results.study import Results
from jobs.results.style import problem_name
from jobs.results.times import paces
from jobs.results.tuning_figure import after_trials
from jobs.statistics.claims import Claim
from jobs.statistics.interval import LEVEL
from jobs.statistics.multiplicity import ALPHA
from jobs.statistics.permutation import DRAWS
from jobs.text import spelled


def reported(results: Results, found: Sequence[Answer], question: Question) -> Iterator[str]:
    """What a run's number is, what a mean's interval, and what a divergence counts as."""
    metrics = dict.fromkeys(one.metric.replace("_", " ") for one in found)
    what = " or ".join(metrics) or (question.metric or "test metric").replace("_", " ")
    when = "after its last epoch"
    if question.value == "at_best_valid":
        when = "at the first epoch of its best validation accuracy (or, where there is none, loss)"
    yield f"The result of a run is its {what} {when}."
    yield f"Means have {LEVEL:.0%} intervals of Student's t (Student, 1908); one run has none."
    cells = [one.cell for one in results.selections if one.cell is not None]
    total = sum(len(cell.results) for cell in cells)
    diverged = sum(len(cell.diverged) for cell in cells)
    if not diverged:
        yield f"None of the {total} runs of these settings diverged."
        return
    yield (
        f"Of the {total} runs of these settings {diverged} diverged: their loss ceased to be finite."
        " Such a run is in no mean. By rank it is worse than any that finished, and the later it"
        " diverged the better (worst-rank score; Lachin, 1999)."
    )


def compared(found: Sequence[Answer], question: Question) -> Iterator[str]:
    """The tests, the intervals, and what they are adjusted for."""
    made = [one.compared for one in found if one.compared]
    if not made:
        return
    base, family = found[0].b.optimizer, found[0].family
    count = f"{family} comparisons, one family" if family > 1 else "one comparison"
    yield f"Optimizers were compared with {base}, problem by problem: {count}."
    yield from _intervals(found)
    yield (
        "The probability that a run is better than one of the baseline counts ties half; its interval"
        " is the score interval of Newcombe (method 5; Newcombe, 2006), with Student's quantile."
    )
    yield from _tests(found, question)
    level = f"level {ALPHA:g}"
    if family > 1:
        yield f"All p values are adjusted for the {family} comparisons (Holm, 1979), at {level}."
    else:
        yield f"The {level} is that of the one comparison."
    refused = len(found) - len(made)
    if refused:
        yield f"Of the declared comparisons {refused} could not be made; they count in the family."
    if forbidden := sum(bool(one.forbidden) for one in found):
        yield f"Nothing is claimed of {forbidden} comparisons, whose runs are not comparable."
    if any(one.needed.observed or one.needed.margin for one in made):
        yield "The seeds needed for a power of 80 % are those of the noncentral t distribution."


def _intervals(found: Sequence[Answer]) -> Iterator[str]:
    differences = [
        one.compared.comparison.difference
        for one in found
        if one.compared and one.compared.comparison.difference
    ]
    if any(one.paired for one in differences):
        yield (
            "Where both have the same seeds, the difference of means is that of pairs, with its"
            f" {LEVEL:.0%} t interval (Student, 1908)."
        )
    if any(not one.paired for one in differences):
        yield (
            "Where seeds differ, the difference of means is that of independent runs, with Welch's"
            f" {LEVEL:.0%} interval (Welch, 1947)."
        )
    if any(
        one.compared and any(d.count for d in one.compared.comparison.diverged) for one in found
    ):
        yield "Where a run diverged, there is no difference of means, and tests are of worst ranks."


def _tests(found: Sequence[Answer], question: Question) -> Iterator[str]:
    if question.claim is Claim.EQUIVALENT:
        yield (
            f"Equivalence within {spelled(question.margin)} was tested by two one-sided t tests"
            " (Schuirmann, 1987)."
        )
        return
    if question.claim is Claim.NONINFERIOR:
        yield (
            f"That an optimizer is not worse by {spelled(question.margin)} or more was tested by a"
            " one-sided t test at half of the level (ICH, 1998)."
        )
        return
    tests = [
        (one.compared.comparison.paired, one.compared.comparison.test)
        for one in found
        if one.compared
    ]
    if paired := [test for is_paired, test in tests if is_paired]:
        how = _how(all(one.exact for one in paired))
        yield f"Pairs were tested by flipping the signs of their differences (Fisher, 1935), {how}."
    if apart := [test for is_paired, test in tests if not is_paired]:
        how = _how(all(one.exact for one in apart))
        yield f"Independent runs were tested by permutations of all of them (Pitman, 1937), {how}."


def _how(is_exact: bool) -> str:
    if is_exact:
        return "exact over all arrangements, two-sided"
    return (
        f"two-sided, of many runs over {DRAWS:,} draws of a fixed stream (Phipson and Smyth, 2010)"
    )


def tuned(results: Results) -> Iterator[str]:
    """What a tuning curve is, where there is one."""
    if any(after_trials(one, results.cells) for one in results.selections):
        yield (
            "To compare optimizers at equal budgets of tuning (Sivaprasad et al., 2020), tuning curves"
            " show the test metric of the setting that validation selects after so many trials: the"
            " median over all draws of settings (Dodge et al., 2019), exact and without replacement"
            " (Tang et al., 2020)."
        )


def reached(results: Results) -> Iterator[str]:
    """What time to target is, where problems have targets."""
    cells = [
        one.cell
        for one in results.selections
        if one.problem in results.targets and one.cell is not None and one.cell.results
    ]
    if not cells:
        return
    own = {cell.problem: targets.on(results.targets[cell.problem]) for cell in cells}
    named = [
        f"{problem_name(name)}: {one.metric.replace('_', ' ')} {spelled(one.value)}"
        for name, one in own.items()
    ]
    yield (
        f"Time to target is the first epoch with the target ({joined(named)}). All planned runs"
        " count: one that diverged or ended without it never reaches it."
    )
    if any(solved_by(cell, own[cell.problem]).under_way for cell in cells):
        yield (
            "Runs without a record are censored (Kaplan and Meier, 1958); intervals of shares are"
            " score intervals (Wilson, 1927) of the number of runs that they are worth (Rothman, 1978)."
        )
    else:
        yield "Intervals of shares are score intervals (Wilson, 1927)."


def profiled(results: Results) -> Iterator[str]:
    """What a performance profile is, where there are problems enough."""
    found = profiles_of(results)
    if found is not None:
        yield (
            f"Over {len(found.problems)} problems, performance profiles (Dolan and Moré, 2002) show on"
            " which share of them an optimizer's median time to target is within a multiple of the"
            f" fastest's; they are relative to the set {joined(found.relative_to)}. The score is the area"
            f" under the profile up to {found.taus[-1]:g} times the fastest (Dahl et al., 2023)."
        )


def timed(results: Results) -> Iterator[str]:
    """When times are compared, and how."""
    found = list(paces(results.selections, results.found)) if results.selections else []
    if not found:
        return
    base = baseline_of(results.selections)
    yield (
        f"Times are of training without evaluation, as multiples of those of {base}: geometric means"
        " over pairs of equal seed and batch size, with t intervals of logarithms"
        " (Fleming and Wallace, 1986)."
    )
    pairs = sum(one.wall.pairs for one in found if one.wall)
    rule = "on equal hardware, if no other run was trained on the host at the same time"
    if pairs:
        yield f"Wall clock is compared {rule}: {pairs} pairs. CPU time is of all pairs."
    else:
        yield f"Wall clock would be compared {rule}; no pair is such. CPU time is of all pairs."
