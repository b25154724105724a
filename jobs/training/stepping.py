"""One step of a training: the passes over a minibatch, and what the optimizer makes of them."""

import inspect
from collections.abc import Callable

import torch
from torch import Tensor

from jobs.errors import InputError
from jobs.problems.problem import Batch, Problem
from jobs.regime.passes import Passes
from jobs.regime.settings import Settings
from jobs.regime.step_arguments import Wants, wants
from jobs.training.cost import Meter


class Stepper:
    """A stepper takes the optimizer's steps.

    `step()` is called after a backward pass; `step(loss)` gets its loss. An optimizer that asks for
    a closure evaluates the loss itself, as often as it likes, of the same minibatch and with the same
    random numbers (`torch.optim.LBFGS`). One that perturbs the weights first gets the closure after
    a backward pass (SAM, Foret et al. 2021: it has `first_step` and `second_step`, or says
    `needs_closure = True`). Further passes are counted with the optimizer's own work.
    """

    def __init__(
        self,
        problem: Problem,
        optimizer: torch.optim.Optimizer,
        meter: Meter,
        settings: Settings,
    ) -> None:
        """Raises InputError if `step` asks for other arguments."""
        self._problem = problem
        self._optimizer = optimizer
        self._meter = meter
        if settings.closure:
            require_closure(optimizer)
        self._wants: Wants = "closure" if settings.closure else wants(optimizer)
        self._passes = Passes(problem, optimizer, settings)
        self.forwards = 0
        """Forward passes of the model so far, evaluations included."""
        problem.model.register_forward_hook(self._count)

    def take(self, next_batch: Callable[[], Batch]) -> Tensor:
        """Take a step; returns the minibatch's loss before the step (0-dim, without graph)."""
        estimating = bool(getattr(self._optimizer, "estimating", False))
        before, hvps = self.forwards, getattr(self._optimizer, "hvp_count", 0)
        with self._meter.phase("estimate" if estimating else "train") as phase:
            batch, backwards = next_batch(), self._passes.backwards
            evaluate = Evaluation(
                self._passes, batch, is_repeated=self._wants.startswith("closure")
            )
            loss = None if self._wants == "closure" else evaluate()
            phase.forward += self.forwards - before
            phase.backward += self._passes.backwards - backwards
        before, backwards = self.forwards, self._passes.backwards
        with self._meter.phase("estimate" if estimating else "apply") as phase:
            self._step(loss, evaluate)
            phase.hvp += getattr(self._optimizer, "hvp_count", 0) - hvps
            if self._wants.startswith("closure"):
                phase.forward += self.forwards - before
                phase.backward += self._passes.backwards - backwards
        if evaluate.first is None:
            raise InputError(f"{type(self._optimizer).__name__}.step() has not called its closure")
        return evaluate.first

    def _step(self, loss: Tensor | None, evaluate: "Evaluation") -> None:
        if self._wants.startswith("closure"):
            self._optimizer.step(evaluate)  # type: ignore[arg-type]  # a tensor, as in torch's examples
        elif self._wants == "loss":
            self._optimizer.step(loss)  # type: ignore[arg-type]  # torch knows of closures only
        else:
            self._optimizer.step()

    def _count(self, *_: object) -> None:
        self.forwards += 1


class Evaluation:
    """The closure of a step: loss and gradients of one minibatch, the same randomness each time.

    Running statistics of the model (BatchNorm) see only the first evaluation of a step.
    """

    def __init__(self, passes: Passes, batch: Batch, *, is_repeated: bool) -> None:
        self._passes = passes
        self._batch = batch
        self._generators = _generators() if is_repeated else None
        self._buffers: list[Tensor] = []  # the model's, after the first evaluation
        self.count = 0
        self.first: Tensor | None = None
        """The first loss, without graph."""

    def __call__(self) -> Tensor:
        """Evaluate loss and gradients at the present weights."""
        if self.count and self._generators is not None:
            _restore(*self._generators)
        with torch.enable_grad():
            loss = self._passes.gradients(self._batch)
        self._keep_buffers()
        self.count += 1
        if self.first is None:
            self.first = loss.detach()
        return loss

    def _keep_buffers(self) -> None:
        if self._generators is None:
            return
        if not self.count:
            self._buffers = [buffer.clone() for buffer in self._passes.buffers()]
            return
        for buffer, kept in zip(self._passes.buffers(), self._buffers, strict=True):
            buffer.copy_(kept)


def require_closure(optimizer: torch.optim.Optimizer) -> None:
    """Refuse (InputError) an optimizer whose `step` takes no closure."""
    if not inspect.signature(optimizer.step).parameters:
        raise InputError(f"closure: {type(optimizer).__name__}.step() takes none; leave it out")


def _generators() -> tuple[Tensor, list[Tensor]]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return torch.get_rng_state(), cuda


def _restore(cpu: Tensor, cuda: list[Tensor]) -> None:
    torch.set_rng_state(cpu)
    if cuda:
        torch.cuda.set_rng_state_all(cuda)
