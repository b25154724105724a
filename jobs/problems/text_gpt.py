"""`text_gpt`: a small GPT-2 predicts the next byte of a text, the Jargon File or a user's own.

The network is GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners")
in the sizes in which Karpathy's nanoGPT trains it on CPUs: 4 layers, 4 heads, width 128, no
dropout. The context is 128 bytes. It has 842,496 parameters.

The text is taken as bytes: of its length the first 90 % are for training, then 5 % for validation
and 5 % for testing. Windows of 128 bytes lie side by side in it, each with the byte after it, and
a batch is of windows. In epoch e they begin at an offset of 0..127 that is drawn for e, and come
in a new order: an epoch is one pass over the training text. The train loss is evaluated on as
many training windows, without an offset, as the validation text has, drawn anew each time. An
incomplete last batch is dropped.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from jobs.datasets import find
from jobs.datasets.read import read_text
from jobs.errors import InputError
from jobs.problems import nets
from jobs.problems.problem import Batch, Problem, Split
from jobs.problems.protocols import randomness_of
from jobs.problems.randomness import InitialDraws, Pass, Randomness
from jobs.problems.transformer import Block
from jobs.streams import stream
from jobs.sweep import Run

_BYTE_VALUES = 256
_CONTEXT_BYTES = 128
_WIDTH = 128
_LAYERS = 4
_HEADS = 4
_SPLIT_PERCENT: dict[Split, tuple[int, int]] = {
    "train": (0, 90),
    "valid": (90, 95),
    "test": (95, 100),
}


class TextGpt(Problem):
    """Mean cross entropy of the next byte, in nats; a subclass with another `text` has its own.

    The problem has no accuracy: language models are compared by their loss, also in tables.
    """

    has_accuracy = False
    randomness: Randomness

    def __init__(self, run: Run, *, data: Path | None, device: torch.device) -> None:
        super().__init__(run, data=data, device=device)
        self.randomness = randomness_of(run)
        text = torch.frombuffer(bytearray(self.text(data)), dtype=torch.uint8).to(device)
        self._texts = {
            split: text[len(text) * begin // 100 : len(text) * end // 100]
            for split, (begin, end) in _SPLIT_PERCENT.items()
        }
        self._check_sizes()
        self.steps_per_epoch = self._count("train") // self.batch_size
        self._reach = torch.arange(_CONTEXT_BYTES + 1, device=device)
        self.model = network(self.randomness).to(device)

    def text(self, data: Path | None) -> bytes:
        """The Jargon File, from the folder that has it."""
        return read_text("jargon", find.find("jargon", data))

    def train_batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """One pass over the training text: the windows of this epoch's offset, in a new order."""
        offset = int(stream(self.run.seed, "offset of train", epoch).integers(_CONTEXT_BYTES))
        return self._batches("train", offset + _CONTEXT_BYTES * self._order("train", epoch), start)

    def evaluation_batches(self, split: Split, epoch: int) -> Iterator[Batch]:
        """Random windows of the training text, or all windows of another split in order."""
        count = self._count("valid")
        if split == "train":
            return self._batches("train", _CONTEXT_BYTES * self._order("train_eval", epoch)[:count])
        self.randomness.no_order()
        windows = torch.arange(self._count(split), device=self.device)
        return self._batches(split, _CONTEXT_BYTES * windows)

    def batch_loss(self, batch: Batch) -> tuple[Tensor, None]:
        """The mean over all bytes of the windows (B, T + 1), except each window's first."""
        (windows,) = batch
        logits = self.model(windows[:, :-1])  # (B, T, 256)
        return functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten()), None

    def _count(self, split: Split) -> int:
        """The number of windows in the text, for any offset."""
        return len(self._texts[split]) // _CONTEXT_BYTES - 1

    def _order(self, what: Pass, epoch: int) -> Tensor:
        order = self.randomness.order(what, epoch, self._count("train"))
        return torch.from_numpy(order).to(self.device)

    def _batches(self, split: Split, begins: Tensor, start: int = 0) -> Iterator[Batch]:
        for step in range(start, len(begins) // self.batch_size):
            chosen = begins[step * self.batch_size : (step + 1) * self.batch_size]
            yield (self._texts[split][chosen[:, None] + self._reach].long(),)

    def _check_sizes(self) -> None:
        smallest = max(0, min(map(self._count, self._texts)))
        if not 1 <= self.batch_size <= smallest:
            raise InputError(
                f"batch size {self.batch_size}: {self.run.problem} evaluates on {smallest} windows"
                f" of {_CONTEXT_BYTES} bytes, and a batch has to be full"
            )


class Gpt(nn.Module):
    """GPT-2: learned positions, pre-LN blocks, and the embedding of the bytes as its last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = nn.Embedding(_BYTE_VALUES, _WIDTH)
        self.positions = nn.Embedding(_CONTEXT_BYTES, _WIDTH)
        self.blocks = nn.Sequential(
            *[Block(_WIDTH, _HEADS, is_causal=True) for _ in range(_LAYERS)]
        )
        self.norm = nn.LayerNorm(_WIDTH)

    def forward(self, text: Tensor) -> Tensor:
        """Logits (B, T, 256) of the byte after each of the text's (B, T)."""
        tokens = self.bytes(text) + self.positions.weight[: text.shape[1]]  # (B, T, D)
        return functional.linear(self.norm(self.blocks(tokens)), self.bytes.weight)


def network(draws: InitialDraws) -> Gpt:
    """GPT-2's initial weights: N(0, 0.02^2), no biases, layer norms that change nothing.

    The layers whose output is added to their block's input have 0.02 / sqrt(2 * layers) instead.
    """
    net = nets.empty(Gpt)
    for name, weight in net.named_parameters():
        if name.endswith("bias"):
            nets.constant(weight, 0.0)
        elif weight.ndim == 1:  # a layer norm's
            nets.constant(weight, 1.0)
        else:
            is_added = name.endswith(("attention.out.weight", "mlp.2.weight"))
            sd = 0.02 / (2 * _LAYERS) ** 0.5 if is_added else 0.02
            nets.fill(weight, sd * draws.normal(weight.numel()))
    return net
