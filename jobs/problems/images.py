"""The image problems: those of DeepOBS, two on scikit-learn's digits, and a vision transformer."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from jobs.datasets import find
from jobs.datasets.read import Bytes, read
from jobs.problems import cifar10_vit, nets
from jobs.problems.augment import augment
from jobs.problems.catalog import PROBLEMS
from jobs.problems.classification import Classification, Examples
from jobs.problems.randomness import InitialDraws, Pass
from jobs.sweep import Run


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The recipe of one problem's network."""

    network: Callable[[InitialDraws], nn.Module]  # with its initial weights
    l2: float = 0.0


def _recipe(
    network: Callable[[], nn.Sequential], init: nets.Init | None, *, l2: float = 0.0
) -> Recipe:
    return Recipe(network=partial(nets.build, network, init), l2=l2)


_MLP = _recipe(partial(nets.mlp, 784, 1000, 500, 100, 10), nets.truncated_normal(0.03, 0.0))
_2C2D = _recipe(
    partial(nets.two_conv_two_dense, 28, (32, 64), 1024, 5), nets.truncated_normal(0.05, 0.05)
)
_LOGREG = _recipe(nets.logreg, nets.zero)
_3C3D = partial(nets.three_conv_three_dense, nets.same_pool)
_ROOS = partial(nets.three_conv_three_dense, nets.centred_pool)

_RECIPES: dict[tuple[str, str], Recipe] = {
    ("digits_mlp", "deepobs"): _recipe(
        partial(nets.mlp, 64, 100, 50, 10), nets.truncated_normal(0.1, 0.0)
    ),
    ("digits_2c2d", "deepobs"): _recipe(
        partial(nets.two_conv_two_dense, 8, (8, 16), 64, 3), nets.truncated_normal(0.2, 0.05)
    ),
    ("mnist_logreg", "deepobs"): _LOGREG,
    ("mnist_mlp", "deepobs"): _MLP,
    ("mnist_2c2d", "deepobs"): _2C2D,
    ("fmnist_logreg", "deepobs"): _LOGREG,
    ("fmnist_mlp", "deepobs"): _MLP,
    ("fmnist_2c2d", "deepobs"): _2C2D,
    ("cifar10_3c3d", "deepobs"): _recipe(_3C3D, nets.xavier, l2=0.002),
    ("cifar10_roos", "deepobs"): _recipe(_ROOS, nets.xavier, l2=0.002),
    ("cifar10_roos", "torch"): _recipe(_ROOS, None, l2=0.002),
    ("cifar10_vit", "simple_vit"): Recipe(network=cifar10_vit.network),
}

_CIFAR10_MEAN = (0.49139968, 0.48215841, 0.44653091)
_CIFAR10_SD = (0.24703223, 0.24348513, 0.26158784)


class ImageProblem(Classification):
    """A problem of the catalog on a data set of images, which stay bytes until a batch is made."""

    white = 255  # the byte that becomes 1.0

    def __init__(self, run: Run, *, data: Path | None, device: torch.device) -> None:
        self._recipe = _RECIPES[run.problem, run.init]
        self.l2 = self._recipe.l2
        super().__init__(run, data=data, device=device)

    def examples(self, data: Path | None) -> tuple[Examples, Examples]:
        """The training file and the test file, from the folder that has them."""
        dataset = PROBLEMS[self.run.problem].dataset
        assert dataset is not None  # noqa: S101 - image problems have one
        images = read(dataset, find.find(dataset, data))
        train = _examples(images.train, images.train_labels)
        return train, _examples(images.test, images.test_labels)

    def network(self) -> nn.Module:
        """The recipe's network; on a CPU its convolutions are faster with the channels last."""
        net = self._recipe.network(self.randomness)
        if self.device.type == "cpu":
            net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in its stubs
        return net

    def prepare(self, inputs: Tensor, what: Pass, epoch: int, step: int) -> Tensor:  # noqa: ARG002 - as its base class
        """Scale bytes (B, C, H, W) to [0, 1]."""
        return inputs.float() / self.white


class Digits(ImageProblem):
    """8 x 8 digits: 1197 for training, 300 for validation, 300 for testing."""

    white = 16
    valid_size = 300
    train_eval_size = 300


class Cifar10(ImageProblem):
    """CIFAR-10: normalized; training images (those of the train loss, too) are augmented."""

    def __init__(self, run: Run, *, data: Path | None, device: torch.device) -> None:
        super().__init__(run, data=data, device=device)
        self._mean = torch.tensor(_CIFAR10_MEAN, device=device)[:, None, None]  # (3, 1, 1)
        self._sd = torch.tensor(_CIFAR10_SD, device=device)[:, None, None]  # (3, 1, 1)

    def prepare(self, inputs: Tensor, what: Pass, epoch: int, step: int) -> Tensor:
        """Augment and normalize images (B, 3, 32, 32) of bytes."""
        if what in ("train", "train_eval"):
            inputs = augment(inputs, self.randomness.jitter(what, epoch, step, len(inputs)))
        return (super().prepare(inputs, what, epoch, step) - self._mean) / self._sd

    def skip(self, what: Pass, epoch: int, step: int) -> None:
        """Draw the augmentation of a skipped batch."""
        self.randomness.jitter(what, epoch, step, self.batch_size)


def _examples(images: Bytes, labels: Bytes) -> Examples:
    inputs = torch.from_numpy(np.array(images))  # a copy: the file's bytes are read-only
    return Examples(inputs, torch.from_numpy(labels.astype(np.int64)))
