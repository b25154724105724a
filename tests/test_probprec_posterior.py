"""The 2m x 2m algebra against the posterior of the paper, written with Kronecker products and solved densely."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from probprec.estimate import GroupEstimate
from probprec.posterior import (
    gram,
    inverse_coefficients,
    leading_eigenpairs,
    noise_ratio,
    uncertainties,
    variances,
)

F64 = torch.float64


def dense_posterior(S, Y, b0, w0, lambda0):
    """Mean and covariance (of the stacked columns) of B, from `vec(B) ~ N(b0 I, W (x) W)`, `p(Y | B) = N(BS, Lambda (x) diag(s_i' Lambda s_i))`."""
    N, m = S.shape
    eye = torch.eye(N, dtype=F64)
    W, Lambda = w0 * eye, lambda0 * eye
    A = torch.kron(S.T.contiguous(), eye)  # vec(BS) = A vec(B), columns stacked
    noise = torch.diag(torch.stack([S[:, i] @ Lambda @ S[:, i] for i in range(m)]))
    prior = torch.kron(W, W)
    evidence = A @ prior @ A.T + torch.kron(noise, Lambda)
    gain = torch.linalg.solve(evidence, A @ prior).T
    mean = (b0 * eye).reshape(-1) + gain @ (Y - b0 * S).T.reshape(-1)
    return mean.view(N, N).T, prior - gain @ A @ prior


def problem(seed, N, m):
    """Unit directions S and noisy products Y with a symmetric matrix."""
    generator = torch.Generator().manual_seed(seed)
    H = torch.randn(N, N, dtype=F64, generator=generator)
    H = H @ H.T + torch.diag(torch.arange(N, dtype=F64))
    S = torch.nn.functional.normalize(torch.randn(N, m, dtype=F64, generator=generator), dim=0)
    Y = H @ S + 0.3 * torch.randn(N, m, dtype=F64, generator=generator)
    return S, Y, torch.randn(N, dtype=F64, generator=generator)


cases = given(
    seed=st.integers(0, 10_000),
    N=st.integers(1, 7),
    m=st.integers(1, 4),
    b0=st.floats(0.1, 30),
    w0=st.floats(0.2, 5),
    lambda0=st.floats(0.2, 5),
)


@cases
@settings(max_examples=40, deadline=None)
def test_inverse_is_that_of_the_dense_posterior(*, seed, N, m, b0, w0, lambda0):
    S, Y, g = problem(seed, N, m)
    B, _ = dense_posterior(S, Y, b0, w0, lambda0)
    Z = torch.cat([S, Y], dim=1).T.contiguous()
    c = inverse_coefficients(gram([Z]), (g @ S)[None], b0, (lambda0 / w0) ** 2)[0]
    # compared as B B^-1 g = g, with room for how nearly singular B happens to be
    room = 1e-9 * (1 + B.abs().max() * (Z.T @ c).abs().max())
    assert torch.allclose(B @ (g + Z.T @ c) / b0, g, rtol=0, atol=room.item())


@cases
@settings(max_examples=40, deadline=None)
def test_eigenpairs_are_those_of_the_dense_posterior(*, seed, N, m, b0, w0, lambda0):
    S, Y, _ = problem(seed, N, m)
    B, covariance = dense_posterior(S, Y, b0, w0, lambda0)
    B = (B + B.T) / 2
    Z = torch.cat([S, Y], dim=1).T.contiguous()
    rho = (lambda0 / w0) ** 2
    values, c = leading_eigenpairs(gram([Z]), b0, rho, 2, F64)
    sd = w0 * uncertainties(gram([Z]), c, rho)[0]
    expected = torch.linalg.eigvalsh(B).flip(0)
    size = expected.abs().max().item()
    for value, coefficients, true, sd_i in zip(values[0], c[0].T, expected, sd, strict=False):
        if true > b0 + 1e-3 * size:
            u = coefficients @ Z
            assert value.item() == pytest.approx(true.item(), abs=1e-8 * size)
            assert torch.allclose(B @ u, value * u, rtol=0, atol=1e-6 * size)
            assert u.norm().item() == pytest.approx(1, abs=1e-6)
            uu = torch.outer(u, u).reshape(-1)  # u'Bu = uu' vec(B)
            assert sd_i.item() == pytest.approx((uu @ covariance @ uu).sqrt().item(), rel=1e-4)
        else:
            assert value <= b0 + 1.001e-3 * size


def test_noise_free_products_in_every_direction_recover_the_matrix():
    """B_m S = Y; with N independent columns B_m is the Hessian, and its inverse Newton's."""
    S, _, g = problem(3, 5, 5)
    H = torch.diag(torch.tensor([1.0, 2, 3, 40, 50], dtype=F64))
    Z = torch.cat([S, H @ S], dim=1).T.contiguous()
    G = gram([Z])
    rho = noise_ratio(*(v.item() for v in variances(G, 10.0)), F64)
    assert rho == torch.finfo(F64).eps ** 0.5
    c = inverse_coefficients(G, (g @ S)[None], 10.0, rho)[0]
    assert torch.allclose((g + Z.T @ c) / 10, torch.linalg.solve(H, g), rtol=1e-4)
    values, _ = leading_eigenpairs(G, 10.0, rho, 2, F64)
    assert values[0].tolist() == pytest.approx([50, 40], rel=1e-5)


