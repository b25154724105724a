"""What can go wrong with arguments, gradients and curvature, and what happens then."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import probprec

FALLBACK = 1e-3


class Believer(probprec.PreconditionedSGD):
    """Trusts the posterior mean, so that there are directions to go wrong."""

    significance = 0.0


def run(params, loss_of_step, steps, **hyperparams):
    hyperparams = {"num_observations": 3, "prior_iterations": 3} | hyperparams
    optimizer = Believer(params, **hyperparams)
    for i in range(steps):
        optimizer.zero_grad()
        optimizer.backward(loss_of_step(i))
        optimizer.step()
    return optimizer


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"est_rank": -1}, "Invalid est_rank: -1"),
        ({"est_rank": 2.0}, "Invalid est_rank: 2.0"),
        ({"est_rank": True}, "Invalid est_rank: True"),
        ({"num_observations": 0}, "Invalid num_observations: 0"),
        ({"prior_iterations": 0}, "Invalid prior_iterations: 0"),
        ({"prior_iterations": "10"}, "Invalid prior_iterations: '10'"),
        ({"weight_decay": -0.1}, "Invalid weight_decay: -0.1"),
        ({"weight_decay": math.nan}, "Invalid weight_decay: nan"),
        ({"lr": -1.0}, "Invalid lr: -1.0"),
        ({"lr": math.inf}, "Invalid lr: inf"),
        ({"lr": "0.1"}, "Invalid lr: '0.1'"),
        ({"momentum": -1.0}, "Invalid momentum value: -1.0"),
        ({"maximize": True}, "Invalid maximize: True"),
        ({"betas": (0.9, 0.99)}, "unexpected keyword argument 'betas'"),
        ({"optim_class": "torch.optim.Adam", "betas": (2, 0)}, "Invalid beta parameter"),
        ({"optim_class": "torch.optim.Adan"}, "Invalid optim_class: 'torch.optim.Adan'"),
        ({"optim_class": "no_such.Adam"}, "Invalid optim_class: 'no_such.Adam'"),
        ({"optim_class": "torch.nn.Linear"}, "Invalid optim_class: 'torch.nn.Linear'"),
        ({"optim_class": 3}, "Invalid optim_class: 3"),
        ({"optim_class": torch.optim.LBFGS}, "its step\\(\\) needs a closure"),
    ],
)
def test_bad_hyperparameters_are_refused_with_their_value(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        probprec.Preconditioner([torch.ones(2, requires_grad=True)], **arguments)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ({"lr": -1}, "Invalid lr: -1"),
        ({"weight_decay": -1}, "Invalid weight_decay: -1"),
        ({"maximize": True}, "Invalid maximize: True"),
    ],
)
def test_bad_hyperparameters_of_a_group_are_refused(group, message):
    with pytest.raises(ValueError, match=message):
        probprec.PreconditionedSGD([{"params": [torch.ones(2, requires_grad=True)], **group}])


def test_parameters_that_cannot_be_optimized_are_refused():
    with pytest.raises(ValueError, match="complex64"):
        probprec.PreconditionedSGD([torch.ones(2, dtype=torch.complex64, requires_grad=True)])
    with pytest.raises(ValueError, match="empty parameter list"):
        probprec.PreconditionedSGD([])
    table = nn.Embedding(5, 2, sparse=True)
    optimizer = probprec.PreconditionedSGD(table.parameters())
    table(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(RuntimeError, match="sparse"):
        optimizer.step()


def test_gradients_without_a_graph_are_refused_with_the_remedy_and_nothing_is_lost():
    p = torch.ones(3, requires_grad=True)
    optimizer = probprec.PreconditionedSGD([p])
    (p**2).sum().backward()
    with pytest.raises(RuntimeError, match=r"call optimizer.backward\(loss\)"):
        optimizer.step()
    assert optimizer.get_log()["steps_since_start"] == 0


def test_negative_curvature_keeps_the_step_size():
    """In a concave region first, where nothing is known, and again later, when an alpha is."""
    p = torch.ones(4, requires_grad=True)
    optimizer = run([p], lambda _: -(p**2).sum(), 6)
    assert optimizer.get_log()["lr"] == [FALLBACK]
    assert optimizer.get_log()["alpha"] == optimizer.get_log()["b0"] == [None]
    assert torch.allclose(p, torch.full((4,), 1 + 2 * FALLBACK))
    assert run([p], lambda _: -(p**2).sum(), 6, lr=0.3).get_log()["lr"] == [0.3]

    convex = run([p], lambda _: (p**2).sum(), 6)
    assert convex.get_log()["lr"] == [pytest.approx(0.5)]
    convex.start_estimate()
    for _ in range(6):
        convex.zero_grad()
        convex.backward(-((p - 1) ** 2).sum())
        convex.step()
    assert convex.get_log()["lr"] == [pytest.approx(0.5)]
    assert convex.get_log()["curvatures"] == [[]]


def test_zero_gradients_and_flat_losses_keep_the_step_size():
    p = torch.zeros(4, requires_grad=True)
    assert run([p], lambda _: (p**2).sum(), 7).get_log()["lr"] == [FALLBACK]
    assert torch.equal(p, torch.zeros(4))
    q = torch.ones(4, requires_grad=True)
    assert run([p, q], lambda _: (p**2).sum() + q.sum(), 7).get_log()["lr"] == [FALLBACK]


def test_a_dead_layer_is_left_alone_and_the_others_are_not():
    generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    for p in net.parameters():
        p.data.normal_(generator=generator)
    net[0].bias.data.fill_(-100)
    x = torch.randn(20, 3, generator=generator)
    loss = lambda i: (net(x[i : i + 8]) - 1).square().sum()  # noqa: E731 -- one line is enough
    optimizer = run(net.parameters(), loss, 7)
    assert [len(c) for c in optimizer._estimates[0].shrinkage][:3] == [0, 0, 0]
    assert all(p.isfinite().all() for p in net.parameters())


def test_parameters_without_gradient_and_frozen_ones_stay_as_they_are():
    used, unused = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    frozen = torch.ones(3)
    optimizer = run(
        [unused, used, frozen], lambda i: (used**2).sum() * (1 + i), 8, weight_decay=0.1
    )
    assert unused.grad is None
    assert torch.equal(unused, torch.ones(3))
    assert torch.equal(frozen, torch.ones(3))
    assert not torch.equal(used, torch.ones(3))
    assert optimizer.get_log()["alpha"] != [None]


def test_a_parameter_may_get_a_gradient_only_now_and_then():
    a, b = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    run([a, b], lambda i: (a**2).sum() + (i % 2) * (b**3).sum(), 10)
    assert a.isfinite().all()
    assert b.isfinite().all()


def test_an_empty_group_and_a_step_without_any_gradient_do_nothing():
    p = torch.ones(3, requires_grad=True)
    optimizer = run([{"params": []}, {"params": [p]}], lambda _: (p**2).sum(), 7)
    assert optimizer.get_log()["alpha"] == [None, pytest.approx(0.5)]
    idle = probprec.PreconditionedSGD([p])
    for _ in range(20):
        p.grad = None
        idle.step()
    assert idle.get_log()["gradient_norm"] == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("step", range(7))
def test_a_minibatch_that_is_not_finite_never_enters_the_estimate(bad, step):
    """In the prior phase it costs the whole estimate, in the posterior phase the preconditioner."""
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(6, generator=generator).requires_grad_()
    noise = torch.randn(7, 6, generator=generator)
    noise[step] *= bad
    curvature = torch.linspace(1, 9, 6)
    loss = lambda i: (curvature * (p - noise[i]) ** 2).sum()  # noqa: E731 -- one line is enough
    optimizer = run([p], loss, 5, lr=None)
    log = optimizer.get_log()
    assert all(math.isfinite(lr) for lr in log["lr"])
    assert (log["lr"] == [FALLBACK]) == (step < 3)
    for U in optimizer._estimates[0].directions:
        assert U.isfinite().all()
    assert p.isfinite().all()


def test_a_broken_estimate_falls_back_to_the_last_alpha_and_the_identity():
    p = torch.ones(4, requires_grad=True)
    factor = [1.0]
    loss = lambda _: (factor[0] * torch.linspace(1, 9, 4) * p**2).sum()  # noqa: E731 -- one line
    optimizer = run([p], loss, 6)
    alpha = optimizer.get_log()["alpha"]
    optimizer.start_estimate()
    factor[0] = math.nan
    for _ in range(5):
        optimizer.zero_grad()
        optimizer.backward(loss(0))
        optimizer.step()
    assert optimizer.get_log()["lr"] == optimizer.get_log()["alpha"] == alpha
    assert optimizer.get_log()["b0"] == [None]
    p.grad = torch.ones(4)
    optimizer.step()
    assert torch.equal(p.grad, torch.ones(4))


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    rank=st.integers(0, 12),
    m=st.integers(1, 7),
    n=st.integers(1, 4),
    scale=st.sampled_from([1e-30, 1e-6, 1.0, 1e6, 1e18]),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
@settings(max_examples=60, deadline=None)
def test_any_shape_rank_and_scale_gives_a_contraction(*, sizes, rank, m, n, scale, dtype):
    """P only ever shortens the gradient, and keeps it a direction of descent."""
    generator = torch.Generator().manual_seed(0)
    params = [torch.randn(k, generator=generator).to(dtype).requires_grad_() for k in sizes]
    N = sum(sizes)
    H = torch.randn(N, N, generator=generator).to(dtype)
    H = (H @ H.T * scale).to(dtype)

    def loss(_):
        w = torch.cat(params)
        return 0.5 * w @ H @ (w - 2 * torch.randn(N, generator=generator).to(dtype))

    optimizer = run(params, loss, n + m - 1, est_rank=rank, num_observations=m, prior_iterations=n)
    g = torch.randn(N, generator=generator).to(dtype)
    for p, part in zip(params, g.split(sizes), strict=True):
        p.grad = part.clone()
    optimizer._precondition(optimizer.param_groups[0], optimizer._estimates[0])
    for p, part in zip(params, g.split(sizes), strict=True):
        slack = 1.01 if dtype != torch.bfloat16 else 1.1
        assert p.grad.norm() <= slack * part.norm()
        assert p.grad @ part >= 0
    for U in optimizer._estimates[0].directions:
        assert len(U) <= min(rank, U.shape[1])


def test_gradients_in_another_memory_layout_are_preconditioned_all_the_same():
    results = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        generator = torch.Generator().manual_seed(0)
        net = nn.Conv2d(3, 4, 3)
        for p in net.parameters():
            p.data.normal_(generator=generator)
        net = net.to(memory_format=memory_format)
        x = torch.randn(30, 3, 5, 5, generator=generator).to(memory_format=memory_format)
        loss = lambda i, net=net, x=x: net(x[3 * i :]).square().mean()  # noqa: E731 -- one line
        optimizer = run(net.parameters(), loss, 8)
        assert optimizer.get_log()["curvatures"] != [[]]
        results.append(torch.cat([p.detach().reshape(-1) for p in net.parameters()]))
    assert torch.allclose(*results, rtol=1e-3)
