"""The posterior of 2019 over one tensor's Hessian, with its slips, reduced to small matrices.

The m columns of S have unit norm, `y_i = B s_i`; both are rows of `Z = [S Y]`, and `G = Z Z'` is what the
algebra needs. `sizes` are the norms |s_i|^2 before S was normalised. Where the paper has

    B_m = b0 I + (Y - b0 S) K S',   K = (S'S + rho I)^-1,   b0 = 1/alpha,   rho = (lambda0 / w0)^2,

the program of 2019 comes down to

    B_m = b0 I + w0^2 (Y - c S) K S',   K = M^-1,   M_ii = (w0^2 + lambda0^2) |s_i|^2,   M_ij = w0^2 s_i's_j

with c = alpha, and c = 1 while there is one column. M is no Gram matrix and may have any sign.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_CHUNK = 2**20  # elements per row that are in double precision at a time
_DEPENDENT = 1e-12  # eigenvalues of normalised columns' Gram matrix that are rounding errors


@dataclass(frozen=True)
class Prior:
    """The numbers that all tensors of a parameter group share."""

    alpha: float
    w0: float
    lambda0: float


def gram(Z: Tensor) -> Tensor:
    """`G = Z Z'` in double precision on the CPU, shape [2m, 2m]."""
    G = Z.new_zeros(len(Z), len(Z), dtype=torch.float64)
    for start in range(0, Z.shape[1], _CHUNK):
        part = Z[:, start : start + _CHUNK].double()
        G.addmm_(part, part.T)
    return G.cpu()


def inverse_coefficients(G: Tensor, Sg: Tensor, sizes: Sequence[float], prior: Prior) -> Tensor:
    """Coefficients x, shape [2m], with `B_i^-1 g = alpha g - Z' x`, from the i columns seen so far.

    `Sg = S'g`, shape [m]. The inner matrix of the inversion lemma is transposed: `X'S` for `S'X`.
    """
    m, i, w0_squared = len(G) // 2, len(sizes), prior.w0**2
    mean, K = _prior_mean(sizes, prior), _inverse(G, sizes, prior)
    XS = K @ (G[m : m + i, :i] - mean * G[:i, :i])
    inner = torch.eye(i, dtype=G.dtype) + prior.alpha * w0_squared * XS
    c = prior.alpha**2 * w0_squared * K @ torch.linalg.solve(inner, Sg[:i])
    x = G.new_zeros(2 * m)
    x[:i], x[m : m + i] = -mean * c, c
    return x


def leading_directions(
    G: Tensor, sizes: Sequence[float], prior: Prior, N: int, rank: int
) -> tuple[Tensor, Tensor]:
    """The largest singular values of `B_m`, N x N, and their left singular vectors `U = Z' c`.

    `B_m` is b0 I but for the span of Z, so an orthonormal basis of that span makes the problem one of
    size 2m, exactly. Of values that are |b0| for all of the rest, the vector would be arbitrary: none is
    given.

    Returns:
        At most `rank`, and fewer than N, singular values, descending, shape [k], and c, shape [2m, k].
    """
    m, i, b0 = len(G) // 2, len(sizes), 1 / prior.alpha
    K = prior.w0**2 * _inverse(G, sizes, prior)
    C = torch.zeros_like(G)  # B_m = b0 I + Z' C Z
    C[:i, :i], C[m : m + i, :i] = -_prior_mean(sizes, prior) * K, K
    norm = G.diagonal().sqrt()
    scale = torch.where(norm > 0, 1 / norm, 0)
    e, V = torch.linalg.eigh(scale[:, None] * G * scale)
    e, V = e[e > _DEPENDENT], V[:, e > _DEPENDENT]
    root = norm[:, None] * V * e.sqrt()  # Z' = Q root', Q orthonormal
    B = b0 * torch.eye(len(e), dtype=G.dtype) + root.T @ C @ root
    W, sigma, _ = torch.linalg.svd(B)
    k = min(rank, N - 1)
    if len(e) < N:
        k = min(k, int((sigma >= abs(b0)).sum()))
    return sigma[:k], scale[:, None] * (V / e.sqrt()) @ W[:, :k]


def _prior_mean(sizes: Sequence[float], prior: Prior) -> float:
    """The prior mean in `Y - c S`: the inverse of b0, or just 1."""
    return 1.0 if len(sizes) == 1 else prior.alpha


def _inverse(G: Tensor, sizes: Sequence[float], prior: Prior) -> Tensor:
    """`K = M^-1` of the columns seen so far, shape [i, i]."""
    i, w0_squared = len(sizes), prior.w0**2
    M = w0_squared * G[:i, :i]
    M.diagonal().copy_((w0_squared + prior.lambda0**2) * torch.tensor(sizes, dtype=G.dtype))
    K: Tensor = torch.linalg.inv(M)
    return K
