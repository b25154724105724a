"""The random numbers of DeepOBS' own runs in 2019, replayed: protocol `deepobs-2019`.

DeepOBS seeded three global Mersenne twisters with the same number. Two matter here: Python's
(the split, the augmentation) and that of torch 1.x on the CPU (initial weights, orders). Both are
rebuilt as objects of their own, torch's draw by draw, because later versions draw differently.

The state is carried along, so passes have to be asked for in the order of the protocol.
"""

import random
from typing import Any

import numpy as np

from jobs.problems.randomness import (
    HIGHEST,
    LOWEST,
    Floats,
    Indices,
    Jitter,
    Pass,
    truncated,
)


class Torch2019:
    """The CPU generator of torch 1.x after `torch.manual_seed(seed)`, and torch's draws from it."""

    def __init__(self, seed: int) -> None:
        self._state = np.random.RandomState(seed)
        self._bits = self._state._bit_generator  # noqa: SLF001 - RandomState has no public name for it

    def draw(self, n: int) -> Indices:
        """N raw 32-bit draws."""
        return self._bits.random_raw(n).astype(np.int64)

    def uniform(self, n: int) -> Floats:
        """`torch.rand(n)`: 24 bits of each draw."""
        return (self.draw(n) & 0xFFFFFF).astype(np.float32) * np.float32(2**-24)

    def normal(self, n: int) -> Floats:
        """`torch.randn(n)` for n >= 16: Box-Muller in blocks of 16, the last 16 drawn anew."""
        values = self.uniform(n)
        whole = n // 16 * 16
        values[:whole] = _box_muller(values[:whole])
        if whole < n:
            values[-16:] = _box_muller(self.uniform(16))
        return values

    def randperm(self, n: int) -> Indices:
        """`torch.randperm(n)`: item i changes places with one of those from i on."""
        targets = np.arange(n - 1) + self.draw(n - 1) % np.arange(n, 1, -1)
        order = list(range(n))
        for i, j in enumerate(targets.tolist()):
            order[i], order[j] = order[j], order[i]
        return np.array(order, dtype=np.int64)

    def state_dict(self) -> dict[str, Any]:
        """The state, as JSON values."""
        _, key, position, *_ = self._state.get_state(legacy=True)
        return {"key": [int(word) for word in key], "position": int(position)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        key = np.array(state["key"], dtype=np.uint32)
        self._state.set_state(("MT19937", key, state["position"], 0, 0.0))


class Replay:
    """The random choices of a run of 2019: `jobs.problems.randomness.Randomness`."""

    def __init__(self, seed: int) -> None:
        self._torch = Torch2019(seed)
        self._python = random.Random(seed)  # noqa: S311 - the very generator of then
        self._before_training: dict[str, Any] | None = None  # while a training pass is open

    def uniform(self, n: int) -> Floats:
        """N numbers from U[0, 1)."""
        return self._torch.uniform(n)

    def normal(self, n: int) -> Floats:
        """N numbers from N(0, 1)."""
        return self._torch.normal(n)

    def truncated_normal(self, n: int) -> Floats:
        """N numbers from N(0, 1), cut at two standard deviations: by NumPy, seeded by torch."""
        seed = int(self._torch.draw(1)[0]) % (2**32 - 1)
        return truncated(np.random.RandomState(seed).random_sample(n))

    def split(self, n: int) -> Indices:
        """A permutation of the training file; its head is the validation set."""
        order = list(range(n))
        self._python.shuffle(order)
        return np.array(order, dtype=np.int64)

    def order(self, what: Pass, epoch: int, n: int) -> Indices:  # noqa: ARG002 - epochs follow each other
        """A permutation of n examples for one pass."""
        self._before_training = self._current() if what == "train" else None
        self.no_order()
        return self._torch.randperm(n)

    def no_order(self) -> None:
        """Draw what a DataLoader drew for a pass in the order of the file: a seed for workers."""
        self._torch.draw(2)

    def jitter(self, what: Pass, epoch: int, step: int, n: int) -> Jitter:  # noqa: ARG002 - as `order`
        """The augmentation of the n images of one batch, as torchvision 0.4 drew it."""
        python = self._python
        places, flips, factors, orders = [], [], [], []
        for _ in range(n):
            places.append((python.randint(0, 4), python.randint(0, 4)))
            flips.append(python.random() < 0.5)
            brightness, contrast, saturation = map(python.uniform, LOWEST, HIGHEST)
            factors.append((brightness, contrast, saturation))
            order = [0, 1, 2]
            python.shuffle(order)
            orders.append(order)
        top, left = np.array(places, dtype=np.int64).T
        return Jitter(
            top=top,
            left=left,
            flip=np.array(flips),
            factors=np.array(factors, dtype=np.float32),
            order=np.array(orders, dtype=np.int64),
        )

    def state_dict(self) -> dict[str, Any]:
        """The states of both generators; within a training pass, those at its beginning."""
        return self._before_training or self._current()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._torch.load_state_dict(state["torch"])
        version, words, gauss = state["python"]
        self._python.setstate((version, tuple(words), gauss))
        self._before_training = None

    def _current(self) -> dict[str, Any]:
        version, words, gauss = self._python.getstate()
        return {"torch": self._torch.state_dict(), "python": [version, list(words), gauss]}


def _box_muller(uniform: Floats) -> Floats:
    """Uniform to normal numbers, 16 by 16: eight radii, then eight angles."""
    blocks = uniform.reshape(-1, 2, 8)
    radius = np.sqrt(-2 * np.log(1 - blocks[:, 0]))  # (blocks, 8)
    angle = np.float32(2 * np.pi) * blocks[:, 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)
