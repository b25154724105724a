"""The optimizers by name: class, pinned hyperparameters, tuned step sizes; and `build`.

Nothing here imports torch until `build` is called, so a login node can read the names.
The tuned values are the DeepOBS baselines (20-point grids, best final validation accuracy).
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from jobs.canonical import Value
from jobs.errors import InputError
from jobs.importing import load_class
from jobs.regime.placeholders import Numbers, all_resolved
from jobs.regime.settings import Settings
from jobs.regime.values import CLASS
from jobs.snapshot import PACKAGES
from jobs.sweep import Run

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class OptimizerInfo:
    """A named optimizer, as a spec refers to it."""

    name: str
    path: str  # dotted path of its class
    pinned: Mapping[str, Value] = field(default_factory=dict)  # set unless the spec says otherwise
    tuned: Mapping[str, float] = field(default_factory=dict)  # problem -> baseline step size


_SGD = {
    "fmnist_2c2d": 0.11288378916846883,
    "cifar10_3c3d": 0.04832930238571752,
    "mnist_logreg": 0.11288378916846883,
}
_MOMENTUM = {
    "fmnist_2c2d": 0.02069138081114788,
    "cifar10_3c3d": 0.00379269019073225,
    "mnist_logreg": 0.02069138081114788,
}
_ADAM = {
    "fmnist_2c2d": 0.00012742749857031334,
    "cifar10_3c3d": 0.00029763514416313193,
    "mnist_logreg": 0.00029763514416313193,
}

_ALL = (
    OptimizerInfo(name="SGD", path="torch.optim.SGD", tuned=_SGD),
    OptimizerInfo(
        name="Momentum", path="torch.optim.SGD", pinned={"momentum": 0.9}, tuned=_MOMENTUM
    ),
    OptimizerInfo(
        name="Nesterov",
        path="torch.optim.SGD",
        pinned={"momentum": 0.9, "nesterov": True},
        tuned=_MOMENTUM,
    ),
    OptimizerInfo(name="Adam", path="torch.optim.Adam", tuned=_ADAM),
    OptimizerInfo(name="AdamW", path="torch.optim.AdamW"),
    OptimizerInfo(name="Preconditioner", path="probprec.Preconditioner"),
    OptimizerInfo(name="PreconditionedSGD", path="probprec.PreconditionedSGD"),
    OptimizerInfo(name="AdaptiveSGD", path="probprec.AdaptiveSGD"),
    OptimizerInfo(name="OnlyAdaptiveSGD", path="probprec.OnlyAdaptiveSGD"),
    OptimizerInfo(
        name="PreconditionedTunedSGD", path="probprec.PreconditionedTunedSGD", tuned=_SGD
    ),
    OptimizerInfo(
        name="PreconditionedTunedMomentum",
        path="probprec.PreconditionedTunedMomentum",
        tuned=_MOMENTUM,
    ),
    OptimizerInfo(name="ThesisPreconditionedSGD", path="probprec.thesis.PreconditionedSGD"),
    OptimizerInfo(name="ThesisAdaptiveSGD", path="probprec.thesis.AdaptiveSGD"),
    OptimizerInfo(name="ThesisOnlyAdaptiveSGD", path="probprec.thesis.OnlyAdaptiveSGD"),
    OptimizerInfo(
        name="ThesisPreconditionedTunedSGD",
        path="probprec.thesis.PreconditionedTunedSGD",
        tuned=_SGD,
    ),
    OptimizerInfo(
        name="ThesisPreconditionedTunedMomentum",
        path="probprec.thesis.PreconditionedTunedMomentum",
        tuned=_MOMENTUM,
    ),
)

OPTIMIZERS: dict[str, OptimizerInfo] = {info.name: info for info in _ALL}
"""Short names; any other optimizer is named by its dotted path."""


def classes(run: Run) -> Iterator[tuple[str, str]]:
    """Setting and dotted path of each class that a run names; the optimizer's setting is ""."""
    yield "", run.optimizer
    for name, value in (*run.hyperparameters.items(), *run.regime.items()):
        yield from ((name, path) for path in _classes_in(value))


def _classes_in(value: Value) -> Iterator[str]:
    if isinstance(value, Mapping):
        if CLASS in value:
            yield str(value[CLASS])
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _classes_in(one)


def build(run: Run, model: "torch.nn.Module", numbers: Numbers) -> "torch.optim.Optimizer":
    """The run's optimizer over the model's parameters, with its groups if it has some.

    Args:
        run: Has the optimizer's class, hyperparameters and groups.
        model: The model whose parameters are optimized.
        numbers: The values that `${name}` in a hyperparameter may refer to.

    Raises:
        ImportError: a module or a class does not exist.
        InputError: the groups do not fit the model.
        TypeError, ValueError: a class refuses the hyperparameters.
    """
    settings = Settings.from_json(run.regime)
    values = all_resolved(run.hyperparameters, numbers)
    make = partial(_make, run.optimizer)
    if not settings.groups:
        return make(_parameters(load_class(run.optimizer), model), values)
    from jobs.regime import groups

    given = [
        replace(group, hyperparameters=all_resolved(group.hyperparameters, numbers))
        for group in settings.groups
    ]
    for path in (run.optimizer, *(group.path for group in given if group.path)):
        if (asked := _asked(load_class(path))) != "parameters":
            raise InputError(
                f"groups: {path} asks for {asked} in the place of parameters, and so takes no groups"
            )
    return groups.build(make, lambda path: partial(_make, path), values, given, model)


def _parameters(kind: type, model: "torch.nn.Module") -> Any:
    """The class's first argument: parameters, named parameters, or the model, as it asks."""
    asked = _asked(kind)
    if asked == "names":
        return list(model.named_parameters())
    return model if asked == "the model" else model.parameters()


def _asked(kind: type) -> Literal["names", "the model", "parameters"]:
    first = next(iter(inspect.signature(kind).parameters), "")
    if "named" in first:
        return "names"
    return "the model" if "model" in first else "parameters"


def _make(
    path: str, parameters: Any, hyperparameters: Mapping[str, Any]
) -> "torch.optim.Optimizer":
    """An optimizer of the class at `path`; a wrapping class gets the optimizer that it wraps."""
    kind = load_class(path)
    values = {name: _resolved(value) for name, value in hyperparameters.items()}
    classes = [name for name, value in values.items() if callable(value)]
    if classes and (first := next(iter(inspect.signature(kind).parameters), "")) in classes:
        wrapped = values.pop(first)
        return kind(wrapped(parameters), **values)  # type: ignore[no-any-return]  # as below
    return kind(parameters, **values)  # type: ignore[no-any-return]  # a class known only by its name


def _resolved(value: Value) -> Any:
    """A hyperparameter as the class takes it: a class with settings becomes a partial."""
    if not isinstance(value, dict) or CLASS not in value:
        return value
    settings = {name: found for name, found in value.items() if name != CLASS}
    kind = load_class(str(value[CLASS]))
    return partial(kind, **settings) if settings else kind


def uses_own_code(runs: Sequence[Run]) -> bool:
    """Whether any run uses a class that belongs neither to torch nor to this toolkit."""
    roots = {path.replace(":", ".").partition(".")[0] for run in runs for path in _paths(run)}
    return bool(roots - {"torch", *PACKAGES})


def _paths(run: Run) -> Iterator[str]:
    yield from (path for _, path in classes(run))
    if "." in run.problem or ":" in run.problem:  # else it is a name of the catalog
        yield run.problem
