"""`--only`: which runs of a sweep are meant."""

import pytest

from cluster.commands.selection import selection
from jobs.errors import InputError
from tests.make_sweep import make_sweep


@pytest.fixture
def sweep(tmp_path):
    """Two problems, two optimizers, three seeds."""
    return make_sweep(tmp_path / "some", is_recorded=lambda _: False).sweep()


@pytest.mark.parametrize(
    ("only", "count"),
    [
        ([], 12),
        (["seed=42"], 4),
        (["seed=42..43"], 8),
        (["seed=42,44"], 8),
        (["seed=42", "seed=43"], 8),
        (["optimizer=SGD"], 6),
        (["optimizer=SGD", "seed=42"], 2),
        (["optimizer=SGD", "seed=42", "problem=fmnist_2c2d"], 1),
    ],
)
def test_what_is_chosen(sweep, only, count):
    assert sum(map(selection(sweep, only), sweep.runs)) == count


def test_runs_and_cells_are_named_by_a_beginning(sweep):
    run = sweep.runs[5].run
    by_run, by_cell = (
        selection(sweep, [f"run={run.id[:9]}"]),
        selection(sweep, [f"cell={run.cell}"]),
    )

    assert [planned.run.id for planned in sweep.runs if by_run(planned)] == [run.id]
    assert {planned.run.cell for planned in sweep.runs if by_cell(planned)} == {run.cell}


@pytest.mark.parametrize(
    ("only", "message"),
    [
        (["seeds=42"], "expected one of problem, optimizer, role, seed, cell, run"),
        (["42"], "expected one of"),
        (["seed=45"], "no run of some has it"),
        (["problem=mnist_2c2d"], "no run of some has it"),
        (["run=zz"], "no run of some has it"),
    ],
)
def test_what_cannot_be_meant(sweep, only, message):
    with pytest.raises(InputError, match=message):
        selection(sweep, only)


def test_values_that_exclude_each_other(sweep):
    first, last = sweep.runs[0].run, sweep.runs[-1].run
    with pytest.raises(InputError, match="no run has all of these"):
        selection(sweep, [f"run={first.id}", f"cell={last.cell}"])
