"""Of the runs a reviewer asks: are all there, each counted once; did some diverge, or learn nothing?"""

from jobs.report.content import Check, Level
from jobs.report.review import Review, quoted, runs_of, worst
from jobs.results.cells import name_some
from jobs.results.reading import Unsettled
from jobs.text import printable

_ON_FILES = {
    "conflict": Level.BAD,
    "misplaced": Level.CAUTION,
    "stranger": Level.CAUTION,
    "set_aside": Level.CAUTION,  # was it sent again because its result was not liked?
    "extra_runs": Level.CAUTION,
    "told_apart": Level.CAUTION,
    "shared_runs": Level.GOOD,
    "duplicate": Level.GOOD,
    "leftover": Level.GOOD,
}


def complete(review: Review) -> Check:
    """Whether each planned run has a record; worst is what the selected settings lack."""
    outcomes = review.results.outcomes
    lacking = [one for one in outcomes if isinstance(one, Unsettled)]
    more = review.about("unreadable", "undecided", "incomplete")
    failed = sum(one.is_failed for one in lacking)
    counts = {"failed": failed, "missing": len(lacking) - failed}
    parts = [f"{len(outcomes) - len(lacking)} of {len(outcomes)} runs have a record"]
    parts += [f"{count} {what}" for what, count in counts.items() if count]
    parts += [quoted(more)] if more else []
    shown = {
        one.planned.run.id for sel in review.selected if sel.cell for one in sel.cell.unsettled
    }
    is_bad = bool(shown) or any(one.forbids for one in more) or not len(outcomes) > len(lacking)
    is_whole = not lacking and not more
    return Check(
        question="Does every planned run have a record?",
        level=Level.GOOD if is_whole else Level.BAD if is_bad else Level.CAUTION,
        answer=printable("; ".join(parts)),
        runs=tuple(one.planned.run.id for one in lacking),
    )


def counted_once(review: Review) -> Check:
    """Whether nothing in the folders but each run's own record decides a number."""
    count = len(review.results.found)
    return review.judge(
        "Is each run counted once, and no other run?",
        _ON_FILES,
        f"{count} records, each its run's own; no copy, no other run in the folders",
    )


def diverged(review: Review) -> Check:
    """Whether runs of the selected settings diverged."""
    cells = [one.cell for one in review.selected if one.cell is not None]
    total = sum(len(cell.results) for cell in cells)
    bad = [one.planned.run.id for cell in cells for one in cell.diverged]
    everywhere = sum(one.diverged for one in review.results.found)
    parts = [f"{len(bad)} of {total} runs of the selected settings diverged"]
    if not total:
        parts = ["no run of a selected setting has a record"]
    if bad:
        which = [
            f"{cell.problem} {cell.optimizer} {len(cell.diverged)} of {len(cell.results)}"
            for cell in cells
            if cell.diverged
        ]
        parts += [name_some(which), "each counts as worse than any that did not"]
    if everywhere > len(bad):
        parts.append(f"{everywhere} of all {len(review.results.found)} runs did")
    return Check(
        question="Did no run diverge?",
        level=Level.CAUTION if bad or not total else Level.GOOD,
        answer=printable("; ".join(parts)),
        runs=tuple(bad),
    )


def learned(review: Review) -> Check:
    """Whether each run that completed is better than an untrained one; worst are selected ones."""
    found = review.about("collapsed", "exploded")
    cells = [one.cell for one in review.selected if one.cell is not None]
    selected = {one.planned.run.id for cell in cells for one in cell.results}
    levels = (Level.BAD if selected & set(one.runs) else Level.CAUTION for one in found)
    completed = sum(not one.diverged for one in review.results.found)
    return Check(
        question="Did every run that completed learn something?",
        level=worst(levels) if completed else Level.CAUTION,
        answer=quoted(found)
        if found
        else f"none of {completed} completed runs ended no better than untrained, or exploded",
        runs=runs_of(found),
    )
