"""Problems with labelled examples in memory follow DeepOBS' procedure, batched on the device."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from jobs.errors import InputError
from jobs.problems import checked
from jobs.problems.problem import Batch, Problem, Split, seeded
from jobs.problems.protocols import randomness_of
from jobs.problems.randomness import Pass, Randomness
from jobs.sweep import Run


@dataclass(frozen=True, eq=False)
class Examples:
    """Inputs as they are stored (images: bytes), and labels (int64)."""

    inputs: Tensor  # (N, ...)
    labels: Tensor  # (N,)

    def to(self, device: torch.device) -> "Examples":
        """The same examples on `device`."""
        return Examples(self.inputs.to(device), self.labels.to(device))

    def __len__(self) -> int:
        """N, the number of examples."""
        return len(self.labels)


class Classification(Problem):
    """Cross entropy over labelled examples; an own problem defines `examples` and `network`.

    As in DeepOBS `valid_size` random examples of the training file are for validation; the train
    loss is evaluated on `train_eval_size` random examples of the whole training file, drawn anew
    each time; and every pass drops an incomplete last batch.
    """

    has_accuracy = True
    valid_size = 10_000
    train_eval_size = 10_000
    randomness: Randomness

    def __init__(self, run: Run, *, data: Path | None, device: torch.device) -> None:
        super().__init__(run, data=data, device=device)
        self.randomness = randomness_of(run)
        train, test = self.examples(data)
        for name, examples in (("training", train), ("test", test)):
            self._check_labels(name, examples)
        self._check_sizes(len(train), len(test))
        split = self.randomness.split(len(train))
        self._indices = {
            "train": torch.from_numpy(split[self.valid_size :]).to(device),
            "valid": torch.from_numpy(split[: self.valid_size]).to(device),
        }
        self._train, self._test = train.to(device), test.to(device)
        self.steps_per_epoch = (len(train) - self.valid_size) // self.batch_size
        with seeded(run):
            self.model = self.network().to(device)

    @abstractmethod
    def examples(self, data: Path | None) -> tuple[Examples, Examples]:
        """The training file (the validation set included) and the test file."""

    @abstractmethod
    def network(self) -> nn.Module:
        """The model with its initial weights; torch's global generator is the run's own here."""

    def prepare(self, inputs: Tensor, what: Pass, epoch: int, step: int) -> Tensor:  # noqa: ARG002 - for subclasses
        """The model's inputs (B, ...) from the stored ones of a batch; by default unchanged."""
        return inputs

    def train_batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """One pass over the training set in a new order."""
        indices = self._indices["train"]
        order = self._order("train", epoch, len(indices))
        return self._batches(self._train, indices[order], "train", epoch, start)

    def evaluation_batches(self, split: Split, epoch: int) -> Iterator[Batch]:
        """One pass over the train_eval, the validation or the test set."""
        if split == "train":
            order = self._order("train_eval", epoch, len(self._train))[: self.train_eval_size]
            return self._batches(self._train, order, "train_eval", epoch)
        if split == "valid":
            indices = self._indices["valid"]
            order = self._order("valid", epoch, len(indices))
            return self._batches(self._train, indices[order], "valid", epoch)
        self.randomness.no_order()
        everything = torch.arange(len(self._test), device=self.device)
        return self._batches(self._test, everything, "test", epoch)

    def batch_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean cross entropy, and the share of right answers."""
        inputs, labels = batch
        logits = self.model(inputs)  # (B, classes)
        if logits.ndim != 2 or len(logits) != len(labels):
            raise InputError(
                f"{type(self).__name__}.network(): the model has to give logits of shape"
                f" ({len(labels)}, classes) for {len(labels)} examples, it gives {tuple(logits.shape)}"
            )
        with torch.no_grad():
            accuracy = (logits.argmax(dim=1) == labels).float().mean()
        return functional.cross_entropy(logits, labels), accuracy

    def _order(self, what: Pass, epoch: int, n: int) -> Tensor:
        return torch.from_numpy(self.randomness.order(what, epoch, n)).to(self.device)

    def _batches(
        self, examples: Examples, order: Tensor, what: Pass, epoch: int, start: int = 0
    ) -> Iterator[Batch]:
        for step in range(len(order) // self.batch_size):
            chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
            if step < start:
                self.skip(what, epoch, step)
                continue
            inputs = self.prepare(examples.inputs[chosen], what, epoch, step)
            yield inputs, examples.labels[chosen]

    def skip(self, what: Pass, epoch: int, step: int) -> None:
        """Draw the random numbers that `prepare` would draw for a skipped batch."""

    def _check_labels(self, name: str, examples: Examples) -> None:
        labels: object = examples.labels  # a user's: of any type
        if not isinstance(labels, Tensor) or labels.ndim != 1 or labels.dtype != torch.int64:
            raise InputError(
                f"{type(self).__name__}.examples(): the labels of the {name} file have to be class"
                f" numbers, a tensor of int64 and shape (N,); they are {checked.form(labels)}."
                " Probabilities need a `batch_loss` of the problem's own"
            )
        if len(examples.inputs) != len(labels):
            raise InputError(
                f"{type(self).__name__}.examples(): the {name} file has {len(examples.inputs)} inputs"
                f" and {len(labels)} labels"
            )

    def _check_sizes(self, train: int, test: int) -> None:
        smallest = min(train - self.valid_size, self.valid_size, self.train_eval_size, test)
        if not 1 <= self.batch_size <= smallest:
            raise InputError(
                f"batch size {self.batch_size}: {self.run.problem} evaluates on {smallest} "
                f"examples, and a batch has to be full"
            )
