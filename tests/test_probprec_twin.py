"""Whole estimates against a slow dense twin, and against closed forms on quadratics."""

import pytest
import torch

import probprec

F64 = torch.float64
SIZES = (3, 1, 4)


def quadratics(seed, count, N, *, spread=0.2):
    """Minibatches (H_i, c_i) of the loss 1/2 w'H_i w - c_i'w, H_i symmetric and mostly positive."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*size):
        return torch.randn(*size, dtype=F64, generator=generator)

    root, center = draw(N, N), draw(N)
    H = root @ root.T + torch.eye(N, dtype=F64)
    batches = []
    for _ in range(count):
        E = draw(N, N)
        batches.append((H + spread * (E + E.T), center + spread * draw(N)))
    return batches


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
    """The documented algorithm, with dense matrices, one per tensor, and no algebra saved."""

    def __init__(self, w, n, m, rank, significance):
        self.w, self.n, self.m, self.rank = w.clone(), n, m, rank
        self.significance = significance
        self.products = 0
        self.P = self.alpha = None

    def posterior(self, S, Y, b0):
        """B_m and w0^2 C per tensor; S and Y hold a list of columns per tensor."""
        signal, noise, pairs, ordered = 0.0, 0.0, 0, 0
        for S_l, Y_l in zip(S, Y, strict=True):
            for i, s_i in enumerate(S_l):
                for j, s_j in enumerate(S_l):
                    t_ij, t_ji = s_i @ (Y_l[j] - b0 * s_j), s_j @ (Y_l[i] - b0 * s_i)
                    signal, pairs = signal + t_ij**2, pairs + 1
                    noise, ordered = noise + (t_ij - t_ji) ** 2 / 2, ordered + (i != j)
        noise = noise / max(ordered, 1)
        eps, energy = torch.finfo(F64).eps, float(signal / pairs - noise)
        rho = max(float(noise) / energy, eps**0.5) if energy > 0 else 1 / eps
        result = []
        for S_l, Y_l in zip(S, Y, strict=True):
            S_, Y_ = torch.stack(S_l, dim=1), torch.stack(Y_l, dim=1)
            K = torch.linalg.inv(S_.T @ S_ + rho * torch.eye(len(S_l), dtype=F64))
            eye = torch.eye(len(S_), dtype=F64)
            C = max(energy, 0) * (eye - S_ @ K @ S_.T)
            result.append((b0 * eye + (Y_ - b0 * S_) @ K @ S_.T, C))
        return result

    def estimate(self, batches):
        """Use n + m - 1 minibatches."""
        gradients = [H @ self.w - c for H, c in batches]
        products = [H @ g for (H, _), g in zip(batches, gradients, strict=True)][: self.n]
        pairs = list(zip(gradients, products, strict=False))
        self.alpha = float(sum(g @ y for g, y in pairs) / sum(y @ y for _, y in pairs))
        b0 = 1 / self.alpha
        S, Y = [[] for _ in SIZES], [[] for _ in SIZES]
        for i in range(self.m):
            H, _ = batches[self.n - 1 + i]
            if i == 0:
                s = (sum(gradients[: self.n]) / self.n).split(SIZES)
            else:
                g = gradients[self.n - 1 + i].split(SIZES)
                B = self.posterior(S, Y, b0)
                s = [torch.linalg.solve(B_l, g_l) for (B_l, _), g_l in zip(B, g, strict=True)]
            generator = torch.Generator().manual_seed(self.products + self.n + i)
            signs = 2 * torch.randint(2, (len(SIZES),), generator=generator).to(F64) - 1
            s = [s_l / s_l.norm() for s_l in s]
            y = H @ torch.cat([e * s_l for e, s_l in zip(signs, s, strict=True)])
            for j, (e, y_l) in enumerate(zip(signs, y.split(SIZES), strict=True)):
                S[j].append(s[j])
                Y[j].append(e * y_l)
        self.products += self.n + self.m
        blocks = []
        for B, C in self.posterior(S, Y, b0):
            values, vectors = torch.linalg.eigh((B + B.T) / 2)
            P = torch.eye(len(B), dtype=F64)
            for value, u in list(zip(values, vectors.T, strict=True))[::-1][: self.rank]:
                if value > b0 * 1.001 + self.significance * (u @ C @ u).clamp(min=0).sqrt():
                    P += (b0 / value - 1) * torch.outer(u, u)
            blocks.append(P)
        self.P = torch.block_diag(*blocks)

    def steps(self, batches):
        for H, c in batches:
            self.w = self.w - self.alpha * self.P @ (H @ self.w - c)


class Believer(probprec.Preconditioner):
    """Trusts the posterior mean."""

    significance = 0.0


@pytest.mark.parametrize("cls", [probprec.Preconditioner, Believer])
@pytest.mark.parametrize("seed", range(6))
def test_two_epochs_equal_those_of_the_dense_twin(seed, cls):
    n, m, rank, epoch = 4, 3, 2, 10
    params = tensors(seed)
    twin = Twin(torch.cat(params).detach(), n, m, rank, cls.significance)
    optimizer = cls(params, rank, m, n)
    batches = quadratics(seed, 2 * epoch, sum(SIZES))
    for part in (batches[:epoch], batches[epoch:]):
        twin.estimate(part[: n + m - 1])
        twin.steps(part[n + m - 1 :])
        optimizer.start_estimate()
        train(optimizer, params, part)
        assert optimizer.get_log()["alpha"] == pytest.approx([twin.alpha])
        assert torch.allclose(torch.cat(params), twin.w, rtol=1e-6, atol=1e-8)
    identity = torch.allclose(twin.P, torch.eye(sum(SIZES), dtype=F64), atol=0.05)
    assert identity == (optimizer.get_log()["curvatures"] == [[]])
    if cls is Believer:
        assert identity == (
            optimizer.get_log()["w0"] == [0.0]
        )  # seed 2 sees noise and nothing else


def test_a_noise_free_estimate_makes_newton_steps_along_sharp_directions():
    """Alpha is s'Bs / s'BBs, and the residual vanishes wherever the curvature exceeds 1/alpha."""
    H = torch.diag(torch.tensor([1.0, 2, 3, 4, 30], dtype=F64))
    c = torch.linspace(-1, 1, 5, dtype=F64)
    generator = torch.Generator().manual_seed(0)
    noisy = [(H, c + torch.randn(5, dtype=F64, generator=generator)) for _ in range(12)]
    params = tensors(1, [5])
    g = [H @ params[0].detach() - c_i for _, c_i in noisy[:4]]
    alpha = sum(v @ H @ v for v in g) / sum(v @ H @ H @ v for v in g)
    optimizer = probprec.PreconditionedSGD(
        params, est_rank=5, num_observations=9, prior_iterations=4
    )
    train(optimizer, params, noisy)
    assert optimizer.get_log()["lr"] == pytest.approx([alpha.item()])
    assert optimizer.get_log()["curvatures"] == [pytest.approx([30.0], rel=1e-4)]
    before = H @ params[0].detach() - c
    train(optimizer, params, [(H, c)])
    after = H @ params[0].detach() - c
    assert abs(after[4]) < 1e-4 * abs(before[4])
    assert torch.allclose(after[:4], (1 - alpha * H.diagonal()[:4]) * before[:4], rtol=1e-3)


def test_groups_have_the_step_size_of_their_own_block():
    """Two groups, curvatures 1e3 apart, coupled; each alpha is that of its diagonal block alone."""
    N = 6
    generator = torch.Generator().manual_seed(0)
    coupling = torch.randn(N, N, dtype=F64, generator=generator)
    a = torch.diag(torch.linspace(1, 10, N, dtype=F64))
    H = torch.cat([torch.cat([a, coupling], dim=1), torch.cat([coupling.T, a * 1e-3], dim=1)])
    params = tensors(2, [N, N])
    g_a, g_b = (H @ torch.cat(params).detach()).split(N)
    optimizer = probprec.PreconditionedSGD(
        [{"params": [params[0]]}, {"params": [params[1]]}], num_observations=2, prior_iterations=3
    )
    train(optimizer, params, [(H, torch.zeros(2 * N, dtype=F64))] * 4)
    expected = [g @ B @ g / (g @ B @ B @ g) for g, B in ((g_a, a), (g_b, a * 1e-3))]
    assert optimizer.get_log()["alpha"] == pytest.approx([e.item() for e in expected])
    assert optimizer.hvp_count == 2 * (3 + 2)


def test_own_step_sizes_solve_what_one_step_size_cannot():
    """Block-diagonal curvature, 1e3 apart: with groups the flat block converges in 200 steps."""
    curvature = torch.cat([torch.linspace(1, 10, 50), torch.linspace(1, 10, 50) * 1e-3]).to(F64)
    H, c = torch.diag(curvature), torch.zeros(100, dtype=F64)
    losses = []
    for grouped in (True, False):
        params = tensors(3, [50, 50])
        groups = [{"params": [p]} for p in params] if grouped else params
        train(probprec.AdaptiveSGD(groups, 2, 1, 1), params, [(H, c)] * 200)
        flat = params[1].detach()
        losses.append((0.5 * flat @ H[50:, 50:] @ flat).item())
    assert losses[0] < 1e-6 * losses[1]


def test_weight_decay_is_an_l2_penalty_for_gradient_and_curvature():
    """The same steps as with the penalty written into the loss."""
    decay, batches = 0.3, quadratics(5, 12, sum(SIZES))
    penalized = [(H + decay * torch.eye(len(H), dtype=F64), c) for H, c in batches]
    results = []
    for data, hyperparams in ((batches, {"weight_decay": decay}), (penalized, {})):
        params = tensors(5)
        optimizer = probprec.PreconditionedSGD(params, 2, 3, 4, momentum=0.5, **hyperparams)
        train(optimizer, params, data)
        results.append(torch.cat(params).detach())
    assert torch.allclose(*results, rtol=1e-9)
    groups = [{"params": [p], "weight_decay": decay} for p in tensors(5)]
    own = probprec.PreconditionedSGD(groups, weight_decay=9.0)
    assert [(group["l2"], group["weight_decay"]) for group in own.param_groups] == [(decay, 0)] * 3


def test_p_changes_nothing_where_no_curvature_exceeds_b0():
    """H = h I: alpha = 1/h, every eigenvalue is b0, so that P = I and one step solves it."""
    H, c = 7 * torch.eye(8, dtype=F64), torch.ones(8, dtype=F64)
    params = tensors(0)
    optimizer = probprec.PreconditionedSGD(params, 2, 3, 3)
    train(optimizer, params, [(H, c)] * 6)
    assert optimizer.get_log()["lr"] == [pytest.approx(1 / 7)]
    assert optimizer.get_log()["curvatures"] == [[]]
    assert torch.allclose(torch.cat(params), c / 7)
