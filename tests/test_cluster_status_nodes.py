"""A node is blamed only if chance does not explain what happened on it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.status import nodes
from cluster.status.run_status import RunStatus
from jobs.store.state import State


def run(*tried, state="completed", node=None):
    return RunStatus(None, State(state=state, evidence="", tried=tried, node=node))


def passes(node, number):
    return [run((node, None)) for _ in range(number)]


def fails(node, number, failure="gpu_missing"):
    return [run((node, failure), state="failed") for _ in range(number)]


def test_a_node_that_fails_what_others_pass():
    found = nodes.suspicious([*fails("node7", 4), *passes("node1", 10), *passes("node2", 10)])

    assert [node.name for node in found] == ["node7"]
    assert found[0].evidence == (
        "4 of 4 attempts failed here (gpu_missing 4), 0 of 20 elsewhere; p = 0.00028"
    )


def test_too_little_to_say():
    (found,) = nodes.judge([*fails("node7", 1), *passes("node1", 3)])

    assert not found.is_suspicious
    assert found.to_json()["suspicious"] is False


def test_two_runs_that_passed_elsewhere_are_enough():
    moved = [run(("node7", "killed"), ("node1", None)) for _ in range(2)]
    found = nodes.suspicious(moved)

    assert [node.name for node in found] == ["node7"]
    assert "2 of its runs passed elsewhere" in found[0].evidence


def test_all_nodes_fail_alike():
    """Then it is the runs."""
    assert not nodes.suspicious([*fails("node1", 20), *fails("node2", 20)])


def test_many_nodes_make_one_bad_one_likely():
    """What would be enough against one of two nodes is not against one of fifty."""
    failing = fails("node0", 1) + passes("node0", 1)
    few = [*failing, *passes("node1", 40)]
    many = [*failing, *(one for number in range(1, 50) for one in passes(f"node{number}", 1))]

    assert nodes.judge(few)[0].p < 0.1
    assert nodes.judge(many)[0].p == 1.0


@pytest.mark.parametrize("failure", ["oom", "timeout", "preempted", "cancelled", "exception"])
def test_what_says_nothing_about_a_node(failure):
    assert not nodes.judge([*fails("node7", 9, failure), *passes("node1", 9)])


def test_a_lost_run_counts_though_its_journal_has_no_end():
    lost = [run(state="lost", node="node7") for _ in range(4)]
    assert nodes.suspicious([*lost, *passes("node1", 30)])[0].failures == {"lost": 4}


@given(*[st.integers(0, 12)] * 4)
def test_fisher_is_a_probability_and_sums_up(a, b, c, d):
    """The tail from 0 is everything, and each tail is the next one and one table more."""
    assert 0 <= nodes.fisher(a, b, c, d) <= 1 + 1e-12
    if a > 0:
        table = math.comb(a + c, a) * math.comb(b + d, b) / math.comb(a + b + c + d, a + b)
        total = a + b + c + d
        rest = nodes.fisher(a + 1, b - 1, c - 1, d + 1) if b > 0 and c > 0 else 0.0
        if total > a + b:
            assert nodes.fisher(a, b, c, d) == pytest.approx(table + rest)


def test_fisher_as_tabulated():
    """Fisher's tea: 3 of 4 right by chance has probability 17/70."""
    assert nodes.fisher(3, 1, 1, 3) == pytest.approx(17 / 70)