def test_variances_are_those_that_the_model_drew_from():
    """Symmetric prior with deviation w0, noise with lambda0; 200 tensors make the estimate sharp."""
    N, m, b0, w0, lambda0 = 20, 4, 5.0, 2.0, 0.7
    generator = torch.Generator().manual_seed(0)
    columns = []
    for _ in range(200):
        E = torch.randn(N, N, dtype=F64, generator=generator)
        H = b0 * torch.eye(N, dtype=F64) + w0 * (E.triu() + E.triu(1).T)
        S = torch.nn.functional.normalize(torch.randn(N, m, dtype=F64, generator=generator), dim=0)
        Y = H @ S + lambda0 * torch.randn(N, m, dtype=F64, generator=generator)
        columns.append(torch.cat([S, Y], dim=1).T.contiguous())
    signal, noise = (v.item() for v in variances(gram(columns), b0))
    assert noise == pytest.approx(lambda0**2, rel=0.1)
    # a symmetric matrix varies more along s s' than across, by the factor (m + 1) / m on average
    assert signal == pytest.approx(w0**2 * (m + 1) / m, rel=0.1)


def test_noise_ratio_stays_within_what_can_be_told():
    eps = torch.finfo(torch.float32).eps
    assert noise_ratio(1.0, 0.0, torch.float32) == eps**0.5
    assert noise_ratio(0.0, 1.0, torch.float32) == 1 / eps
    assert noise_ratio(4.0, 1.0, torch.float32) == 0.25


def test_unobserved_and_broken_columns_change_nothing():
    S, Y, g = problem(1, 6, 2)
    Z = torch.cat([S, Y], dim=1).T
    padded = Z.new_zeros(6, 6)  # m = 3, of which the last is not observed
    padded[[0, 1, 3, 4]] = Z
    assert torch.allclose(
        leading_eigenpairs(gram([padded]), 2.0, 0.5, 2, F64)[0],
        leading_eigenpairs(gram([Z]), 2.0, 0.5, 2, F64)[0],
    )
    broken = Z.clone()
    broken[0, 0] = torch.nan
    G = gram([Z, broken])
    values, _ = leading_eigenpairs(G, 2.0, 0.5, 2, F64)
    assert values[1].tolist() == [2.0, 2.0]
    assert torch.equal(values[0], leading_eigenpairs(gram([Z]), 2.0, 0.5, 2, F64)[0][0])
    c = inverse_coefficients(G, torch.stack([g @ S, g @ S * torch.nan]), 2.0, 0.5)
    assert c[1].tolist() == [0.0] * 4


def test_float32_directions_are_orthonormal():
    generator = torch.Generator().manual_seed(0)
    S = torch.nn.functional.normalize(torch.randn(3, 20_000, generator=generator), dim=1)
    estimate = GroupEstimate(lr_given=False, gradient_sum=[S[0]])
    estimate.set_prior(0.1, 3)
    for i in range(3):
        estimate.observe(i, [S[i]], [500 * S[i] + torch.randn(20_000, generator=generator)])
    estimate.set_directions([S[0]], 2, 0.0)
    U = estimate.directions[0]
    assert torch.allclose(U @ U.T, torch.eye(2), atol=1e-4)
