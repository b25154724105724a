"""The optimizer of the thesis as its program of 2019 behaved, slips included: to replay its records.

Use `probprec.Preconditioner` for anything else. Where this one departs from de Roos & Hennig (2019),
Sec. 2.4, and what that does:

- The prior mean is alpha in `Y - alpha S` (at first 1), 1/alpha elsewhere: all of a direction's curvature
  counts as news, instead of what exceeds b0.
- M has the norms before normalisation in its diagonal, those after it beside it: it shrinks nothing;
  curvatures come out up to thousands of times too large, of either sign.
- A product is that of the whole Hessian with the directions of all tensors, which are not normalised
  before: each tensor's curvature is mixed with that of the tensors with larger directions.
- P has Sigma^-1/2, not b0 Sigma^-1: a direction of curvature b0 is slowed down by sqrt(alpha), so that P
  removes its directions rather than rescaling them.
- lambda0 is `|sum g'g - |sum g|^2| / n`, without a root: the noise cancels, the signal stays.
- The first column is the mean of the prior's products, each with its own gradient: no observation.
- alpha is biased low by the noise of the products, and drives the curvature up and itself down.
- The inner matrix of the inversion lemma is transposed: other directions from the third on.
- `lr` is not used, unless `semantics` says so.
- alpha may be negative or not a number: the weights then ascend, or the run diverges.
- A restart makes a new inner optimizer: momentum and Adam's averages are lost.
- A restart is one in the middle of an estimate, too: epochs of fewer than n + m minibatches never update.
- Weight decay is in the prior's gradients and all products, not in the posterior's gradients; the inner
  optimizer adds it after P.
- A group's alpha is that of its part of the whole Hessian's product: groups see each other.
- The rank is less than a tensor's size: a tensor of two elements has one direction at most.

Not replayed is what changed no result: the SVD by ARPACK on the CPU, the graph kept in every step, and
that no state could be saved. Where SciPy failed, a tensor of one element is left alone, and a direction
of zero passed over; what is not finite raises here, too.
"""

import warnings
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from probprec.hessian import (
    check_gradients,
    flat_gradients,
    hessian_vector_product,
    release_graph,
)
from probprec.thesis_curvature import GroupCurvature
from probprec.wrapper import WrappingOptimizer, check_count, check_number

Semantics = Literal["final", "2019-08-08"]

_SETTINGS = ("est_rank", "num_observations", "prior_iterations", "semantics")
_PROGRESS = ("hvp_count", "_position", "_lr_holds")


