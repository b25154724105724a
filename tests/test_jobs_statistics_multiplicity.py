"""Holm's adjustment, and what seeds can show in a family."""

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from jobs.statistics.multiplicity import Resolution, holm, resolution


@pytest.mark.parametrize("m", [1, 2, 5, 40])
def test_adjusted_p_values_are_statsmodels(m):
    p = np.random.default_rng(m).uniform(0, 0.2, m).round(2)  # with ties

    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_thousands_of_pairs_can_show_anything():
    """2 / 2^2500 is no number of double precision."""
    found = resolution(pairs=2500, comparisons=3)

    assert found.smallest_adjusted_p == 0
    assert found.comparisons_max > 1e12
    assert found.pairs_needed == 7


def test_three_by_hand():
    assert holm(np.array([0.04, 0.01, 0.03])).tolist() == pytest.approx([0.06, 0.03, 0.06])
    assert holm(np.array([0.9, 0.8])).tolist() == [1, 1]


def test_nine_seeds_show_one_of_twelve_comparisons_and_no_more():
    found = resolution(pairs=9, comparisons=12)

    assert found == Resolution(2 / 512, pytest.approx(24 / 512), 12, 9)
    assert resolution(9, 13).smallest_adjusted_p > 0.05
    assert resolution(9, 13).pairs_needed == 10


@pytest.mark.parametrize(("pairs", "smallest"), [(1, 1), (3, 0.25), (5, 0.0625), (10, 2 / 1024)])
def test_few_pairs_show_nothing(pairs, smallest):
    found = resolution(pairs, 1)

    assert found.smallest_p == found.smallest_adjusted_p == smallest
    assert found.comparisons_max == (25 if pairs == 10 else 0)
    assert found.pairs_needed == 6
    assert resolution(1, 7).smallest_adjusted_p == 1
