"""The names, defaults and targets of the test problems; imports no torch, so a login node can read it.

DeepOBS' problems have its default epochs and batch sizes, and its `convergence_performance` values
(version 1.1), where it has one, as targets.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from jobs.sweep import Run, Target


@dataclass(frozen=True, kw_only=True)
class ProblemInfo:
    """A problem of the catalog, as a spec refers to it."""

    name: str
    title: str  # for figures
    dataset: str | None  # a name of `jobs.datasets`; None: made from the seed
    epochs: int
    batch_size: int
    inits: tuple[str, ...] = ("deepobs",)  # the first is the default
    target: Target | None = None
    has_accuracy: bool = True


def _accuracy(value: float) -> Target:
    return Target(metric="test_accuracy", value=value)


_ALL = (
    ProblemInfo(name="digits_mlp", title="Digits MLP", dataset="digits", epochs=20, batch_size=32),
    ProblemInfo(
        name="digits_2c2d", title="Digits 2c2d", dataset="digits", epochs=20, batch_size=32
    ),
    ProblemInfo(
        name="mnist_logreg", title="MNIST LogReg", dataset="mnist", epochs=50, batch_size=128
    ),
    ProblemInfo(name="mnist_mlp", title="MNIST MLP", dataset="mnist", epochs=100, batch_size=128),
    ProblemInfo(name="mnist_2c2d", title="MNIST 2c2d", dataset="mnist", epochs=100, batch_size=128),
    ProblemInfo(
        name="fmnist_logreg", title="F-MNIST LogReg", dataset="fmnist", epochs=50, batch_size=128
    ),
    ProblemInfo(
        name="fmnist_mlp", title="F-MNIST MLP", dataset="fmnist", epochs=100, batch_size=128
    ),
    ProblemInfo(
        name="fmnist_2c2d",
        title="F-MNIST 2c2d",
        dataset="fmnist",
        epochs=100,
        batch_size=128,
        target=_accuracy(0.91981),
    ),
    ProblemInfo(
        name="cifar10_3c3d",
        title="CIFAR-10 3c3d",
        dataset="cifar10",
        epochs=100,
        batch_size=128,
        target=_accuracy(0.82833),
    ),
    ProblemInfo(
        name="cifar10_roos",
        title="CIFAR-10 Roos-Hennig",
        dataset="cifar10",
        epochs=5,
        batch_size=128,
        inits=("deepobs", "torch"),
    ),
    ProblemInfo(
        name="cifar10_vit",
        title="CIFAR-10 ViT",
        dataset="cifar10",
        epochs=100,
        batch_size=128,
        inits=("simple_vit",),
    ),
    ProblemInfo(
        name="quadratic_deep",
        title="Quadratic Deep",
        dataset=None,
        epochs=100,
        batch_size=128,
        target=Target(metric="test_loss", value=87.703),
        has_accuracy=False,
    ),
    ProblemInfo(
        name="text_gpt",
        title="Text GPT",
        dataset="jargon",
        epochs=5,
        batch_size=32,
        inits=("gpt2",),
        has_accuracy=False,
    ),
)

PROBLEMS: dict[str, ProblemInfo] = {info.name: info for info in _ALL}


def datasets_of(problems: Iterable[str]) -> set[str]:
    """The names of the data sets that these problems read; an own problem's data is not known."""
    found = {PROBLEMS[name].dataset for name in problems if name in PROBLEMS}
    return {name for name in found if name is not None}


def dataset_of(run: Run) -> str | None:
    """The name of the data set that a run reads; None: no data set, or an own problem's data."""
    info = PROBLEMS.get(run.problem)
    return info.dataset if info is not None else None


def is_own(run: Run) -> bool:
    """Whether the run's problem is a class of the user's, which the catalog does not have."""
    return run.problem not in PROBLEMS
