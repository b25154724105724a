"""The noisy quadratic: its spectrum, its rotations, its gradient, its optimum."""

import numpy as np
import torch

from jobs.problems.quadratic import QuadraticDeep, _hessian
from tests.helpers import make_run

RUN = make_run(problem="quadratic_deep", hyperparameters={}, batch_size=128)


def make(rotation=0):
    return QuadraticDeep(RUN, data=None, device=torch.device("cpu"), rotation=rotation)


def test_ninety_eigenvalues_are_small_and_ten_are_large_in_every_rotation():
    first, second = _hessian(0), _hessian(1)
    values = np.linalg.eigvalsh(first)
    assert values[0] > 0
    assert values[89] < 1
    assert values[90] > 30
    assert values[99] < 60
    assert np.allclose(np.linalg.eigvalsh(second), values)
    assert not np.allclose(first, second)


def test_the_loss_is_the_quadratic_form_and_its_gradient_is_known():
    problem = make()
    (points,) = batch = next(problem.train_batches(1))
    loss, accuracy = problem.loss(batch)
    loss.backward()
    residual = problem.model.theta.detach().double() - points.double()  # (B, D)
    q = problem.model.hessian.double()
    expected = 0.5 * torch.einsum("bi,ij,bj->b", residual, q, residual).mean()
    assert accuracy is None
    assert torch.allclose(loss.double(), expected, rtol=1e-6)
    gradient = q @ residual.mean(dim=0)
    assert torch.allclose(problem.model.theta.grad.double(), gradient, rtol=1e-4, atol=1e-4)


def test_only_theta_is_trained_and_the_three_sets_differ():
    problem = make()
    assert [name for name, _ in problem.model.named_parameters()] == ["theta"]
    losses = [problem.evaluate(split, 0)[0] for split in ("train", "valid", "test")]
    assert len(set(losses)) == 3


def test_the_optimum_is_the_same_in_every_rotation():
    """At theta = 0 the loss is 0.5 * 0.36 * trace(Q), up to the sampling of the points."""
    for rotation in (0, 3):
        problem = make(rotation)
        with torch.no_grad():
            problem.model.theta.zero_()
        expected = 0.18 * problem.model.hessian.trace().item()
        assert abs(problem.evaluate("test", 0)[0] / expected - 1) < 0.05
