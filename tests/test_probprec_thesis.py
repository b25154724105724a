"""The optimizer of 2019 against a slow dense twin that has each of its slips, and against closed forms."""

import copy
import io
import math

import pytest
import torch
from torch import nn

from probprec import thesis

F64 = torch.float64
SIZES = (4, 3, 12)
N, M, RANK, EPOCH = 4, 4, 2, 11  # 7 minibatches of estimate, 4 updates
ONE_GROUP = ((0, 1, 2),)
TWO_GROUPS = ((0, 2), (1,))
SLIPS = {"mean", "norms", "blocks", "root", "noise", "first", "transposed", "decay"}


def quadratics(seed, count, sizes=SIZES, *, spread=0.3):
    """Minibatches (H_i, c_i) of the loss 1/2 w'H_i w - c_i'w."""
    generator = torch.Generator().manual_seed(seed)
    size = sum(sizes)

    def draw(*shape):
        return torch.randn(*shape, dtype=F64, generator=generator)

    root, center = draw(size, size) / size**0.5, draw(size)
    H = root @ root.T + torch.eye(size, dtype=F64)
    noise = [draw(size, size) / size**0.5 for _ in range(count)]
    return [(H + spread * (E + E.T), center + draw(size)) for E in noise]


def tensors(seed=0, sizes=SIZES):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, dtype=F64, generator=generator).requires_grad_() for n in sizes]


def train(optimizer, params, batches):
    for H, c in batches:
        w = torch.cat([p.reshape(-1) for p in params])
        optimizer.zero_grad()
        optimizer.backward(0.5 * w @ H @ w - c @ w)
        optimizer.step()


class Twin:
    """The program of 2019 with dense matrices and its own eigendecomposition; `mended` are slips undone."""

    def __init__(self, w, groups, decay=0.0, mended=()):
        self.w, self.groups, self.decay, self.mended = w.clone(), groups, decay, mended
        parts = torch.arange(sum(SIZES)).split(SIZES)
        self.parts = [[parts[j] for j in group] for group in groups]

    def posterior(self, V, Y, alpha, w0, lambda0):
        """X and S from directions V that are not normalised, and their products Y."""
        V, Y = torch.stack(V, 1), torch.stack(Y, 1)
        size = V.square().sum(0)
        S, Y = V / size.sqrt(), Y / size.sqrt()
        size = torch.ones_like(size) if "norms" in self.mended else size
        SWS, SLS = w0 * S.T @ S, lambda0 * size
        SWS.diagonal().copy_(w0 * size)
        mean = 1 if len(size) == 1 else alpha
        mean = 1 / alpha if "mean" in self.mended else mean
        D, F = torch.linalg.eigh(SWS / SLS.sqrt() / SLS.sqrt()[:, None])
        F = F / SLS.sqrt()[:, None]
        psi = (Y - mean * S) @ F / lambda0**0.5 / (w0 / lambda0 * D + 1)
        return psi @ F.T / lambda0**0.5, S

    def prior(self, s, y, parts):
        """Alpha, w0 and lambda0 of a group, from the prior's gradients and products."""
        part = torch.cat(parts)
        s, y = torch.stack(s)[:, part], torch.stack(y)[:, part]
        w0 = (s * y).sum() / s.square().sum()
        spread = (s.square().sum() - s.sum(0).square().sum()).abs() / N
        return (
            (s * y).sum() / y.square().sum(),
            w0,
            spread.sqrt() if "noise" in self.mended else spread,
        )

    def direction(self, g, V, Y, prior):
        X, S = self.posterior(V, Y, *prior)
        alpha, w0, _ = prior
        XS = S.T @ X if "transposed" in self.mended else X.T @ S
        inner = torch.eye(len(XS), dtype=F64) + alpha * w0**2 * XS
        return alpha * g - alpha**2 * w0**2 * X @ torch.linalg.solve(inner, S.T @ g)

    def product(self, H, v):
        """H v, or that of the blocks of the tensors."""
        if "blocks" not in self.mended:
            return H @ v + self.decay * v
        result = self.decay * v
        for part in torch.arange(sum(SIZES)).split(SIZES):
            result[part] += H[part][:, part] @ v[part]
        return result

    def estimate(self, batches):
        g = [H @ self.w - c for H, c in batches]
        s = [v + self.decay * self.w for v in g[:N]]
        y = [H @ v + self.decay * v for (H, _), v in zip(batches, s, strict=False)]
        self.priors = [self.prior(s, y, parts) for parts in self.parts]
        first = [-alpha * sum(s) / N for alpha, _, _ in self.priors]
        products = [-alpha * sum(y) / N for alpha, _, _ in self.priors]
        if "first" in self.mended:
            products = [self.product(batches[N - 1][0], v) for v in first]
        V = [[[v[part]] for part in parts] for v, parts in zip(first, self.parts, strict=True)]
        Y = [[[p[part]] for part in parts] for p, parts in zip(products, self.parts, strict=True)]
        for (H, _), g_i in zip(batches[N : N + M - 1], g[N:], strict=False):
            v = torch.zeros_like(self.w)
            for k, j, part in self.all():
                gradient = g_i + self.decay * self.w if "decay" in self.mended else g_i
                v[part] = self.direction(gradient[part], V[k][j], Y[k][j], self.priors[k])
            Hv = self.product(H, v)
            for k, j, part in self.all():
                V[k][j].append(v[part])
                Y[k][j].append(Hv[part])
        self.set_steps(V, Y)

    def all(self):
        return [(k, j, part) for k, parts in enumerate(self.parts) for j, part in enumerate(parts)]

    def set_steps(self, V, Y):
        """Alpha, and alpha P, as matrices."""
        self.rate = torch.zeros(len(self.w), len(self.w), dtype=F64)
        self.step = torch.zeros_like(self.rate)
        for k, j, part in self.all():
            X, S = self.posterior(V[k][j], Y[k][j], *self.priors[k])
            alpha, w0, _ = self.priors[k]
            eye = torch.eye(len(part), dtype=F64)
            U, sigma, _ = torch.linalg.svd(eye / alpha + w0**2 * X @ S.T)
            rank = min(RANK, len(part) - 1)
            U, sigma = U[:, :rank], sigma[:rank]
            power = 1 / (alpha * sigma) if "root" in self.mended else sigma**-0.5
            P = eye + U * (power - 1) @ U.T
            self.rate[part[:, None], part] = alpha * eye
            self.step[part[:, None], part] = alpha * P

    def update(self, batches):
        for H, c in batches:
            g = H @ self.w - c
            self.w = self.w - self.step @ g - self.decay * self.rate @ self.w


