"""The interface of test problems; an own problem is a subclass of `Problem`.

For the common case, labelled examples that fit into memory, subclass
`jobs.problems.classification.Classification` instead: it needs two short methods.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from jobs.problems import checked
from jobs.problems.randomness import Randomness
from jobs.streams import stream
from jobs.sweep import Run

Batch = tuple[Tensor, ...]
"""The tensors of one minibatch, on the problem's device; only the problem looks inside."""

Split = Literal["train", "valid", "test"]


class Problem(ABC):
    """A model, its data and its loss, for one run.

    A class that a spec names by its dotted path is called as `Class(run, data=..., device=...)`:
    `data` is the folder of the data sets, if there is one. All randomness has to come from
    `run.seed` alone (`jobs.streams.stream`); at epoch e it may depend on e, but not on earlier
    calls.
    """

    model: nn.Module  # on the device
    has_accuracy: bool
    steps_per_epoch: int
    batch_size: int
    l2: float = 0.0  # DeepOBS' weight decay: part of the loss, not of the optimizer
    randomness: Randomness | None = None  # its state, if any, is the problem's

    def __init__(self, run: Run, *, data: Path | None, device: torch.device) -> None:
        """`data` is not used here, but by subclasses that read files."""
        del data
        self.run = run
        self.device = device
        self.batch_size = run.batch_size

    @abstractmethod
    def train_batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The minibatches of epoch `epoch` (from 1), in its own order, from step `start` on."""

    @abstractmethod
    def evaluation_batches(self, split: Split, epoch: int) -> Iterator[Batch]:
        """The minibatches over which `evaluate` takes the mean."""

    @abstractmethod
    def batch_loss(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """The mean loss (0-dim) over the batch, and the share of right answers (a number) or None."""

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """The loss to minimize, mean plus L2 (0-dim), and the accuracy (0-dim) or None."""
        loss, accuracy = self.batch_loss(batch)
        return loss + self.regularization() if self.l2 else loss, accuracy

    def regularization(self) -> Tensor:
        """DeepOBS' L2 term (0-dim): 0.5 * l2 * sum of squares of all weights; biases are free."""
        weights = [p for name, p in self.model.named_parameters() if not name.endswith("bias")]
        return 0.5 * self.l2 * torch.stack([(weight * weight).sum() for weight in weights]).sum()

    @torch.no_grad()
    def evaluate(self, split: Split, epoch: int) -> tuple[float, float | None]:
        """DeepOBS' evaluation: the means of the batches' losses (L2 included) and accuracies."""
        training = self.model.training
        self.model.eval()
        batches = self.evaluation_batches(split, epoch)
        results = [checked.batch_loss(self, batch) for batch in batches]
        regularization = self.regularization().item() if self.l2 else 0.0
        self.model.train(training)
        loss, accuracy = checked.means(self, split, results)
        return loss + regularization, accuracy

    def state_dict(self) -> dict[str, Any]:
        """The problem's state besides the model, for a run that goes on later: JSON values.

        If the state of step s of epoch e is loaded into a new object, `train_batches(e, start=s)`
        gives the same batches. It is empty if all streams are counter-based.
        """
        return self.randomness.state_dict() if self.randomness is not None else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        if self.randomness is not None:
            self.randomness.load_state_dict(state)


@contextmanager
def seeded(run: Run) -> Iterator[None]:
    """Seed torch's global CPU generator with the run's seed meanwhile, and restore it afterwards.

    This is for models whose layers draw their initial weights when they are made.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(stream(run.seed, "init").integers(2**63)))
        yield
