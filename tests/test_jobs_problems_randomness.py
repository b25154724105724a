"""Random choices: their distributions, and the replay of the generators of 2019."""

import json
import random

import numpy as np
import pytest
import torch
from scipy.stats import kstest, truncnorm

from jobs.problems.randomness import Streams
from jobs.problems.replay import Replay, Torch2019

BOTH = pytest.mark.parametrize("randomness", [Streams, Replay])


@BOTH
def test_initial_draws_have_their_distributions(randomness):
    draws = randomness(7)
    assert kstest(draws.uniform(20_000), "uniform").pvalue > 1e-3
    assert kstest(draws.normal(20_000), "norm").pvalue > 1e-3
    cut = draws.truncated_normal(20_000)
    assert kstest(cut, truncnorm(-2, 2).cdf).pvalue > 1e-3
    assert np.abs(cut).max() <= 2


@BOTH
def test_orders_and_splits_are_permutations(randomness):
    draws = randomness(7)
    for order in (draws.split(1000), draws.order("train", 1, 1000), draws.order("valid", 1, 1000)):
        assert sorted(order.tolist()) == list(range(1000))
        assert order.tolist() != list(range(1000))


def test_counted_passes_do_not_depend_on_what_was_asked_for_before():
    one, other = Streams(7), Streams(7)
    late = one.order("train", 9, 100)
    for epoch in range(1, 9):
        other.order("train", epoch, 100)
        other.jitter("train", epoch, 3, 10)
    assert np.array_equal(late, other.order("train", 9, 100))
    assert not np.array_equal(late, other.order("train", 8, 100))
    assert not np.array_equal(late, other.order("valid", 9, 100))
    assert one.state_dict() == {}
    one.load_state_dict({})


def test_counted_passes_of_different_kinds_are_uncorrelated():
    draws = Streams(7)
    orders = [draws.order(what, epoch, 5000) for what in ("train", "valid") for epoch in (1, 2, 3)]
    correlations = np.corrcoef(orders) - np.eye(6)
    assert np.abs(correlations).max() < 5 / np.sqrt(5000)


def test_torch_of_2019_draws_as_torch_does_where_torch_has_not_changed():
    """Uniform and normal numbers are drawn today as they were then."""
    generator = torch.Generator().manual_seed(42)
    replayed = Torch2019(42)
    for n in (16, 100, 5, 1000):
        expected = torch.rand(n, generator=generator).numpy()
        assert np.array_equal(replayed.uniform(n), expected)
        if n >= 16:
            normal = torch.randn(n, generator=generator).numpy()
            assert np.allclose(replayed.normal(n), normal, rtol=1e-5, atol=1e-6)


def test_randperm_of_2019():
    """The loop of torch 1.x, over the raw draws."""
    raw = np.random.RandomState(3)
    order = list(range(50))
    for i in range(49):
        j = i + int(raw.randint(0, 2**32, dtype=np.uint32)) % (50 - i)
        order[i], order[j] = order[j], order[i]
    assert Torch2019(3).randperm(50).tolist() == order


def test_the_split_is_pythons_shuffle():
    expected = list(range(100))
    random.Random(5).shuffle(expected)
    assert Replay(5).split(100).tolist() == expected


def test_a_replay_goes_on_from_its_state():
    one = Replay(7)
    one.order("train_eval", 0, 100)
    one.jitter("train_eval", 0, 0, 3)
    other = Replay(8)
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert one.order("valid", 0, 100).tolist() == other.order("valid", 0, 100).tolist()
    assert one.jitter("train", 1, 0, 4).top.tolist() == other.jitter("train", 1, 0, 4).top.tolist()


def test_within_a_training_pass_the_state_is_that_of_its_beginning():
    one, other = Replay(7), Replay(8)
    first = one.order("train", 1, 100)
    other.load_state_dict(one.state_dict())
    assert np.array_equal(other.order("train", 1, 100), first)
    one.order("train_eval", 1, 100)
    other.load_state_dict(one.state_dict())
    assert np.array_equal(other.order("valid", 1, 50), one.order("valid", 1, 50))
