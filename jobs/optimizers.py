"""The optimizers by name: the class behind it, what it pins, the tuned step sizes; and `build`.

Nothing here imports torch until `build` is called, so a login node can read the names.
The tuned values are the DeepOBS baselines (20-point grids, best final validation accuracy).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jobs.importing import load_class
from jobs.sweep import Run, Value

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class OptimizerInfo:
    """What the spec must know of a named optimizer."""

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
)

OPTIMIZERS: dict[str, OptimizerInfo] = {info.name: info for info in _ALL}
"""Short names; any other optimizer is named by its dotted path."""


def build(run: Run, parameters: "Iterable[torch.nn.Parameter]") -> "torch.optim.Optimizer":
    """The run's optimizer over `parameters`.

    Raises:
        ImportError: the module or the class is not there.
        TypeError, ValueError: the class refuses the hyperparameters.
    """
    return load_class(run.optimizer)(parameters, **dict(run.hyperparameters))  # type: ignore[no-any-return]  # a class known only by its name