class Preconditioner(WrappingOptimizer):
    """Estimate step size and curvature in the first minibatches after each restart, then precondition.

    n = `prior_iterations` minibatches set the prior, m - 1 = `num_observations` - 1 more give a column
    of the posterior each, without an update. Compute gradients with `backward(loss)`.

    Args:
        params: tensors or parameter groups.
        est_rank: k, the directions per tensor that are preconditioned.
        num_observations: m, the columns of the posterior.
        prior_iterations: n, the minibatches that the prior is estimated from.
        weight_decay: factor of an L2 penalty.
        lr: the step size until the first restart, with the semantics of 2019-08-08; not used otherwise.
        optim_class: the inner optimizer, a class or its dotted path.
        semantics: "final", that of experiments 1 to 3; "2019-08-08", that of experiment 4, where `lr`
            holds until the first restart, n + m minibatches make no update, one more than at last, and
            there is one parameter group.
        optim_hyperparams: the inner optimizer's other hyperparameters.

    Raises:
        ValueError, TypeError: a hyperparameter is not valid, here or for the inner optimizer.
    """

    _learns_curvature = True
    _preconditions = True
    _sets_step_size = True

    def __init__(
        self,
        params: ParamsT,
        est_rank: int = 2,
        num_observations: int = 5,
        prior_iterations: int = 10,
        weight_decay: float = 0,
        lr: float | None = None,
        optim_class: type[Optimizer] | str = torch.optim.SGD,
        semantics: Semantics = "final",
        **optim_hyperparams: Any,
    ) -> None:
        check_count("est_rank", est_rank, 1)
        check_count("num_observations", num_observations, 1)
        check_count("prior_iterations", prior_iterations, 1)
        if semantics not in get_args(Semantics):
            known = " or ".join(get_args(Semantics))
            raise ValueError(f"Invalid semantics: {semantics!r} (must be {known})")
        self.est_rank = est_rank
        self.num_observations = num_observations
        self.prior_iterations = prior_iterations
        self.semantics = semantics
        self.hvp_count = 0
        """Hessian-vector products so far."""
        self._position = 0  # steps since the last restart
        self._lr_holds = semantics == "2019-08-08" and lr is not None
        self._curvatures: list[GroupCurvature] = []
        super().__init__(params, optim_class, lr, weight_decay, optim_hyperparams)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, and estimate anew."""
        if self._curvatures and self.semantics == "2019-08-08":
            raise ValueError("semantics 2019-08-08: there is one step size, so one parameter group")
        super().add_param_group(param_group)
        self._curvatures.append(GroupCurvature())
        self._restart()

    def state_dict(self) -> dict[str, Any]:
        """The state of both optimizers in any phase: tensors, numbers, strings, lists and dicts."""
        state = super().state_dict()
        state["estimate"] = {name: getattr(self, name) for name in _SETTINGS + _PROGRESS}
        state["estimate"]["groups"] = [group.state_dict() for group in self._curvatures]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where `state_dict()` was called; its hyperparameters replace the constructor's."""
        if "estimate" not in state_dict:
            raise ValueError("Invalid state_dict: without 'estimate' (no Preconditioner made it)")
        super().load_state_dict(state_dict)
        saved = state_dict["estimate"]
        for name in _SETTINGS + _PROGRESS:
            setattr(self, name, saved[name])
        self._curvatures = [
            GroupCurvature.from_state_dict(state, group["params"])
            for group, state in zip(self.param_groups, saved["groups"], strict=True)
        ]

    @property
    def estimating(self) -> bool:
        """Whether the next `step()` needs gradients with a graph."""
        columns = self.num_observations - 1 if self._learns_curvature else 0
        return self._position < self.prior_iterations + columns

    @property
    def _held(self) -> int:
        """The minibatches without an update."""
        held = self.prior_iterations + self.num_observations - 1
        return held + (self.semantics == "2019-08-08")

    def backward(self, loss: Tensor) -> None:
        """`loss.backward()`, with a graph of the gradients exactly when the next step needs one."""
        with warnings.catch_warnings():
            # step() breaks the reference cycle that torch warns of
            warnings.filterwarnings(
                "ignore", "Using backward.. with create_graph=True", UserWarning
            )
            torch.autograd.backward(loss, create_graph=self.estimating)

    def start_estimate(self) -> None:
        """Estimate anew, from the next minibatch on, also in the middle of an estimate."""
        self._lr_holds = False
        self._restart()

    def _restart(self) -> None:
        self._position = 0
        self._curvatures = [GroupCurvature() for _ in self._curvatures]

    def get_log(self) -> dict[str, Any]:
        """Plain numbers, for a record; lists with one entry per group, None or empty if not yet known."""
        return {
            "steps_since_start": self._position,
            "estimating": self.estimating,
            "hvp_count": self.hvp_count,
            "lr": [float(group["lr"]) for group in self.param_groups],
            "alpha": [group.alpha or None for group in self._curvatures],
            "w0": [group.w0 or None for group in self._curvatures],
            "lambda0": [group.lambda0 or None for group in self._curvatures],
            "curvatures": [list(group.curvatures) for group in self._curvatures],
        }

    @torch.no_grad()
    def step(  # type: ignore[override]  # one signature for the two overloads of the base class
        self, closure: Callable[[], float] | None = None
    ) -> float | None:
        """Learn from the gradients while the weights are held; otherwise precondition and update.

        A `closure` evaluates the model again, calls `optimizer.backward(loss)` and returns the loss.

        Raises:
            FloatingPointError: a direction or its curvature is not finite.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        check_gradients(self._params(), need_graph=self.estimating)
        if self._position < self._held:
            self._learn()
        else:
            for group, curvature in self._groups():
                if self._preconditions:
                    curvature.precondition(group["params"])
                self._decay(group)
            self._inner.step()
        self._position += 1
        return loss

    def _params(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def _groups(self) -> list[tuple[dict[str, Any], GroupCurvature]]:
        return list(zip(self.param_groups, self._curvatures, strict=True))

    def _learn(self) -> None:
        """Use one minibatch's gradients and their graph; then let go of the graph."""
        n, m, i = self.prior_iterations, self.num_observations, self._position
        if i < n:
            self._gather()
        elif self.estimating:
            self._observe()
        if i == n - 1:
            for curvature in self._curvatures:
                curvature.set_prior(n)
                if self._learns_curvature:
                    curvature.set_first_column(n, m)
        if i == n + m - 2:
            self._finish()
        release_graph(self._params())

    def _multiply(self, vectors: list[list[Tensor]]) -> list[list[Tensor]]:
        """`H v` with the whole Hessian of this minibatch, shape [N] per tensor, by group."""
        self.hvp_count += 1
        flat = [v for group in vectors for v in group]
        products = iter(hessian_vector_product(self._params(), flat, 0.0, retain_graph=False))
        return [
            [next(products).add(v, alpha=group["l2"]) for v in of_group]
            for group, of_group in zip(self.param_groups, vectors, strict=True)
        ]

    def _gather(self) -> None:
        """Prior phase: take one minibatch's gradients s and products Bs into account."""
        s = [flat_gradients(group["params"], group["l2"]) for group in self.param_groups]
        for curvature, s_l, Bs in zip(self._curvatures, s, self._multiply(s), strict=True):
            curvature.gather(s_l, Bs)

    def _observe(self) -> None:
        """Posterior phase: one product more, along the estimated Newton direction."""
        s = [
            curvature.next_direction(flat_gradients(group["params"], 0.0))
            for group, curvature in self._groups()
        ]
        for curvature, s_l, y in zip(self._curvatures, s, self._multiply(s), strict=True):
            curvature.observe(s_l, y)

    def _finish(self) -> None:
        """End of the estimate: directions, step size, and an inner optimizer that remembers nothing."""
        for group, curvature in self._groups():
            if self._learns_curvature:
                curvature.set_directions(group["params"], self.est_rank)
            if self._sets_step_size and not self._lr_holds:
                group["lr"] = curvature.alpha
        self.state.clear()


class PreconditionedSGD(Preconditioner):
    """The whole method around SGD."""


class AdaptiveSGD(PreconditionedSGD):
    """The step size without P, which is nevertheless estimated and paid for."""

    _preconditions = False


class OnlyAdaptiveSGD(AdaptiveSGD):
    """The step size alone; the posterior's minibatches make no update all the same."""

    _learns_curvature = False


class PreconditionedTunedSGD(PreconditionedSGD):
    """P with a constant step size `lr`; other arguments are those of `Preconditioner`."""

    _sets_step_size = False

    def __init__(self, params: ParamsT, lr: float, **hyperparams: Any) -> None:
        check_number("lr", lr)
        super().__init__(params, lr=lr, **hyperparams)


class PreconditionedTunedMomentum(PreconditionedTunedSGD):
    """As `PreconditionedTunedSGD`, with momentum, which each restart sets back to zero."""

    def __init__(
        self, params: ParamsT, lr: float, momentum: float = 0.9, **hyperparams: Any
    ) -> None:
        super().__init__(params, lr, momentum=momentum, **hyperparams)
