"""Replayed runs of 2019 begin with the numbers that were recorded then (`golden_epoch0.csv`).

Checked, to 1e-6 relative: train, validation and test loss before training, the loss of the first
training minibatch; accuracies have to be equal. Not checked, because there is nothing to check:

- `cifar10_roos`, first minibatch: those runs recorded the train loss in its place;
- two runs of `mnist_2c2d` without validation set: their first minibatch is of another split.

The batch sizes of `cifar10_roos` are checked by one evaluation: before training they change nothing
(9,984 images fill batches of 32, 64 and 128). A table of what was checked is printed at the end.
"""

import csv
import functools
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from jobs.datasets import find
from jobs.datasets.read import read
from jobs.errors import DataError
from jobs.problems import build, images
from jobs.problems.catalog import PROBLEMS
from jobs.problems.problem import Problem, Split
from jobs.problems.quadratic import QuadraticDeep
from jobs.sweep import Run
from tests.helpers import ALL, COMMIT

pytestmark = pytest.mark.xdist_group("golden")  # the data are read once, and there is one table

SPLITS: tuple[Split, ...] = ("train", "valid", "test")
CPU = torch.device("cpu")


class Key(NamedTuple):
    """What determines the numbers."""

    problem: str
    init: str
    batch_size: int
    seed: int
    rotation: int


def _read() -> dict[Key, list[dict[str, str]]]:
    rows: dict[Key, list[dict[str, str]]] = {}
    with (Path(__file__).parent / "golden_epoch0.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            key = Key(
                row["problem"],
                row["init"],
                128 if row["problem"] == "cifar10_roos" else int(row["batch_size"]),
                int(row["seed"]),
                int(row["rotation"] or 0),
            )
            rows.setdefault(key, []).append(row)
    return rows


GOLDEN = _read()


def _chosen() -> list[Key]:
    """Those that are checked: all, or of large data sets one seed, drawn by the commit."""
    groups: dict[tuple[object, ...], list[Key]] = {}
    for key in GOLDEN:
        is_large = PROBLEMS[key.problem].dataset is not None
        group = (key.problem, key.init, key.batch_size)
        groups.setdefault(group if is_large and not ALL else tuple(key), []).append(key)
    return [random.Random(f"{COMMIT} {group}").choice(keys) for group, keys in groups.items()]


@pytest.fixture(scope="module", autouse=True)
def _read_data_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "read", functools.lru_cache(read))
        yield


@pytest.fixture(scope="module")
def report(request: pytest.FixtureRequest) -> Iterator[dict[Key, dict[str, float]]]:
    """Largest relative errors by column; printed at the end."""
    errors: dict[Key, dict[str, float]] = {}
    yield errors
    capture = request.config.pluginmanager.get_plugin("capturemanager")
    with capture.global_and_fixture_disabled():
        sys.stderr.write("\n".join(("", *_table(errors), "")))  # a worker of xdist has no terminal


def _table(errors: dict[Key, dict[str, float]]) -> Iterator[str]:
    yield "golden values of 2019 (largest relative error; accuracies equal):"
    groups: dict[tuple[str, str, int, tuple[str, ...]], dict[Key, dict[str, float]]] = {}
    for key, found in errors.items():
        group = (key.problem, key.init, key.batch_size, tuple(found))
        groups.setdefault(group, {})[key] = found
    for (problem, init, batch_size, columns), members in sorted(groups.items()):
        seeds = ",".join(str(seed) for seed in sorted({key.seed for key in members}))
        rotations = len({key.rotation for key in members})
        what = f"{problem:<14} {init:<8} batch {batch_size:<4} seeds {seeds:<15}"
        worst = max(max(found.values()) for found in members.values())
        more = f" ({rotations} rotations)" if rotations > 1 else ""
        yield f"  {what} {worst:.1e}  {' '.join(columns)}{more}"


def _columns(key: Key) -> tuple[str, ...]:
    """Which columns are checked for `key`."""
    return SPLITS if key.problem == "cifar10_roos" else (*SPLITS, "first_minibatch")


def _build(key: Key) -> Problem:
    run = Run(
        problem=key.problem,
        optimizer="torch.optim.SGD",
        hyperparameters={},
        seed=key.seed,
        epochs=1,
        batch_size=key.batch_size,
        init=key.init,
        protocol="deepobs-2019",
    )
    if key.problem == "quadratic_deep":
        return QuadraticDeep(run, data=None, device=CPU, rotation=key.rotation)
    return build(run, data=None, device=CPU)


def _skip_without_data(problem: str) -> None:
    dataset = PROBLEMS[problem].dataset
    if dataset is not None:
        try:
            find.find(dataset)
        except DataError:
            pytest.skip(f"{dataset} is not on this machine (${find.VARIABLE})")


@pytest.mark.parametrize("key", _chosen(), ids=lambda key: "-".join(map(str, key)))
def test_a_replayed_run_begins_as_in_2019(key: Key, report: dict[Key, dict[str, float]]) -> None:
    _skip_without_data(key.problem)
    problem = _build(key)
    found: dict[str, float] = {}
    for split in SPLITS:
        loss, accuracy = problem.evaluate(split, 0)
        found[split] = max(_error(loss, row[f"{split}_loss"]) for row in GOLDEN[key])
        for row in GOLDEN[key]:
            recorded = row[f"{split}_accuracy"]
            assert accuracy is None or not recorded or abs(accuracy - float(recorded)) < 1e-9
    if "first_minibatch" in _columns(key):
        loss = problem.loss(next(problem.train_batches(1)))[0].item()
        rows = [row for row in GOLDEN[key] if row["valid_loss"]]
        found["first_minibatch"] = max(_error(loss, row["first_minibatch_loss"]) for row in rows)
    report[key] = found
    assert max(found.values()) < 1e-6, found


def _error(value: float, recorded: str) -> float:
    return abs(value / float(recorded) - 1) if recorded else 0.0
