"""The preconditioner's variants, each with one part knocked out (thesis, Table 4.1)."""

from typing import Any

import torch
from torch.optim.optimizer import ParamsT

from probprec.estimate import GroupEstimate
from probprec.preconditioner import Preconditioner
from probprec.wrapper import check_number


class PreconditionedSGD(Preconditioner):
    """The whole method around SGD: estimated step size and preconditioner, re-estimated on restart.

    Args are those of `Preconditioner`; the others (momentum, ...) go to `torch.optim.SGD`.
    """

    def __init__(
        self,
        params: ParamsT,
        est_rank: int = 2,
        num_observations: int = 5,
        prior_iterations: int = 10,
        weight_decay: float = 0,
        lr: float | None = None,
        **optim_hyperparams: Any,
    ) -> None:
        super().__init__(
            params,
            est_rank,
            num_observations,
            prior_iterations,
            weight_decay=weight_decay,
            lr=lr,
            optim_class=torch.optim.SGD,
            **optim_hyperparams,
        )


class AdaptiveSGD(PreconditionedSGD):
    """The estimated step size without the preconditioner, which is nevertheless estimated and paid for."""

    def _precondition(self, group: dict[str, Any], estimate: GroupEstimate) -> None:
        """P = I."""


class OnlyAdaptiveSGD(AdaptiveSGD):
    """The estimated step size alone, at its own cost: no posterior, and no products for it.

    It still holds the weights for as many minibatches as the others, so that it makes exactly the
    updates of `AdaptiveSGD` and the two differ in cost only.
    """

    @property
    def estimating(self) -> bool:
        """Whether the next `step()` needs gradients with a graph: in the prior phase only."""
        return self._position < self.prior_iterations

    def _observe(
        self, group: dict[str, Any], estimate: GroupEstimate, index: int, *, keep_graph: bool
    ) -> None:
        """Learn nothing."""

    def _set_directions(self, group: dict[str, Any], estimate: GroupEstimate) -> None:
        """No directions."""


class PreconditionedTunedSGD(PreconditionedSGD):
    """The preconditioner with a constant step size `lr`, tuned by the user.

    The other arguments are those of `PreconditionedSGD`.
    """

    def __init__(self, params: ParamsT, lr: float, **hyperparams: Any) -> None:
        check_number("lr", lr)
        super().__init__(params, lr=lr, **hyperparams)

    def _set_step_size(self, group: dict[str, Any], estimate: GroupEstimate) -> None:
        """The step size stays as it is."""


class PreconditionedTunedMomentum(PreconditionedTunedSGD):
    """As `PreconditionedTunedSGD`, with momentum, which survives restarts."""

    def __init__(
        self, params: ParamsT, lr: float, momentum: float = 0.9, **hyperparams: Any
    ) -> None:
        super().__init__(params, lr, momentum=momentum, **hyperparams)
