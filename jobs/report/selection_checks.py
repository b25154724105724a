"""Of the settings a reviewer asks: equal seeds, equal tuning, chosen by validation, not at an edge?"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from jobs.report.content import Check, Level
from jobs.report.review import Review, runs_of
from jobs.results.cells import Cell, name_some, spell_seeds
from jobs.results.selection import Selection
from jobs.text import printable

_SELECTED = {
    "nothing_selected": Level.BAD,
    "undecided": Level.BAD,
    "vanished_records": Level.BAD,
    "same_seeds": Level.CAUTION,
}


def equal_seeds(review: Review) -> Check:
    """Whether the selected settings of a problem have records of the same seeds."""
    by_problem = _seeds(review.selected)
    unequal = {problem: own for problem, own in by_problem.items() if len(set(own.values())) > 1}
    seeds = [own for of_problem in by_problem.values() for own in of_problem.values()] or [()]
    parts = list(_spelled(by_problem, unequal))
    if unequal:
        parts.append(_paired(review, unequal))
    elif review.about("unequal_seeds"):
        parts.append("other settings have other seeds, and are selected on those that all have")
    return Check(
        question="Do all optimizers have the same seeds?",
        level=Level.CAUTION if unequal or not all(seeds) else Level.GOOD,
        answer=printable("; ".join(parts)),
        runs=runs_of(review.about("unequal_seeds")) if unequal else (),
    )


def equal_budgets(review: Review) -> Check:
    """Whether all optimizers of a problem had as many settings and runs to be tuned with."""
    question, own = "Was every optimizer tuned as much as the others?", review.results.selections
    if all(one.settings == 1 for one in own) and not review.about("unequal_budgets"):
        text = (
            "no setting was tuned here, each optimizer has one; where they come from is not known"
        )
        return Check(question=question, level=Level.CAUTION, answer=text)
    spent = dict.fromkeys(f"{one.settings} settings ({one.runs} runs)" for one in own)
    text = f"{name_some(list(spent))} per optimizer, the same for all of a problem"
    return review.judge(question, {"unequal_budgets": Level.CAUTION}, text)


def selected_apart(review: Review) -> Check:
    """Whether validation data selected each setting, on other seeds than are reported."""
    question = "Was each setting selected by validation data, and reported on other seeds?"
    by = [one for one in review.selected if one.by]
    odd = [one for one in by if "valid" not in one.by]
    if odd and not review.about(*_SELECTED):
        which = name_some([f"{one.name} by {one.by}" for one in odd])
        answer = printable(f"not by validation data: {which}")
        return Check(question=question, level=Level.CAUTION, answer=answer, runs=_runs(odd))
    if not by and not review.about(*_SELECTED):
        answer = "nothing was selected here, each optimizer has one setting; by what is not known"
        return Check(question=question, level=Level.CAUTION, answer=answer)
    text = "nothing was selected"
    if by:
        names = [
            f"by {one.by} on {spell_seeds(one.seeds)}, reported on"
            f" {spell_seeds(run.run.seed for run in one.cell.planned)}"
            for one in by
            if one.cell is not None
        ]
        text = name_some(list(dict.fromkeys(names)))
    return review.judge(question, _SELECTED, text)


def inside_the_grid(review: Review) -> Check:
    """Whether settings beyond those that were tried could be better."""
    question = "Are the selected settings inside of what was tried, not at its edge?"
    tried = [one for one in review.selected if one.settings > 1]
    if not tried and not review.about("grid_edge"):
        answer = "no other setting was tried here: whether one is better is not known"
        return Check(question=question, level=Level.CAUTION, answer=answer)
    number = len(tried)
    which = (
        f"none of {number} selected settings is" if number > 1 else "the selected setting is not"
    )
    return review.judge(
        question, {"grid_edge": Level.CAUTION}, f"{which} the smallest or largest of its axis"
    )


def _paired(review: Review, problems: Collection[str]) -> str:
    """How runs of unequal seeds are compared: planned alike, those that both have are pairs."""
    made = [one.compared for one in review.answers if one.compared and one.problem in problems]
    kinds = {one.comparison.paired for one in made}
    if kinds == {True}:
        return "only seeds that both have are compared, as pairs"
    return (
        "so these runs are no pairs" if True not in kinds else "so some of these runs are no pairs"
    )


def _seeds(selected: Sequence[Selection]) -> Mapping[str, Mapping[str, tuple[int, ...]]]:
    """By problem, of each optimizer the seeds that have a record."""
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for one in selected:
        if one.cell is not None:
            found.setdefault(one.problem, {})[one.optimizer] = _recorded(one.cell)
    return found


def _recorded(cell: Cell) -> tuple[int, ...]:
    return tuple(sorted(one.planned.run.seed for one in cell.results))


def _spelled(
    by_problem: Mapping[str, Mapping[str, tuple[int, ...]]],
    unequal: Mapping[str, Mapping[str, tuple[int, ...]]],
) -> Iterator[str]:
    for problem, own in unequal.items():
        which = [f"{_words(seeds)} of {name}" for name, seeds in own.items()]
        yield f"{problem}: {', '.join(which)}"
    equal = {problem: own for problem, own in by_problem.items() if problem not in unequal}
    spelled = {problem: _words(next(iter(own.values()))) for problem, own in equal.items()}
    if len(set(spelled.values())) == 1:
        where = "on every problem" if len(equal) > 1 else f"on {next(iter(equal))}"
        yield f"{next(iter(spelled.values()))} of each optimizer {where}"
    elif spelled:
        yield name_some([f"{problem}: {seeds} of each" for problem, seeds in spelled.items()])
    elif not by_problem:
        yield "no optimizer has a selected setting"


def _words(seeds: Sequence[int]) -> str:
    return spell_seeds(seeds) if seeds else "no seed"


def _runs(selections: Sequence[Selection]) -> tuple[str, ...]:
    cells = [one.cell for one in selections if one.cell is not None]
    return tuple(one.planned.run.id for cell in cells for one in cell.results)
