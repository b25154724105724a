"""Streams: reproducible, independent of each other, and of the order in which they are asked for."""

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jobs.streams import stream

seeds = st.integers(min_value=0, max_value=2**40)


@given(seeds, st.text(), st.lists(st.integers(0, 1000), max_size=3))
def test_the_same_arguments_give_the_same_numbers(seed, purpose, counters):
    one, other = (stream(seed, purpose, *counters).random(8) for _ in range(2))
    assert np.array_equal(one, other)


def test_its_numbers_stay_what_they_are():
    """They are part of what a run is; whoever changes them raises the protocol's version."""
    assert stream(42, "order of train", 3).integers(1000, size=4).tolist() == [992, 690, 285, 912]


def test_different_arguments_give_unrelated_numbers():
    names = [
        (42, "a"),
        (43, "a"),
        (42, "b"),
        (42, "a", 0),
        (42, "a", 1),
        (42, "a", 1, 0),
        (42, "a1"),
    ]
    numbers = np.array([stream(*name).standard_normal(20_000) for name in names])
    correlations = np.corrcoef(numbers) - np.eye(len(names))
    assert np.abs(correlations).max() < 5 / np.sqrt(20_000)


def test_global_generators_are_neither_read_nor_changed():
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global one is what this is about
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    first = stream(1, "x").random(3)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002
    random.seed(2)
    np.random.seed(2)  # noqa: NPY002
    assert np.array_equal(stream(1, "x").random(3), first)
