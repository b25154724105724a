"""Claims and the seeds they need, against scipy, statsmodels and simulation."""

import numpy as np
import pytest
from statsmodels.stats.power import TTestIndPower, TTestPower
from statsmodels.stats.weightstats import ttost_paired

from jobs.statistics import power
from jobs.statistics.claims import Claim, Evidence, SeedsNeeded, evidence, seeds_needed
from jobs.statistics.comparison import compare
from jobs.statistics.divergence import Arm, Diverged

SEEDS = tuple(range(42, 52))


def comparison(shift, *, spread=0.01, higher=True, lost=0):
    """Ten pairs whose difference has exactly this mean and standard deviation, before some diverge."""
    noise = np.random.default_rng(3).normal(size=(2, 10))
    base = 0.8 + 0.05 * noise[0]
    gain = shift + spread * (noise[1] - noise[1].mean()) / noise[1].std(ddof=1)
    outcomes = [*(Diverged(1) for _ in range(lost)), *(base + gain)[lost:]]
    return compare(Arm(SEEDS, tuple(outcomes)), Arm(SEEDS, tuple(base)), is_better_high=higher)


def shown(claim, found, margin=None):
    said = evidence(claim, found, margin)
    return said.verdict(said.p_value)


def test_superior_is_the_declared_test():
    better, level = comparison(0.02), comparison(0.001)

    assert evidence(Claim.SUPERIOR, better) == Evidence(Claim.SUPERIOR, better.test.p_value)
    assert shown(Claim.SUPERIOR, better) == Claim.SUPERIOR
    assert shown(Claim.SUPERIOR, level) == Claim.UNDECIDED
    assert comparison(0.02, higher=False).favours == "b"


def test_a_family_may_leave_undecided_what_alone_would_be_shown():
    said = evidence(Claim.SUPERIOR, comparison(0.02))

    assert said.verdict(0.05) == Claim.SUPERIOR
    assert said.verdict(0.051) == Claim.UNDECIDED
    assert said.verdict(0.02, alpha=0.01) == Claim.UNDECIDED


@pytest.mark.parametrize("shift", [-0.008, 0, 0.003, 0.02])
def test_equivalent_is_two_one_sided_tests(shift):
    base = np.random.default_rng(3).normal(size=10)
    other = base + shift + 0.01 * np.random.default_rng(4).normal(size=10)
    found = compare(Arm(SEEDS, tuple(other)), Arm(SEEDS, tuple(base)), is_better_high=True)
    wanted = ttost_paired(other, base, -0.01, 0.01)[0]

    assert evidence(Claim.EQUIVALENT, found, 0.01).p_value == pytest.approx(wanted)


@pytest.mark.parametrize("margin", [0.004, 0.0072, 0.0080, 0.0095])
def test_the_margin_is_held_by_the_interval_that_the_claim_goes_with(margin):
    """Equivalent by the 90 % interval, noninferior by the 95 % interval, on its side."""
    found = comparison(-0.002)
    equivalent, noninferior = found.difference.interval(0.9), found.difference.interval(0.95)

    assert (shown(Claim.EQUIVALENT, found, margin) == Claim.EQUIVALENT) == (
        -margin <= equivalent.low and equivalent.high <= margin
    )
    assert (shown(Claim.NONINFERIOR, found, margin) == Claim.NONINFERIOR) == (
        -margin <= noninferior.low
    )


def test_not_inferior_depends_on_the_direction():
    better = comparison(0.02)
    lower = comparison(0.02, higher=False)

    assert shown(Claim.NONINFERIOR, better, 0.005) == Claim.NONINFERIOR
    assert evidence(Claim.NONINFERIOR, better, 0.005).p_value < 1e-4
    assert evidence(Claim.NONINFERIOR, lower, 0.005).p_value == 1
    assert shown(Claim.NONINFERIOR, lower, 0.04) == Claim.NONINFERIOR


@pytest.mark.parametrize("claim", [Claim.EQUIVALENT, Claim.NONINFERIOR])
def test_no_claim_on_means_stands_where_a_run_diverged_or_is_alone(claim):
    single = compare(Arm((1,), (0.5,)), Arm((1,), (0.5,)), is_better_high=True)
    for found, why in ((comparison(0, lost=1), "diverged"), (single, "one run")):
        said = evidence(claim, found, 1.0)
        assert why in said.obstacle
        assert said.p_value == 1
        assert said.verdict(0.0) == Claim.UNDECIDED


def test_a_claim_without_what_it_needs_is_refused():
    found = comparison(0)
    with pytest.raises(ValueError, match="noninferior needs a margin above 0"):
        evidence(Claim.NONINFERIOR, found)
    with pytest.raises(ValueError, match="equivalent needs a margin above 0"):
        evidence(Claim.EQUIVALENT, found, -0.1)
    with pytest.raises(ValueError, match="nobody sets out"):
        evidence(Claim.UNDECIDED, found)


@pytest.mark.parametrize("seeds", [2, 5, 10, 50])
@pytest.mark.parametrize("effect", [-1.2, 0, 0.4, 0.9])
def test_power_is_statsmodels(effect, seeds):
    paired, independent = TTestPower(), TTestIndPower()

    assert power.detection_power(effect, seeds, paired=True) == pytest.approx(
        paired.power(effect, seeds, 0.05), abs=1e-5
    )
    assert power.detection_power(effect, seeds, paired=False, alpha=0.01) == pytest.approx(
        independent.power(effect, seeds, 0.01), abs=1e-5
    )


@pytest.mark.parametrize("effect", [0.2, 0.5, 0.9])
def test_seeds_to_detect_are_statsmodels_rounded_up(effect):
    for paired, oracle in ((True, TTestPower()), (False, TTestIndPower())):
        wanted = oracle.solve_power(effect, power=0.8, alpha=0.05)
        assert power.seeds_to_detect(effect, paired=paired) == int(np.ceil(wanted))


def test_no_fewer_seeds_are_promised_than_the_declared_test_can_use():
    """One of a family of 20 needs more; t alone would be content with 3 or 4."""
    assert power.seeds_to_detect(9, paired=True) == 8
    assert power.seeds_to_detect(9, paired=False) == 5
    assert power.seeds_to_detect(9, paired=True, alpha=0.05 / 20) == 13


def test_what_no_seeds_would_show_has_none():
    assert power.seeds_to_detect(0, paired=True) is None
    assert power.seeds_to_detect(0.01, paired=False) is None
    assert power.seeds_to_detect(1e6, paired=True) == 8
    assert power.seeds_for_equivalence(0.01, paired=True) is None


def test_seeds_are_those_of_the_observed_spread():
    found = comparison(0.005)
    by_margin = power.seeds_for_equivalence(0.6, paired=True)

    assert seeds_needed(Claim.SUPERIOR, found, 0.006) == SeedsNeeded(
        power.seeds_to_detect(0.5, paired=True), power.seeds_to_detect(0.6, paired=True)
    )
    assert seeds_needed(Claim.EQUIVALENT, found, 0.006).margin == by_margin
    assert seeds_needed(Claim.NONINFERIOR, found).margin is None
    assert seeds_needed(Claim.SUPERIOR, found, alpha=0.005).observed > 34
    assert seeds_needed(Claim.SUPERIOR, comparison(0, lost=1), 1.0) == SeedsNeeded(None, None)
