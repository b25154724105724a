"""The random choices of a test problem, by purpose, from counter-based streams (or `replay`)."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from jobs.streams import stream

Floats = npt.NDArray[np.floating[Any]]
Indices = npt.NDArray[np.int64]

Pass = Literal["train", "train_eval", "valid", "test"]
"""A pass over examples: for training, or for one of three evaluations."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Jitter:
    """The random choices of DeepOBS' CIFAR-10 augmentation, for N images."""

    top: Indices  # (N,), 0..4: where the crop begins
    left: Indices  # (N,), 0..4
    flip: npt.NDArray[np.bool_]  # (N,)
    factors: Floats  # (N, 3): brightness, contrast, saturation
    order: Indices  # (N, 3): which of the three comes first, second, third


LOWEST = (1 - 63 / 255, 0.2, 0.5)
HIGHEST = (1 + 63 / 255, 1.8, 1.5)
"""The ranges of brightness, contrast and saturation."""


class InitialDraws(Protocol):
    """The source of initial weights."""

    def uniform(self, n: int) -> Floats:
        """N numbers from U[0, 1)."""

    def normal(self, n: int) -> Floats:
        """N numbers from N(0, 1)."""

    def truncated_normal(self, n: int) -> Floats:
        """N numbers from N(0, 1), cut at two standard deviations."""


class Randomness(InitialDraws, Protocol):
    """The source of a problem's random choices: first initial weights, then the passes in order."""

    def split(self, n: int) -> Indices:
        """A permutation of the training file; its head is the validation set."""

    def order(self, what: Pass, epoch: int, n: int) -> Indices:
        """A permutation of n examples for one pass."""

    def no_order(self) -> None:
        """Note that a pass in the order of the file begins."""

    def jitter(self, what: Pass, epoch: int, step: int, n: int) -> Jitter:
        """The augmentation of the n images of one batch."""

    def state_dict(self) -> dict[str, Any]:
        """See `Problem.state_dict`."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Problem.load_state_dict`."""


class Streams:
    """The default protocol: each pass has a stream of its own, whatever was drawn before."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._init = stream(seed, "init")

    def uniform(self, n: int) -> Floats:
        """N numbers from U[0, 1)."""
        return self._init.random(n, dtype=np.float32)

    def normal(self, n: int) -> Floats:
        """N numbers from N(0, 1)."""
        return self._init.standard_normal(n, dtype=np.float32)

    def truncated_normal(self, n: int) -> Floats:
        """N numbers from N(0, 1), cut at two standard deviations."""
        return truncated(self._init.random(n))

    def split(self, n: int) -> Indices:
        """A permutation of the training file; its head is the validation set."""
        return stream(self._seed, "split").permutation(n)

    def order(self, what: Pass, epoch: int, n: int) -> Indices:
        """A permutation of n examples for one pass."""
        return stream(self._seed, f"order of {what}", epoch).permutation(n)

    def no_order(self) -> None:
        """Draw nothing for a pass in the order of the file."""

    def jitter(self, what: Pass, epoch: int, step: int, n: int) -> Jitter:
        """The augmentation of the n images of one batch."""
        draws = stream(self._seed, f"augmentation of {what}", epoch, step)
        return Jitter(
            top=draws.integers(5, size=n),
            left=draws.integers(5, size=n),
            flip=draws.random(n) < 0.5,
            factors=draws.uniform(LOWEST, HIGHEST, size=(n, 3)).astype(np.float32),
            order=draws.permuted(np.tile(np.arange(3), (n, 1)), axis=1),
        )

    def state_dict(self) -> dict[str, Any]:
        """Nothing is carried along."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing is carried along."""


def truncated(uniform: npt.NDArray[np.float64]) -> Floats:
    """U[0, 1) to N(0, 1) cut at two standard deviations, by the inverse distribution function."""
    low, high = ndtr(-2.0), ndtr(2.0)
    values: Floats = ndtri(uniform * high + (1 - uniform) * low)
    return values
