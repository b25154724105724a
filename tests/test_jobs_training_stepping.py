"""One step: what `step` asks for is what it gets, and every pass is counted."""

import pytest
import torch

from jobs.errors import InputError
from jobs.problems.problem import Problem
from jobs.regime import step_arguments
from jobs.regime.settings import Settings
from jobs.training.cost import Meter
from jobs.training.stepping import Stepper

CPU = torch.device("cpu")


class Noisy(Problem):
    """Least squares with dropout; the batch is a matrix (16, 3)."""

    has_accuracy = False
    steps_per_epoch = 20
    batch_size = 16

    def __init__(self):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.model = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(3, 1))

    def train_batches(self, epoch, start=0):
        for index in range(start, self.steps_per_epoch):
            draws = torch.Generator().manual_seed(100 * epoch + index)
            yield (torch.randn(16, 3, generator=draws),)

    def evaluation_batches(self, split, epoch):
        del split
        return self.train_batches(epoch)

    def batch_loss(self, batch):
        return (self.model(batch[0])[:, 0] - batch[0].sum(1)).square().mean(), None


class Recorder(torch.optim.SGD):
    """Remembers what each evaluation of the closure gave."""

    def evaluate(self, closure, times):
        self.losses = []
        for _ in range(times):
            loss = closure()
            self.losses.append(loss.item())
        self.gradients = [p.grad.clone() for p in self.param_groups[0]["params"]]


class Twice(Recorder):
    def step(self, closure):
        self.evaluate(closure, 2)
        super().step()


class Sam(Recorder):
    """Sharpness-aware: steps with the gradient of where the gradient leads to."""

    needs_closure = True

    def step(self, closure=None):
        before = [p.grad.clone() for p in self.param_groups[0]["params"]]
        with torch.no_grad():
            for p, gradient in zip(self.param_groups[0]["params"], before, strict=True):
                p.add_(gradient, alpha=0.05)
        self.evaluate(closure, 1)
        with torch.no_grad():
            for p, gradient in zip(self.param_groups[0]["params"], before, strict=True):
                p.sub_(gradient, alpha=0.05)
        super().step()


class Scaled(torch.optim.SGD):
    """Polyak's step: the loss scales it."""

    def step(self, loss):
        self.given = loss
        super().step()


class Idle(torch.optim.SGD):
    def step(self, closure):
        pass


class Greedy(torch.optim.SGD):
    def step(self, loss, outputs, *, more=1):
        pass


class Fused(torch.optim.SGD):
    def fused_backward(self, loss, lr):
        pass


def make(kind, **settings):
    problem = Noisy()
    optimizer = kind(problem.model.parameters(), **({"lr": 0.01} | settings))
    meter = Meter(CPU)
    return Stepper(problem, optimizer, meter, Settings()), problem, optimizer, meter.phases


def take(stepper, problem, steps=1):
    batches = problem.train_batches(1)
    return [stepper.take(batches.__next__).item() for _ in range(steps)]


def passes(phase):
    return phase.forward, phase.backward


def test_a_plain_step():
    stepper, problem, _, phases = make(torch.optim.SGD)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        losses = take(stepper, problem, 20)
    assert losses[-1] < losses[0]
    assert passes(phases["train"]) == (20, 20)
    assert passes(phases["apply"]) == (0, 0)


def test_every_evaluation_of_a_closure_sees_the_same_dropout():
    """The generator goes on as after one evaluation."""
    stepper, problem, optimizer, phases = make(Twice)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        (loss,) = take(stepper, problem)
        after = torch.get_rng_state()
    plain, problem, _, _ = make(torch.optim.SGD)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        assert take(plain, problem) == [loss]
        assert torch.equal(torch.get_rng_state(), after)

    assert optimizer.losses == [loss, loss]
    assert passes(phases["train"]) == (0, 0)
    assert passes(phases["apply"]) == (2, 2)


def test_statistics_of_batches_see_a_step_once():
    """BatchNorm's, of the first evaluation: at the weights that the step begins with."""
    seen = []
    for kind in (torch.optim.SGD, Twice, Sam):
        problem = Noisy()
        problem.model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
        torch.nn.init.eye_(problem.model[0].weight)
        torch.nn.init.zeros_(problem.model[0].bias)
        stepper = Stepper(problem, kind(problem.model.parameters(), lr=0.0), Meter(CPU), Settings())
        take(stepper, problem, steps=3)
        norm = problem.model[1]
        seen.append([norm.num_batches_tracked.item(), *norm.running_mean.tolist()])
    assert seen[0][0] == 3
    assert seen[1] == seen[0]
    assert seen[2] == seen[0]


def test_what_perturbs_the_weights_gets_the_gradient_first():
    stepper, problem, optimizer, phases = make(Sam)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        (loss,) = take(stepper, problem)

    assert optimizer.losses[0] > loss  # where the gradient leads to, with the same dropout
    assert passes(phases["train"]) == (1, 1)
    assert passes(phases["apply"]) == (1, 1)


def test_a_step_that_asks_for_the_loss():
    stepper, problem, optimizer, phases = make(Scaled)
    (loss,) = take(stepper, problem)
    assert optimizer.given.item() == loss
    assert passes(phases["train"]) == (1, 1)


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs_solves_least_squares(search):
    """Without noise, on one batch; each evaluation is counted."""
    stepper, problem, optimizer, phases = make(torch.optim.LBFGS, lr=1.0, line_search_fn=search)
    problem.model.eval()  # no dropout
    batch = next(problem.train_batches(1))
    losses = [stepper.take(lambda: batch).item() for _ in range(3)]
    counted = optimizer.state[next(problem.model.parameters())]["func_evals"]

    assert losses[-1] < 1e-8 < losses[0]
    assert passes(phases["apply"]) == (counted, counted)


def test_what_asks_for_more_is_refused():
    with pytest.raises(InputError, match=r"Greedy.step\(\) asks for loss and outputs"):
        make(Greedy)
    with pytest.raises(InputError, match="Fused updates the weights in the backward pass"):
        make(Fused)


def test_a_closure_that_is_never_called_is_named():
    stepper, problem, _, _ = make(Idle)
    with pytest.raises(InputError, match=r"Idle.step\(\) has not called its closure"):
        take(stepper, problem)


def test_what_has_two_steps_is_sharpness_aware():
    """Also if it requires the closure."""
    two = {"needs_closure": False, "first_step": len, "second_step": len}
    for base in (Sam, Twice):
        kind = type("Old", (base,), two)
        found = step_arguments.wants(kind([torch.nn.Parameter(torch.zeros(1))], lr=0.1))
        assert found == "closure after backward"
