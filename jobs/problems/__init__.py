"""The test problems: model, data, loss and initial weights of each; trainings and the spec enter."""

from pathlib import Path
from typing import TYPE_CHECKING

from jobs.errors import InputError
from jobs.importing import load_class
from jobs.problems.catalog import PROBLEMS
from jobs.sweep import Run

if TYPE_CHECKING:
    import torch

    from jobs.problems.problem import Problem


def build(run: Run, *, data: Path | None, device: "torch.device") -> "Problem":
    """The problem of `run`: one of the catalog, or an own class by its dotted path.

    The folder `data` is searched for data sets before all others.

    Raises:
        DataError: files are missing, torn or foreign.
        ImportError: there is no such class.
        InputError: the class is no `Problem`, lacks an attribute of problems, or does not offer
            the run's protocol, init or batch size.
    """
    from jobs.problems import checked
    from jobs.problems.images import Cifar10, Digits, ImageProblem
    from jobs.problems.problem import Problem
    from jobs.problems.quadratic import QuadraticDeep
    from jobs.problems.text_gpt import TextGpt

    info = PROBLEMS.get(run.problem)
    if info is None:
        found = load_class(run.problem)
        if not issubclass(found, Problem):
            raise InputError(f"{run.problem} is not a jobs.problems.problem.Problem")
        own: Problem = found(run, data=data, device=device)
        checked.check(own)
        return own
    if run.init not in info.inits:
        raise InputError(f"{run.problem} has no init {run.init!r}; it has {', '.join(info.inits)}")
    classes: dict[str | None, type[Problem]] = {
        "digits": Digits,
        "cifar10": Cifar10,
        "jargon": TextGpt,
        None: QuadraticDeep,
    }
    return classes.get(info.dataset, ImageProblem)(run, data=data, device=device)
