"""DeepOBS' `quadratic_deep`: a noisy quadratic in 100 dimensions with a deep network's spectrum."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from jobs.errors import InputError
from jobs.problems.problem import Batch, Problem, Split
from jobs.problems.protocols import randomness_of
from jobs.problems.randomness import Pass, Randomness
from jobs.sweep import Run

_DIM = 100
_POINTS = 1000  # in each of the three sets
_NOISE_SD = 0.6  # of the points
_SEEDS: dict[Split, int] = {"train": 42, "test": 43, "valid": 44}

Matrix = npt.NDArray[np.float64]


class QuadraticDeep(Problem):
    """Mean over points x of 0.5 (theta - x)' Q (theta - x), from theta = 1.

    Q and the points are the same for every seed; only the order of the points differs. DeepOBS
    draws another rotation for each further problem made in the same process; `rotation` is its
    number, and runs have the first.
    """

    has_accuracy = False
    randomness: Randomness

    def __init__(
        self, run: Run, *, data: Path | None, device: torch.device, rotation: int = 0
    ) -> None:
        super().__init__(run, data=data, device=device)
        if not 1 <= self.batch_size <= _POINTS:
            raise InputError(f"batch size {self.batch_size}: {run.problem} has {_POINTS} points")
        self.steps_per_epoch = _POINTS // run.batch_size
        self.randomness = randomness_of(run)
        self.model = Quadratic(torch.from_numpy(_hessian(rotation)).float()).to(device)
        self._points = {split: _draw_points(seed).to(device) for split, seed in _SEEDS.items()}

    def train_batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """One pass over the points in a new order."""
        return self._batches(self._shuffled("train", epoch), start)

    def evaluation_batches(self, split: Split, epoch: int) -> Iterator[Batch]:
        """The training points in a new order, or the others in theirs."""
        if split == "train":
            return self._batches(self._shuffled("train_eval", epoch))
        self.randomness.no_order()
        return self._batches(self._points[split])

    def batch_loss(self, batch: Batch) -> tuple[Tensor, None]:
        """The mean over the batch's points."""
        (points,) = batch
        loss: Tensor = self.model(points).mean()
        return loss, None

    def _shuffled(self, what: Pass, epoch: int) -> Tensor:
        order = torch.from_numpy(self.randomness.order(what, epoch, _POINTS))
        return self._points["train"][order.to(self.device)]

    def _batches(self, points: Tensor, start: int = 0) -> Iterator[Batch]:
        for step in range(start, self.steps_per_epoch):
            yield (points[step * self.batch_size : (step + 1) * self.batch_size],)


class Quadratic(nn.Module):
    """0.5 (theta - x)' Q (theta - x) for each of a batch of points x."""

    hessian: Tensor  # Q (D, D)

    def __init__(self, hessian: Tensor) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.ones(len(hessian)))  # (D,)
        self.register_buffer("hessian", hessian)

    def forward(self, points: Tensor) -> Tensor:
        """Losses (B,) of points (B, D)."""
        residual = self.theta - points
        return 0.5 * ((residual @ self.hessian) * residual).sum(dim=1)


def _draw_points(seed: int) -> Tensor:
    points = np.random.RandomState(seed).normal(0.0, _NOISE_SD, (_POINTS, _DIM))
    return torch.from_numpy(points.astype(np.float32))


def _hessian(rotation: int) -> Matrix:
    """R' diag(e) R: 90 eigenvalues from U(0, 1), 10 from U(30, 60)."""
    spectrum = np.random.RandomState(42)
    small, large = spectrum.uniform(0.0, 1.0, 90), spectrum.uniform(30.0, 60.0, 10)
    rotations = np.random.RandomState(42)
    for _ in range(rotation):
        _random_rotation(rotations)
    r = _random_rotation(rotations)  # (D, D)
    return r.T @ np.diag(np.concatenate([small, large])) @ r


def _random_rotation(draws: np.random.RandomState) -> Matrix:
    """A rotation from the Haar measure, by the subgroup algorithm (Diaconis & Shahshahani 1987)."""
    angle = 2 * np.pi * draws.uniform()
    r: Matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    for d in range(2, _DIM):
        v = draws.normal(size=d + 1)
        x = -v / np.linalg.norm(v)  # (d + 1,): a point on the sphere, taken from the first axis
        x[0] += 1.0
        x /= np.linalg.norm(x)
        larger = np.eye(d + 1)
        larger[1:, 1:] = r
        r = larger - 2 * np.outer(x, x @ larger)
    return -r
