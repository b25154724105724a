"""Loss and gradients of a minibatch are computed as the settings say: in parts, clipped, ..."""

import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from jobs.errors import InputError
from jobs.problems import checked
from jobs.problems.problem import Batch, Problem
from jobs.regime.settings import Settings


class Passes:
    """The passes over a minibatch that give an optimizer its gradients.

    A minibatch in k parts (`accumulate`) has the loss and the gradients of the whole: each part
    counts with its share of the examples. BatchNorm's statistics and dropout's draws, which depend
    on a whole batch, are those of a part. The complete gradients are clipped, first entry by entry,
    then by their norm over all parameters.
    """

    def __init__(
        self, problem: Problem, optimizer: torch.optim.Optimizer, settings: Settings
    ) -> None:
        """Raises InputError if the settings do not fit the optimizer or the batch size."""
        self._parts = settings.accumulate
        self.backwards = 0
        """Backward passes so far."""
        self._problem = problem
        self._optimizer = optimizer
        self._settings = settings
        own: Callable[[Tensor], None] | None = getattr(optimizer, "backward", None)
        self._backward = own or (_with_graph if settings.create_graph else Tensor.backward)
        require(optimizer, settings)
        if self._parts > problem.batch_size:
            raise InputError(
                f"accumulate: {self._parts} parts of a minibatch of {problem.batch_size}"
            )

    def gradients(self, batch: Batch) -> Tensor:
        """Put the gradients of the batch into the parameters; returns its loss (0-dim)."""
        self._optimizer.zero_grad()
        loss = self._accumulated(batch) if self._parts > 1 else self._whole(batch)
        self._clip()
        return loss

    def buffers(self) -> Iterator[Tensor]:
        """The buffers of the model."""
        return self._problem.model.buffers()

    def _whole(self, batch: Batch) -> Tensor:
        loss = checked.loss(self._problem, batch)
        self._pass_back(loss)
        return loss

    def _pass_back(self, loss: Tensor) -> None:
        self._backward(loss)
        self.backwards += 1

    def _accumulated(self, batch: Batch) -> Tensor:
        losses = []
        for share, part in _split(batch, self._parts):
            loss = checked.loss(self._problem, part) * share
            self._pass_back(loss)
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def _clip(self) -> None:
        value, norm = self._settings.clip_value, self._settings.clip_norm
        if value is None and norm is None:
            return
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        if value is not None:
            torch.nn.utils.clip_grad_value_(parameters, value)
        if norm is not None:
            torch.nn.utils.clip_grad_norm_(parameters, norm)


def require(optimizer: torch.optim.Optimizer, settings: Settings) -> None:
    """Raise InputError if the optimizer's own backward passes contradict the settings."""
    if not callable(getattr(optimizer, "backward", None)):
        return
    if settings.accumulate > 1 or settings.compile or settings.create_graph:
        raise InputError(
            f"{type(optimizer).__name__} makes its backward passes itself and differentiates twice:"
            " accumulate, compile and create_graph cannot be had with it; leave them out"
        )


def _with_graph(loss: Tensor) -> None:
    with warnings.catch_warnings():
        # the gradients are freed before the next pass, and so is the cycle that torch warns of
        warnings.filterwarnings("ignore", "Using backward.. with create_graph=True", UserWarning)
        loss.backward(create_graph=True)  # type: ignore[no-untyped-call]  # torch has no types here


def _split(batch: Batch, parts: int) -> Iterator[tuple[float, Batch]]:
    """The share of the examples, and the tensors, of each part of the batch."""
    sizes = {len(tensor) if tensor.ndim else 0 for tensor in batch}
    if len(sizes) != 1 or 0 in sizes:
        raise InputError(
            f"accumulate: the tensors of a minibatch have {sorted(sizes)} entries along their first"
            f" dimension; to be cut into {parts} parts they need as many as each other, an entry per"
            " example"
        )
    (size,) = sizes  # an epoch's last minibatch may be smaller
    for tensors in zip(*(tensor.tensor_split(min(parts, size)) for tensor in batch), strict=True):
        yield len(tensors[0]) / size, tensors
