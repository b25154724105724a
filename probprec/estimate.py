"""The estimate of one parameter group's Hessian: what is kept of it, and how it is updated."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from probprec.hessian import inner_product, unit
from probprec.posterior import (
    gram,
    inverse_coefficients,
    leading_eigenpairs,
    noise_ratio,
    uncertainties,
    variances,
)

NEGLIGIBLE = 1e-3
"""Eigenvalues that exceed b0 by less, relative to b0, are not worth the time that they take every step."""


@dataclass
class GroupEstimate:
    """The estimate of one group: tensors and plain numbers, so that it can be saved in any phase.

    The model is that of `posterior`, one block per tensor, b0, w0 and lambda0 shared by the group. Where
    it departs from the thesis' program, it is on purpose:

    - The prior mean is 1/alpha, not alpha; the columns of S have unit norm in every place; P divides by
      Sigma relative to b0, so that a direction of curvature b0 is left alone.
    - A product sees the other blocks, too: y_l = sum_k H_lk s_k. Random signs per tensor, `eps_l (H (eps
      s))_l`, turn their share into noise of mean zero, which the estimate of lambda0 then sees. Products
      for each tensor alone would be exact, and as many times as expensive as there are tensors. The
      signs are a function of the number of products so far, so runs can be repeated and resumed.
    - Directions have unit norm per tensor before the product, so that no tensor drowns another.
    - Eigenvalues are believed that exceed b0 by some posterior standard deviations `w0 sqrt(u'Cu)`. The
      symmetric part of an update `(y - b0 s) s'` has a positive eigenvalue however small the curvature:
      without such a test, noise in y across s passes for curvature.
    - The first column is a product with the mean gradient, not the mean of the prior's products, each
      with its own gradient and Hessian: one product more.
    - Parameter groups do not see each other: each has products with its own block alone.
    - alpha is biased low by the noise of Hs, as in the paper: without that bias it is riskier, not better.

    Lists of tensors have one entry per tensor of the group; N is its number of elements.
    """

    lr_given: bool
    """The group's step size came from the user and holds until the next restart."""
    alpha: float | None = None
    """The last valid `alpha = s'Bs / s'BBs`."""
    b0: float = 0.0
    """The prior mean `1/alpha` of this estimate; 0 while there is none, or if alpha was not valid."""
    w0: float = 0.0
    lambda0: float = 0.0
    curvatures: list[float] = field(default_factory=list)
    """The eigenvalues behind `directions`, largest first."""
    moments: Tensor | None = None
    """Sums over the prior minibatches of `s'Bs` and of `s'BBs`, s their gradient: float64, shape [2]."""
    gradient_sum: list[Tensor] = field(default_factory=list)
    """The sum of the prior minibatches' gradients, shape [N]."""
    columns: list[Tensor] = field(default_factory=list)
    """`Z = [S Y]` by rows: m directions s_i of unit norm, then m products y_i, shape [2m, N]."""
    directions: list[Tensor] = field(default_factory=list)
    """`U`, the directions that are preconditioned, by rows, shape [k, N]."""
    shrinkage: list[Tensor] = field(default_factory=list)
    """`b0 Sigma^-1 - 1`, shape [k]."""
    anchor: list[Tensor] = field(default_factory=list)
    """Weights w_0, then gradients g_0, that `watch` compares with, in the tensors' shapes."""
    path: Tensor | None = None
    """`d'(g - g_0)` and `d'd` with d = w - w_0: float64, shape [2]."""

    def renewed(self) -> "GroupEstimate":
        """An empty estimate that remembers the step size."""
        return GroupEstimate(self.lr_given, alpha=self.alpha)

    def gather(self, s: list[Tensor], Hs: list[Tensor]) -> None:
        """Add a prior minibatch: its gradients `s` and their products `Hs`, shape [N] per tensor."""
        moments = torch.stack([inner_product(s, Hs), inner_product(Hs, Hs)])
        if self.moments is None:
            self.moments, self.gradient_sum = moments, [g.clone() for g in s]
            return
        self.moments += moments
        for total, g in zip(self.gradient_sum, s, strict=True):
            total.add_(g)

    def set_prior(self, alpha: float, num_observations: int) -> None:
        """Set `b0 = 1/alpha`, if alpha is positive and neither it nor b0 overflows."""
        if 0 < alpha < math.inf and 1 / alpha < math.inf:
            self.alpha, self.b0 = alpha, 1 / alpha
            self.columns = [g.new_zeros(2 * num_observations, g.numel()) for g in self.gradient_sum]

    def next_direction(self, g: list[Tensor], index: int) -> list[Tensor]:
        """`s_{i+1} = B_i^-1 g_i` (Eq. 16, up to its sign), of unit norm per tensor, shape [N].

        The first one, `index` 0, is the mean gradient of the prior phase.
        """
        if index == 0:
            return [unit(total) for total in self.gradient_sum]
        m = self.columns[0].shape[0] // 2
        G, rho = self._fit_noise()
        Sg = torch.stack(
            [(Z[:m] @ v).to(G.device, G.dtype) for Z, v in zip(self.columns, g, strict=True)]
        )
        c = inverse_coefficients(G, Sg, self.b0, rho)  # [L, 2m]
        return [
            unit(v + c_l.to(Z.device, Z.dtype) @ Z)
            for v, Z, c_l in zip(g, self.columns, c, strict=True)
        ]

    def observe(self, index: int, s: list[Tensor], y: list[Tensor]) -> None:
        """Add column `index` of S and Y, shape [N] per tensor."""
        for Z, s_l, y_l in zip(self.columns, s, y, strict=True):
            Z[index] = s_l
            Z[Z.shape[0] // 2 + index] = y_l

    def set_directions(self, params: Sequence[Tensor], rank: int, significance: float) -> None:
        """Keep the leading eigenpairs that surely exceed b0, for P; let go of the columns."""
        G, rho = self._fit_noise()
        values, c = leading_eigenpairs(G, self.b0, rho, rank, self.columns[0].dtype)
        excess = significance * self.w0 * uncertainties(G, c, rho) + NEGLIGIBLE * self.b0
        kept = (values > self.b0 + excess).tolist()  # [L, k]
        for i, (p, Z) in enumerate(zip(params, self.columns, strict=True)):
            sigma = values[i, kept[i]]
            U = c[i][:, kept[i]].mT.to(Z.device, Z.dtype) @ Z
            self.directions.append(U.to(p.dtype))
            self.shrinkage.append((self.b0 / sigma - 1).to(p.device, p.dtype))
            self.curvatures += sigma.tolist()
        self.curvatures.sort(reverse=True)
        self.columns, self.gradient_sum = [], []

    def precondition(self, params: Sequence[Tensor]) -> None:
        """`p.grad <- P p.grad` in place, `P = I + U' diag(b0 Sigma^-1 - 1) U` with U by rows."""
        for p, U, c in zip(params, self.directions, self.shrinkage, strict=False):  # none: P = I
            if p.grad is not None and len(c) > 0:
                p.grad = p.grad.contiguous()
                flat = p.grad.view(-1)
                flat.addmv_(U.T, (U @ flat) * c)

    def watch(self, params: Sequence[Tensor]) -> None:
        """Remember weights and gradients; or measure how both have changed since the first time."""
        now = [p.detach() for p in params] + [_gradient(p) for p in params]
        if not self.anchor:
            self.anchor = [t.clone() for t in now]
            return
        change = [t - t_0 for t, t_0 in zip(now, self.anchor, strict=True)]
        d, y = change[: len(params)], change[len(params) :]
        self.path = torch.stack([inner_product(d, y), inner_product(d, d)])

    def outgrown(self, max_ratio: float) -> bool:
        """Whether the curvature along the path, `d'(g - g_0) / d'd`, exceeds `max_ratio b0`."""
        if self.path is None or self.b0 == 0:
            return False
        dy, dd = self.path.tolist()
        return bool(dy > max_ratio * self.b0 * dd)

    def state_dict(self) -> dict[str, Any]:
        """All fields by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @classmethod
    def from_state_dict(cls, state: dict[str, Any], params: Sequence[Tensor]) -> "GroupEstimate":
        """The estimate that `state` holds, copied to the devices of the group's parameters."""

        def place(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value.detach().clone().to(params[0].device)
            if isinstance(value, list):
                return [
                    item.detach().clone().to(params[i % len(params)].device)
                    if isinstance(item, Tensor)
                    else item
                    for i, item in enumerate(value)
                ]
            return value

        return cls(**{name: place(value) for name, value in state.items()})

    def _fit_noise(self) -> tuple[Tensor, float]:
        """The columns' Gram matrices, shape [L, 2m, 2m], and rho; sets w0 and lambda0."""
        G = gram(self.columns)
        w0_squared, lambda0_squared = torch.stack(variances(G, self.b0)).tolist()
        self.w0, self.lambda0 = math.sqrt(w0_squared), math.sqrt(lambda0_squared)
        return G, noise_ratio(w0_squared, lambda0_squared, self.columns[0].dtype)


def _gradient(p: Tensor) -> Tensor:
    return torch.zeros_like(p) if p.grad is None else p.grad.detach()
