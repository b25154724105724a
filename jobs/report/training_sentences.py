"""Sentences on what was trained, and on how settings were selected."""

from collections.abc import Iterable, Iterator, Sequence

from jobs.results.cells import name_some, spell_seeds
from jobs.results.selection import Selection
from jobs.results.study import Results
from jobs.results.style import problem_name

_DEEPOBS = frozenset(
    {
        "mnist_logreg",
        "mnist_mlp",
        "mnist_2c2d",
        "fmnist_logreg",
        "fmnist_mlp",
        "fmnist_2c2d",
        "cifar10_3c3d",
        "quadratic_deep",
    }
)
_OF_2019 = "deepobs-2019"


def trained(results: Results) -> Iterator[str]:
    """What was trained on what, how long; what a seed decides; how many runs there are."""
    runs = [one.planned.run for one in results.outcomes]
    what = joined(results.optimizers)
    where = joined([problem_name(problem) for problem in results.problems])
    epochs, batches = _spelled(run.epochs for run in runs), _spelled(run.batch_size for run in runs)
    yield f"We trained {what} on {where} for {epochs} epochs with batch size {batches}."
    theirs = [
        problem_name(one) for one in dict.fromkeys(run.problem for run in runs) if one in _DEEPOBS
    ]
    if theirs:
        verb = "is a test problem" if len(theirs) == 1 else "are test problems"
        yield f"{joined(theirs)} {verb} of DeepOBS (Schneider et al., 2019)."
    probabilistic = {
        one.planned.optimizer
        for one in results.outcomes
        if "probprec." in one.planned.run.optimizer
    }
    if probabilistic:
        verb = "builds" if len(probabilistic) == 1 else "build"
        yield (
            f"{joined(sorted(probabilistic))} {verb} on the probabilistic preconditioner"
            " (de Roos and Hennig, 2019)."
        )
    yield (
        "A run's seed decides its initial weights, validation data and minibatches, whichever the"
        " optimizer: runs of equal seed are pairs. The unit of all statistics is a run."
    )
    if any(run.protocol == _OF_2019 for run in runs):
        yield "Random numbers are those of DeepOBS' own runs of 2019 (Schneider et al., 2019)."
    found = len(results.found)
    lacking = len(runs) - found
    rest = f"; {lacking} have no record, and are in no mean" if lacking else ""
    yield f"Of {len(runs)} planned runs {found} have a record{rest}."


def selected(selections: Sequence[Selection]) -> Iterator[str]:
    """By what each setting was selected, and of which seeds results are."""
    by = [one for one in selections if one.by and one.cell is not None]
    if not by:
        yield "Each optimizer has one setting per problem: nothing was selected."
        return
    yield "On each problem one setting stands for an optimizer."
    rules = dict.fromkeys((_rule(one.by), spell_seeds(one.seeds)) for one in by)
    counts = _spelled(one.settings for one in by)
    which = ", or by ".join(f"{rule} on {seeds}" for rule, seeds in rules)
    yield (
        f"Of {counts} settings it was selected by {which}. A setting of which more runs diverged"
        " there comes after one of which fewer did. Test data selected nothing."
    )
    apart = [one for one in by if one.is_reported_on_others]
    same = [one for one in by if not one.is_reported_on_others]
    if apart:
        seeds = dict.fromkeys(
            spell_seeds(run.run.seed for run in one.cell.planned) for one in apart if one.cell
        )
        yield f"The selected settings are reported on other seeds than selected them ({joined(list(seeds))})."
    if same:
        which = "All" if not apart else name_some([one.name for one in same])
        yield f"{which} were selected and are reported on the same seeds, which makes them look better."
    if len(by) < len(selections):
        only = [one.name for one in selections if one.cell is not None and not one.by]
        if only:
            yield f"Only one setting was tried of {name_some(only)}."


def joined(names: Sequence[str]) -> str:
    """`A`, `A and B`, `A, B and C`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _rule(by: str) -> str:
    """The rule as DeepOBS names it: `final`, `best`, `most`."""
    mode = by.partition(" ")[0]
    if mode not in ("final", "best"):
        return 'the number of its runs ("most" of DeepOBS; Schneider et al., 2019)'
    return f'the mean {by} ("{mode}" of DeepOBS; Schneider et al., 2019)'


def _spelled(numbers: Iterable[int]) -> str:
    return " or ".join(map(str, sorted(set(numbers)))) or "no"
