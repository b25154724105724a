"""The rule by which an estimate starts anew of its own accord."""

import pytest
import torch

import probprec


def quadratic_run(curvatures):
    """The steps at which maybe_start_estimate() restarts, while the curvature follows `curvatures`."""
    p = torch.ones(20, requires_grad=True)
    scale = torch.linspace(0.5, 1, 20)
    optimizer = probprec.PreconditionedSGD([p], 2, 2, 3)
    generator = torch.Generator().manual_seed(0)
    restarts = []
    for i, curvature in enumerate(curvatures):
        target = 3 + 0.5 * torch.randn(20, generator=generator)
        optimizer.zero_grad()
        optimizer.backward(0.5 * curvature * (scale * (p - target) ** 2).sum())
        optimizer.step()
        if optimizer.maybe_start_estimate():
            restarts.append(i)
    return restarts, optimizer


def test_an_estimate_restarts_by_itself_when_the_curvature_outgrows_it_and_only_then():
    assert quadratic_run([1.0] * 120)[0] == []
    assert quadratic_run([1.0] * 20 + [0.2] * 100)[0] == []
    restarts, optimizer = quadratic_run([1.0] * 12 + [3.5] * 60)
    assert restarts == [
        4 + 14
    ]  # the first update is at 4; the curvature is seen at once, and waits
    assert optimizer.get_log()["b0"][0] == pytest.approx(3.5, rel=0.3)


def test_the_restart_rule_survives_missing_and_broken_gradients():
    _, optimizer = quadratic_run([1.0] * 30)
    (p,) = optimizer.param_groups[0]["params"]
    for grad in (None, torch.full_like(p, torch.nan)):
        p.grad = grad
        optimizer.step()
        assert not optimizer.maybe_start_estimate()
