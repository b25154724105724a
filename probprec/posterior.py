"""The Gaussian posterior over a Hessian, reduced to algebra with 2m x 2m matrices.

The model of de Roos & Hennig (2019), Sec. 2, with scalar prior and noise: `vec(B) ~ N(b0 I, w0^2 I (x) I)`
and observations `y_i = B s_i + noise`, noise of variance `lambda0^2` per element for a unit `s_i`. Only
`rho = (lambda0 / w0)^2` enters the posterior mean,

    B_m = b0 I + (Y - b0 S) K S',   K = (S'S + rho I)^-1,

so that all of it can be read off the Gram matrix `G = Z'Z` of `Z = [S Y]`. Every function treats L
tensors at once: `G` has shape [L, 2m, 2m] and is float64. A column that was never observed is zero, and
zero columns change nothing.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def gram(columns: Sequence[Tensor]) -> Tensor:
    """`G = Z'Z` of each tensor's `Z` (rows of S, then rows of Y), shape [L, 2m, 2m].

    A tensor with a column that is not finite counts as never observed.
    """
    device = columns[0].device
    G = torch.stack([(Z @ Z.T).to(device, torch.float64) for Z in columns])
    finite = G.isfinite().all(dim=(1, 2), keepdim=True)
    return G.where(finite, torch.zeros_like(G))


def variances(G: Tensor, b0: float) -> tuple[Tensor, Tensor]:
    """`(w0^2, lambda0^2)`: prior and noise variance that L tensors share, by the method of moments.

    A Hessian is symmetric, so `s_i'y_j - s_j'y_i` is noise and nothing else, of variance `2 lambda0^2`.
    What remains of the energy of `s_i'(y_j - b0 s_j)` is `w0^2`. (The gradients' spread, which the paper
    puts in the place of `lambda0`, is not in the Hessian's unit, and its formula cancels the noise.)
    """
    m = G.shape[-1] // 2
    SS, SY = G[:, :m, :m], G[:, :m, m:]
    T = SY - b0 * SS  # [L, m, m]: s_i'(y_j - b0 s_j)
    seen = (SS.diagonal(dim1=1, dim2=2) > 0).double()  # [L, m]
    pairs = seen[:, :, None] * seen[:, None, :]
    ordered = pairs.sum() - seen.sum()  # pairs i != j
    noise = (T - T.mT).square().sum() / 2 / ordered.clamp(min=1)
    energy = T.square().sum() / pairs.sum().clamp(min=1)
    return (energy - noise).clamp(min=0), noise


def noise_ratio(w0_squared: float, lambda0_squared: float, dtype: torch.dtype) -> float:
    """`rho = (lambda0 / w0)^2`, not nearer to 0 than columns of this precision can tell; 1/eps if w0 is 0."""
    eps = torch.finfo(dtype).eps
    ratio = lambda0_squared / w0_squared if w0_squared > 0 else math.inf
    return min(max(ratio, math.sqrt(eps)), 1 / eps)


def inverse_coefficients(G: Tensor, Sg: Tensor, b0: float, rho: float) -> Tensor:
    """Coefficients c, shape [L, 2m], with `b0 B_m^-1 g = g + Z c`, where `Sg = S'g` has shape [L, m].

    The matrix inversion lemma (paper, below Eq. 16) collapses to
    `B_m^-1 g = (1/b0) [g - (Y - b0 S) (S'Y + b0 rho I)^-1 S'g]`; where that is singular, c is 0.
    """
    m = Sg.shape[-1]
    eye = torch.eye(m, dtype=G.dtype, device=G.device)
    a, _ = torch.linalg.solve_ex(G[:, :m, m:] + b0 * rho * eye, Sg)
    c = torch.cat([b0 * a, -a], dim=-1)
    return torch.where(c.isfinite().all(dim=-1, keepdim=True), c, 0)


def leading_eigenpairs(
    G: Tensor, b0: float, rho: float, rank: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """The `rank` largest eigenvalues of `(B_m + B_m') / 2` and their eigenvectors `U = Z c`.

    `B_m` differs from `b0 I` only on the span of Z, so an orthonormal basis of that span (from the
    eigenvectors of G, scaled to unit columns) turns the problem of size N into one of size 2m, exactly.

    Returns:
        Eigenvalues in descending order, shape [L, rank], and coefficients c, shape [L, 2m, rank].
        Directions that `dtype` cannot tell from zero come out with eigenvalue b0.
    """
    K = _inverse(G, rho)
    C = torch.cat(  # the symmetric part of B_m - b0 I is Z C Z'
        [torch.cat([-b0 * K, K / 2], dim=-1), torch.cat([K / 2, torch.zeros_like(K)], dim=-1)],
        dim=-2,
    )
    norm = G.diagonal(dim1=1, dim2=2).sqrt()  # [L, 2m]
    scale = torch.where(norm > 0, 1 / norm, 0)
    e, V = torch.linalg.eigh(scale[:, :, None] * G * scale[:, None, :])
    e = torch.where(e > 100 * torch.finfo(dtype).eps, e, 0)
    root = V * e.sqrt()[:, None, :]  # Z = Q root' diag(norm), Q orthonormal
    small = root.mT @ (norm[:, :, None] * C * norm[:, None, :]) @ root
    finite = small.isfinite().all(dim=(1, 2), keepdim=True)
    theta, W = torch.linalg.eigh(torch.where(finite, small, 0))
    inverse_root = V * torch.where(e > 0, e.rsqrt(), 0)[:, None, :]
    top = W.flip(-1)[:, :, :rank]
    return b0 + theta.flip(-1)[:, :rank], scale[:, :, None] * (inverse_root @ top)


def uncertainties(G: Tensor, c: Tensor, rho: float) -> Tensor:
    """`sqrt(u'Cu)`, shape [L, k], of unit vectors `u = Z c`, c of shape [L, 2m, k].

    The posterior covariance of B is `w0^2 I (x) C` with `C = I - S K S'`, so that the standard deviation
    of the curvature `u'Bu` is w0 times this: from 0, if S spans u and there is no noise, to 1.
    """
    m = G.shape[-1] // 2
    Su = G[:, :m] @ c  # [L, m, k]
    return (1 - (Su * (_inverse(G, rho) @ Su)).sum(dim=1)).clamp(min=0).sqrt()


def _inverse(G: Tensor, rho: float) -> Tensor:
    """`K = (S'S + rho I)^-1`, shape [L, m, m], by Cholesky."""
    m = G.shape[-1] // 2
    eye = torch.eye(m, dtype=G.dtype, device=G.device)
    factor, _ = torch.linalg.cholesky_ex(G[:, :m, :m] + rho * eye)
    return torch.cholesky_inverse(factor)