def make(params, groups, decay=0.0, cls=thesis.PreconditionedSGD, **hyperparams):
    given = [{"params": [params[j] for j in group]} for group in groups]
    return cls(given, RANK, M, N, weight_decay=decay, **hyperparams)


def both(seed, groups, decay=0.0, mended=()):
    """The weights of the replica and of its twin after two epochs."""
    params = tensors(seed)
    twin = Twin(torch.cat(params).detach(), groups, decay, mended)
    optimizer = make(params, groups, decay)
    batches = quadratics(seed, 2 * EPOCH)
    for part in (batches[:EPOCH], batches[EPOCH:]):
        twin.estimate(part)
        twin.update(part[N + M - 1 :])
        train(optimizer, params, part)
        optimizer.start_estimate()
    return torch.cat(params).detach(), twin.w


@pytest.mark.parametrize("decay", [0.0, 0.2])
@pytest.mark.parametrize("groups", [ONE_GROUP, TWO_GROUPS])
@pytest.mark.parametrize("seed", range(4))
def test_two_epochs_equal_those_of_the_dense_twin(seed, groups, decay):
    w, expected = both(seed, groups, decay)
    assert torch.allclose(w, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("slip", sorted(SLIPS))
def test_each_slip_is_there(slip):
    """A twin without it moves to other weights."""
    w, mended = both(0, ONE_GROUP, decay=0.2, mended={slip})
    assert not torch.allclose(w, mended, rtol=1e-5, atol=1e-6)


def test_one_column_in_closed_form():
    """H = h I has curvature h everywhere; the program saw another along its one direction."""
    h, n = 7.0, 3
    H = h * torch.eye(6, dtype=F64)
    batches = [(H, c) for _, c in quadratics(0, n + 1, [6])]
    params = tensors(0, [6])
    w = params[0].detach().clone()
    g = torch.stack([H @ w - c for _, c in batches])
    optimizer = thesis.PreconditionedSGD(params, 1, 1, n)
    train(optimizer, params, batches[:n])
    assert torch.equal(params[0], w)
    log = optimizer.get_log()
    mean = g[:n].mean(0)
    lambda0 = abs(g[:n].square().sum() - g[:n].sum(0).square().sum()).item() / n
    assert log["alpha"] == log["lr"] == [pytest.approx(1 / h)]
    assert log["w0"] == [pytest.approx(h)]
    assert log["lambda0"] == [pytest.approx(lambda0)]
    size = (mean / h).square().sum().item()
    sigma = h + h**2 * (h - 1) / (size * (h**2 + lambda0**2))
    assert log["curvatures"] == [[pytest.approx(sigma)]]
    train(optimizer, params, batches[n:])
    u = mean / mean.norm()
    Pg = g[n] + u * (sigma**-0.5 - 1) * (u @ g[n])
    assert torch.allclose(params[0], w - Pg / h)


def test_a_groups_step_size_sees_the_other_group():
    """It is that of its part of the product with the whole Hessian."""
    generator = torch.Generator().manual_seed(0)
    coupling = torch.randn(3, 3, dtype=F64, generator=generator)
    eye = torch.eye(3, dtype=F64)
    H = torch.cat([torch.cat([2 * eye, coupling], 1), torch.cat([coupling.T, 9 * eye], 1)])
    params = tensors(1, [3, 3])
    g = H @ torch.cat(params).detach()
    optimizer = thesis.OnlyAdaptiveSGD([{"params": [p]} for p in params], 2, 1, 2)
    train(optimizer, params, [(H, torch.zeros(6, dtype=F64))] * 2)
    parts = zip(g.split(3), (H @ g).split(3), strict=True)
    expected = [(v @ Hv / (Hv @ Hv)).item() for v, Hv in parts]
    assert optimizer.get_log()["lr"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("cls", "products"),
    [
        (thesis.PreconditionedSGD, N + M - 1),
        (thesis.AdaptiveSGD, N + M - 1),
        (thesis.OnlyAdaptiveSGD, N),
    ],
)
def test_variants_hold_the_weights_as_long_and_differ_in_cost(cls, products):
    params, batches = tensors(), quadratics(0, EPOCH)
    start = torch.cat(params).detach()
    optimizer = make(params, ONE_GROUP, cls=cls)
    train(optimizer, params, batches[: N + M - 1])
    assert torch.equal(torch.cat(params), start)
    assert optimizer.hvp_count == products
    (alpha,) = optimizer.get_log()["alpha"]
    H, c = batches[N + M - 1]
    train(optimizer, params, [(H, c)])
    is_plain = torch.allclose(torch.cat(params), start - alpha * (H @ start - c))
    assert is_plain == (cls is not thesis.PreconditionedSGD)


def test_tuned_variants_keep_their_step_size_and_lose_their_momentum():
    """After a restart the first update is without momentum, preconditioned, and of the tuned size."""
    params, batches = tensors(), quadratics(0, 2 * EPOCH)
    optimizer = thesis.PreconditionedTunedMomentum(params, 0.02, est_rank=RANK, num_observations=M)
    optimizer.prior_iterations = N
    for part in (batches[:EPOCH], batches[EPOCH : EPOCH + N + M - 1]):
        train(optimizer, params, part)
        assert optimizer.get_log()["lr"] == [0.02]
        optimizer.start_estimate()
    optimizer._position = N + M - 1
    before = torch.cat(params).detach()
    H, c = batches[-1]
    optimizer._preconditions = False
    train(optimizer, params, [(H, c)])
    assert torch.allclose(torch.cat(params), before - 0.02 * (H @ before - c))
    assert thesis.PreconditionedTunedSGD(params, 0.3).param_groups[0]["momentum"] == 0


def test_lr_is_not_used():
    params = tensors()
    optimizer = make(params, ONE_GROUP, lr=123.0)
    train(optimizer, params, quadratics(0, N + M - 1))
    assert optimizer.get_log()["lr"] == optimizer.get_log()["alpha"] != [123.0]


@pytest.mark.parametrize("lr", [0.0, 0.01, None])
def test_the_semantics_of_august_use_lr_until_the_first_restart(lr):
    """And one minibatch more makes no update."""
    params, batches = tensors(), quadratics(0, 2 * EPOCH)
    start = torch.cat(params).detach()
    optimizer = make(params, ONE_GROUP, lr=lr, semantics="2019-08-08", cls=thesis.AdaptiveSGD)
    train(optimizer, params, batches[: N + M])
    assert torch.equal(torch.cat(params), start)
    H, c = batches[N + M]
    train(optimizer, params, [(H, c)])
    rate = optimizer.get_log()["alpha"][0] if lr is None else lr
    assert torch.allclose(torch.cat(params), start - rate * (H @ start - c))
    optimizer.start_estimate()
    train(optimizer, params, batches[EPOCH : EPOCH + N + M])
    assert optimizer.get_log()["lr"] == optimizer.get_log()["alpha"]


def test_the_semantics_of_august_have_one_group():
    with pytest.raises(ValueError, match="one parameter group"):
        make(tensors(), TWO_GROUPS, semantics="2019-08-08")
    with pytest.raises(ValueError, match="semantics: 'july'"):
        make(tensors(), ONE_GROUP, semantics="july")


def test_negative_curvature_makes_a_negative_step_size():
    params = tensors(0, [5])
    H = -2 * torch.eye(5, dtype=F64)
    optimizer = thesis.PreconditionedSGD(params, 1, 2, 2)
    train(optimizer, params, [(H, c) for _, c in quadratics(0, 3, [5])])
    assert optimizer.get_log()["lr"] == [pytest.approx(-0.5)]


def test_a_tensor_without_gradient_is_left_alone():
    params, H = tensors(0, [3, 4]), torch.zeros(7, 7, dtype=F64)
    H[:3, :3] = torch.diag(torch.tensor([1.0, 2, 3]))
    start = params[1].detach().clone()
    optimizer = thesis.PreconditionedSGD(params, RANK, M, N)
    train(optimizer, params, [(H, torch.zeros(7, dtype=F64))] * (N + M))
    assert [len(U) for U in optimizer._curvatures[0].directions] == [RANK, 0]
    assert torch.equal(params[1], start)


def test_curvature_that_is_not_finite_ends_the_run():
    params = tensors(0, [3])
    optimizer = thesis.PreconditionedSGD(params, RANK, M, N)
    zero = (torch.zeros(3, 3, dtype=F64), torch.ones(3, dtype=F64))
    with pytest.raises(FloatingPointError, match="not finite"):
        train(optimizer, params, [zero] * N)


def test_without_curvature_the_step_size_is_not_a_number():
    params = tensors(0, [3])
    batches = [(torch.zeros(3, 3, dtype=F64), torch.ones(3, dtype=F64))] * (N + M)
    optimizer = thesis.OnlyAdaptiveSGD(params, RANK, M, N)
    train(optimizer, params, batches)
    assert math.isnan(optimizer.get_log()["lr"][0])
    assert params[0].isnan().all()


def test_a_restart_in_the_middle_of_an_estimate_begins_anew():
    params, batches = tensors(), quadratics(0, 4 * (N + M - 2))
    start = torch.cat(params).detach()
    optimizer = make(params, ONE_GROUP)
    for i in range(4):
        train(optimizer, params, batches[i * (N + M - 2) : (i + 1) * (N + M - 2)])
        optimizer.start_estimate()
    assert torch.equal(torch.cat(params), start)


def test_a_tensor_of_one_element_is_left_alone():
    params, batches = tensors(0, [1, 5]), quadratics(0, EPOCH, [1, 5])
    optimizer = thesis.PreconditionedSGD(params, RANK, M, N)
    train(optimizer, params, batches)
    assert [len(U) for U in optimizer._curvatures[0].directions] == [0, RANK]


MAKERS = {
    "PreconditionedSGD": lambda p: make(p, ONE_GROUP),
    "groups": lambda p: make(p, TWO_GROUPS),
    "2019-08-08": lambda p: make(p, ONE_GROUP, lr=0.05, semantics="2019-08-08"),
    "OnlyAdaptiveSGD": lambda p: make(p, ONE_GROUP, cls=thesis.OnlyAdaptiveSGD),
    "Momentum": lambda p: thesis.PreconditionedTunedMomentum(
        p, 0.02, est_rank=RANK, num_observations=M, prior_iterations=N
    ),
    "Adam": lambda p: make(p, ONE_GROUP, cls=thesis.Preconditioner, optim_class="Adam"),
}


@pytest.mark.parametrize("name", MAKERS)
def test_resuming_at_any_step_of_two_epochs_changes_no_bit(name):
    batches = quadratics(0, 2 * EPOCH)

    def go(optimizer, params, start, stop):
        for i in range(start, stop):
            if i == EPOCH:
                optimizer.start_estimate()
            train(optimizer, params, [batches[i]])

    params = tensors()
    go(MAKERS[name](params), params, 0, 2 * EPOCH)
    expected = torch.cat(params)
    params = tensors()
    optimizer = MAKERS[name](params)
    for i in range(2 * EPOCH):
        file = io.BytesIO()
        torch.save(optimizer.state_dict(), file)
        file.seek(0)
        others = [nn.Parameter(p.detach().clone()) for p in params]
        resumed = MAKERS[name](others)
        resumed.load_state_dict(torch.load(file, weights_only=True))
        twins, twin = copy.deepcopy((params, optimizer))
        go(resumed, others, i, 2 * EPOCH)
        go(twin, twins, i, 2 * EPOCH)
        assert torch.equal(torch.cat(others), expected), i
        assert torch.equal(torch.cat(twins), expected), i
        go(optimizer, params, i, i + 1)
