"""What the program of 2019 knew of one parameter group's Hessian, and how it learned it."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

import torch
from torch import Tensor

from probprec.hessian import inner_product
from probprec.thesis_posterior import Prior, gram, inverse_coefficients, leading_directions

_PER_TENSOR = ("gradient_sum", "product_sum", "columns", "directions", "shrinkage")


@dataclass
class GroupCurvature:
    """The curvature of one group: tensors and plain numbers, so that it can be saved in any phase.

    Lists have one entry per tensor of the group; N is its number of elements.
    """

    alpha: float = 0.0
    """`s'Bs / s'BBs`; 0 while it is not known. It may be negative, or not a number."""
    w0: float = 0.0
    lambda0: float = 0.0
    moments: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    """Sums over the prior minibatches of `s's`, `s'Bs` and `s'BBs`."""
    gradient_sum: list[Tensor] = field(default_factory=list)
    product_sum: list[Tensor] = field(default_factory=list)
    """Sums of the prior minibatches' gradients s, and of their products Bs, shape [N]."""
    columns: list[Tensor] = field(default_factory=list)
    """`Z = [S Y]` by rows: m directions of unit norm, then m products, shape [2m, N]."""
    sizes: list[list[float]] = field(default_factory=list)
    """`|s_i|^2` before S was normalised, of the columns seen so far."""
    directions: list[Tensor] = field(default_factory=list)
    """`U` by rows, shape [k, N]."""
    shrinkage: list[Tensor] = field(default_factory=list)
    """`Sigma^-1/2 - 1`, shape [k]."""
    curvatures: list[float] = field(default_factory=list)
    """`Sigma` of all tensors, largest first."""

    def gather(self, s: list[Tensor], Bs: list[Tensor]) -> None:
        """Add a prior minibatch: its gradients and their products, shape [N] per tensor."""
        pairs = ((s, s), (s, Bs), (Bs, Bs))
        new = torch.stack([inner_product(a, b) for a, b in pairs]).tolist()
        self.moments = [total + more for total, more in zip(self.moments, new, strict=True)]
        if not self.gradient_sum:
            self.gradient_sum = [g.clone() for g in s]
            self.product_sum = [Bg.clone() for Bg in Bs]
            return
        for total, more in zip(self.gradient_sum + self.product_sum, s + Bs, strict=True):
            total.add_(more)

    def set_prior(self, n: int) -> None:
        """Set `alpha`, `w0` and `lambda0` from n minibatches."""
        ss, sBs, sBBs = self.moments
        total = inner_product(self.gradient_sum, self.gradient_sum).item()
        self.alpha = sBs / sBBs if sBBs else math.nan
        self.w0 = sBs / ss if ss else math.nan
        self.lambda0 = abs(ss - total) / n

    def set_first_column(self, n: int, m: int) -> None:
        """Take the means of the prior phase for the first direction, `alpha g`, and its product."""
        scale = self.alpha / n
        self.columns = [g.new_zeros(2 * m, g.numel()) for g in self.gradient_sum]
        self.sizes = [[] for _ in self.gradient_sum]
        self.observe(
            [g * scale for g in self.gradient_sum], [Bg * scale for Bg in self.product_sum]
        )

    def observe(self, s: list[Tensor], y: list[Tensor]) -> None:
        """Add a column to S and Y, normalised tensor by tensor; its norm is kept beside it.

        A direction of zero is passed over.

        Raises:
            FloatingPointError: a direction or its product is not finite.
        """
        for Z, sizes, s_l, y_l in zip(self.columns, self.sizes, s, y, strict=True):
            size, known = (s_l @ s_l).item(), len(sizes)
            if not (math.isfinite(size) and y_l.isfinite().all()):
                raise FloatingPointError(
                    "the curvature is not finite: so ended the program of 2019"
                )
            if size > 0:
                Z[known], Z[len(Z) // 2 + known] = s_l / size**0.5, y_l / size**0.5
                sizes.append(size)

    def next_direction(self, g: list[Tensor]) -> list[Tensor]:
        """`B_i^-1 g`, not normalised, shape [N] per tensor."""
        found = []
        for Z, sizes, g_l in zip(self.columns, self.sizes, g, strict=True):
            Sg = (Z[: len(Z) // 2] @ g_l).double().cpu()
            x = inverse_coefficients(gram(Z), Sg, sizes, self._prior)
            found.append(self.alpha * g_l - x.to(Z.device, Z.dtype) @ Z)
        return found

    def set_directions(self, params: Sequence[Tensor], rank: int) -> None:
        """Keep the leading singular vectors of B_m for P; let go of the columns."""
        for p, Z, sizes in zip(params, self.columns, self.sizes, strict=True):
            sigma, c = leading_directions(gram(Z), sizes, self._prior, p.numel(), rank)
            self.directions.append((c.T.to(Z.device, Z.dtype) @ Z).to(p.dtype))
            self.shrinkage.append((sigma.rsqrt() - 1).to(p.device, p.dtype))
            self.curvatures += sigma.tolist()
        self.curvatures.sort(reverse=True)
        self.columns, self.gradient_sum, self.product_sum = [], [], []

    def precondition(self, params: Sequence[Tensor]) -> None:
        """`p.grad <- P p.grad` in place, `P = I + U' diag(Sigma^-1/2 - 1) U` with U by rows."""
        for p, U, c in zip(params, self.directions, self.shrinkage, strict=True):
            if p.grad is not None:
                p.grad = p.grad.contiguous()
                flat = p.grad.view(-1)
                flat.addmv_(U.T, (U @ flat) * c)

    def state_dict(self) -> dict[str, Any]:
        """All fields by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @classmethod
    def from_state_dict(cls, state: dict[str, Any], params: Sequence[Tensor]) -> Self:
        """The curvature that `state` holds, copied to the devices of the group's parameters."""
        found = cls(**copy.deepcopy(state))
        for name in _PER_TENSOR:
            tensors = zip(getattr(found, name), params, strict=False)  # none in other phases
            setattr(found, name, [tensor.to(p.device) for tensor, p in tensors])
        return found

    @property
    def _prior(self) -> Prior:
        return Prior(self.alpha, self.w0, self.lambda0)
