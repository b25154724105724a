"""The probabilistic preconditioner of de Roos & Hennig (2019), around any torch optimizer."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from probprec.estimate import GroupEstimate
from probprec.hessian import (
    check_gradients,
    flat_gradients,
    hessian_vector_product,
    random_signs,
    release_graph,
)
from probprec.wrapper import WrappingOptimizer, check_count

_SETTINGS = ("est_rank", "num_observations", "prior_iterations")
_PROGRESS = ("hvp_count", "_position", "_watching")


class Preconditioner(WrappingOptimizer):
    """Learn the Hessian from a few minibatches, then precondition an inner optimizer with it.

    An estimate holds the weights still for n + m - 1 minibatches. Then the inner optimizer runs on
    preconditioned gradients, until `start_estimate` is called again (once per epoch, say):

    - *prior*, n = `prior_iterations` gradients s and products Bs: `alpha = sum s'Bs / sum s'BBs` of each
      parameter group (Sec. 2.4), and the prior mean `b0 = 1/alpha`;
    - *posterior*, m = `num_observations` products `y_i = B s_i`: the first along the mean gradient, on
      the last prior minibatch, then `s_{i+1} = -B_i^-1 g_i` (Eq. 16), g_i a new minibatch's gradient;
    - the k <= `est_rank` leading eigenpairs `(U, Sigma)` of the posterior mean, those surely above b0;
    - steps: `p.grad <- P p.grad`, `P = I + U (b0 Sigma^-1 - I) U'`, and the inner optimizer with lr = alpha;
      `alpha P` is the inverse of the estimated Hessian on the span of U.

    `GroupEstimate` says how the Hessian is modelled. The inner optimizer shares `param_groups` and
    `state`; its state (momentum) survives a restart, as the weights do not move meanwhile. Compute
    gradients with `backward(loss)`, or with `loss.backward(create_graph=optimizer.estimating)`. After
    `step()`, `p.grad` holds what the inner optimizer saw: weight decay and P are applied in place.

    A parameter without gradient counts as one with gradient zero, and a tensor of gradient zero is not
    preconditioned. Negative eigenvalues and those below b0 are left alone. Where alpha is not positive
    and finite, P = I and the step size is the last valid alpha, else `lr`, else 1e-3. What is not finite
    never enters P. Sparse gradients raise RuntimeError.

    Args:
        params: tensors or parameter groups; a group may have its own `lr`, `weight_decay` and other
            hyperparameters of the inner optimizer.
        est_rank: k, the most directions per tensor that are preconditioned.
        num_observations: m, the products that the posterior learns from.
        prior_iterations: n, the minibatches that the prior is estimated from.
        weight_decay: factor of an L2 penalty; gradient and curvature see it, the inner optimizer does not.
        lr: the step size after the first estimate, until the next; None for alpha from the start.
        optim_class: the inner optimizer, a class or its dotted path ('torch.optim.Adam').
        optim_hyperparams: the inner optimizer's other hyperparameters.

    Raises:
        ValueError, TypeError: a hyperparameter is not valid, here or for the inner optimizer.
    """

    significance = 2.0
    """The posterior standard deviations by which an eigenvalue must exceed b0; 0 trusts the mean."""

    def __init__(
        self,
        params: ParamsT,
        est_rank: int = 2,
        num_observations: int = 5,
        prior_iterations: int = 10,
        weight_decay: float = 0,
        lr: float | None = None,
        optim_class: type[Optimizer] | str = torch.optim.SGD,
        **optim_hyperparams: Any,
    ) -> None:
        check_count("est_rank", est_rank, 0)
        check_count("num_observations", num_observations, 1)
        check_count("prior_iterations", prior_iterations, 1)
        self.est_rank = est_rank
        self.num_observations = num_observations
        self.prior_iterations = prior_iterations
        self.hvp_count = 0
        """Hessian-vector products so far."""
        self._lr = lr
        self._position = 0  # steps since the start of the current estimate
        self._watching = False  # the next update is to be measured
        self._estimates: list[GroupEstimate] = []
        super().__init__(params, optim_class, lr, weight_decay, optim_hyperparams)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; it needs an estimate of its own, so a new one starts for all groups."""
        super().add_param_group(param_group)
        self._estimates.append(GroupEstimate("lr" in param_group or self._lr is not None))
        self._restart()

    def state_dict(self) -> dict[str, Any]:
        """The state of both optimizers in any phase: tensors, numbers, strings, lists and dicts."""
        state = super().state_dict()
        state["estimate"] = {name: getattr(self, name) for name in _SETTINGS + _PROGRESS}
        state["estimate"]["groups"] = [estimate.state_dict() for estimate in self._estimates]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where `state_dict()` was called; its hyperparameters replace the constructor's."""
        if "estimate" not in state_dict:
            raise ValueError("Invalid state_dict: without 'estimate' (no Preconditioner made it)")
        super().load_state_dict(state_dict)
        saved = state_dict["estimate"]
        for name in _SETTINGS + _PROGRESS:
            setattr(self, name, saved[name])
        self._estimates = [
            GroupEstimate.from_state_dict(state, group["params"])
            for group, state in zip(self.param_groups, saved["groups"], strict=True)
        ]

    @property
    def estimating(self) -> bool:
        """Whether the next `step()` needs gradients with a graph."""
        return self._holding

    @property
    def _holding(self) -> bool:
        """Whether the next `step()` leaves the weights as they are."""
        return self._position < self._held

    @property
    def _held(self) -> int:
        """The minibatches without an update that an estimate takes."""
        return self.prior_iterations + self.num_observations - 1

    def backward(self, loss: Tensor) -> None:
        """`loss.backward()`, with a graph of the gradients exactly when the next step needs one."""
        with warnings.catch_warnings():
            # step() breaks the reference cycle that torch warns of
            warnings.filterwarnings(
                "ignore", "Using backward.. with create_graph=True", UserWarning
            )
            torch.autograd.backward(loss, create_graph=self.estimating)

    def start_estimate(self) -> None:
        """Estimate anew, from the next minibatch on.

        Does nothing while an estimate is under way: restarted every epoch, epochs shorter than n + m - 1
        minibatches would otherwise never see an update.
        """
        if not self._holding:
            self._restart()

    def _restart(self) -> None:
        self._position, self._watching = 0, False
        self._estimates = [estimate.renewed() for estimate in self._estimates]

    def maybe_start_estimate(self, max_ratio: float = 3.0, min_steps: int = 15) -> bool:
        """Estimate anew if the curvature has outgrown the estimate; call it after `step()`, now and then.

        Each call has the next update look at weights w and gradients g. From the first, (w_0, g_0), on,
        the curvature along the path d = w - w_0 relative to the prior mean, `d'(g - g_0) / (b0 d'd)`, is
        about 1 or less while the estimate holds; at 2, steps of 1/b0 overshoot. If it was above
        `max_ratio` in any group at the last look, an estimate starts, but not within `min_steps` updates
        of the last. (The ratio of norms, |g - g_0| / (b0 |d|), would take minibatch noise for curvature.)
        The gradients are those that the inner optimizer sees, P included. Costs a copy of weights and
        gradients; a call synchronizes with the device. Returns whether an estimate has started.
        """
        updates = self._position - self._held
        if updates <= 0:
            return False
        self._watching = True
        estimates = [estimate for _, estimate in self._groups()]
        if updates < min_steps or not any(e.outgrown(max_ratio) for e in estimates):
            return False
        self._restart()
        return True

    def get_log(self) -> dict[str, Any]:
        """Plain numbers, for a record; reading them synchronizes with the device.

        `lr`, `alpha`, `b0`, `w0`, `lambda0` and `curvatures` (the eigenvalues in P, largest first) are
        lists with one entry per group, None, 0 or empty where the estimate has none. `gradient_norm`
        is that of `p.grad`, after a step the preconditioned gradient.
        """
        grads = [p.grad for p in self._params() if p.grad is not None]
        return {
            "steps_since_start": self._position,
            "estimating": self.estimating,
            "hvp_count": self.hvp_count,
            "gradient_norm": math.hypot(*(torch.linalg.vector_norm(grad).item() for grad in grads)),
            "lr": [float(group["lr"]) for group in self.param_groups],
            "alpha": [estimate.alpha for estimate in self._estimates],
            "b0": [estimate.b0 or None for estimate in self._estimates],
            "w0": [estimate.w0 for estimate in self._estimates],
            "lambda0": [estimate.lambda0 for estimate in self._estimates],
            "curvatures": [list(estimate.curvatures) for estimate in self._estimates],
        }

    @torch.no_grad()
    def step(  # type: ignore[override]  # one signature for the two overloads of the base class
        self, closure: Callable[[], float] | None = None
    ) -> float | None:
        """Learn from the gradients while the weights are held; otherwise precondition and update.

        A `closure` evaluates the model again, calls `optimizer.backward(loss)` and returns the loss.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        check_gradients(self._params(), need_graph=self.estimating)
        if self._holding:
            self._learn()
        else:
            for group, estimate in self._groups():
                self._decay(group)
                self._precondition(group, estimate)
                if self._watching:
                    estimate.watch(group["params"])
            self._watching = False
            self._inner.step()
        self._position += 1
        return loss

    def _params(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def _groups(self) -> list[tuple[dict[str, Any], GroupEstimate]]:
        pairs = zip(self.param_groups, self._estimates, strict=True)
        return [(group, estimate) for group, estimate in pairs if group["params"]]

    def _learn(self) -> None:
        """Use one minibatch's gradients and their graph; then let go of the graph."""
        n, i, groups = self.prior_iterations, self._position, self._groups()
        if i < n:
            for j, (group, estimate) in enumerate(groups, 1):
                self._gather(group, estimate, keep_graph=j < len(groups) or i == n - 1)
        if i >= n - 1:
            for j, (group, estimate) in enumerate(groups, 1):
                if i == n - 1:
                    self._set_prior(estimate)
                self._observe(group, estimate, i - n + 1, keep_graph=j < len(groups))
        if i == self._held - 1:
            for group, estimate in groups:
                self._set_directions(group, estimate)
                self._set_step_size(group, estimate)
        release_graph(self._params())

    def _multiply(
        self, group: dict[str, Any], vectors: list[Tensor], *, keep_graph: bool
    ) -> list[Tensor]:
        """`H v` with the group's own block of this minibatch's Hessian, shape [N] per tensor."""
        self.hvp_count += 1
        return hessian_vector_product(group["params"], vectors, group["l2"], keep_graph)

    def _gather(self, group: dict[str, Any], estimate: GroupEstimate, *, keep_graph: bool) -> None:
        """Prior phase: take one minibatch's gradient s and product Bs into account."""
        s = flat_gradients(group["params"], group["l2"])
        estimate.gather(s, self._multiply(group, s, keep_graph=keep_graph))

    def _set_prior(self, estimate: GroupEstimate) -> None:
        """End of the prior phase: `b0 = 1/alpha`."""
        if estimate.moments is not None:
            alpha = self._estimate_step_size(*estimate.moments.tolist())
            estimate.set_prior(alpha, self.num_observations)

    def _estimate_step_size(self, sBs: float, sBBs: float) -> float:
        """`alpha = s'Bs / s'BBs` from the moments summed over the prior minibatches (Sec. 2.4)."""
        return sBs / sBBs if sBBs > 0 else 0.0

    def _observe(
        self, group: dict[str, Any], estimate: GroupEstimate, index: int, *, keep_graph: bool
    ) -> None:
        """Posterior phase: one product y = Bs, with random signs per tensor (see `GroupEstimate`)."""
        if estimate.b0 == 0:
            return
        g = flat_gradients(group["params"], group["l2"])
        s = estimate.next_direction(g, index)
        signs = random_signs(len(s), seed=self.hvp_count)
        signed = [sign * s_l for sign, s_l in zip(signs, s, strict=True)]
        Bs = self._multiply(group, signed, keep_graph=keep_graph)
        estimate.observe(index, s, [sign * y for sign, y in zip(signs, Bs, strict=True)])

    def _set_directions(self, group: dict[str, Any], estimate: GroupEstimate) -> None:
        """End of the estimate: the low-rank approximation of `B_m` that P is made of."""
        if estimate.columns:
            estimate.set_directions(group["params"], self.est_rank, self.significance)

    def _set_step_size(self, group: dict[str, Any], estimate: GroupEstimate) -> None:
        """End of the estimate: the inner optimizer's step size."""
        if not estimate.lr_given and estimate.alpha is not None:
            group["lr"] = estimate.alpha
        estimate.lr_given = False

    def _precondition(self, group: dict[str, Any], estimate: GroupEstimate) -> None:
        """`p.grad <- P p.grad`."""
        estimate.precondition(group["params"])
