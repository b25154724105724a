"""A sweep that an earlier version made stays readable: `old_sweep/` is one, as commit ff4db70 left it.

Its code, locks and logs were left out. What it wrote down is not touched: hashes lead to it.
"""

import json
import shutil
from pathlib import Path

import pytest

from cluster import cli
from jobs.resources import Resources
from jobs.results import ledger
from jobs.store.store import Store
from jobs.store.submission_plan import Chunk, FeederJob

OLD = Path(__file__).parent / "old_sweep"

# An array and a feeder of a submission to Slurm, as that version wrote them, but for the run.
RUN = {"id": "a1", "fence": 2, "run": {"seed": 42}}
CHUNK = {
    "token": "probprec-1f",
    "first": 20,
    "count": 1,
    "resources": {"time": 600, "mem": 512, "exclude": ["n1", "n2"]},
    "threads": 2,
    "needs_gpu": False,
    "lead": 90,
    "tasks": [[RUN]],
}
FEEDER = {"token": "probprec-2f", "after": [100, 101], "resources": {"partition": "gpu"}}


@pytest.fixture
def old(tmp_path):
    return Store(shutil.copytree(OLD, tmp_path / "sweeps" / "optimizers"))


def printed(capsys, *words):
    """The JSON that a command prints, and its exit code."""
    code = cli.main([*words, "--json"])
    return json.loads(capsys.readouterr().out), code


def test_its_status_and_its_tables(old, capsys):
    found, code = printed(capsys, "status", str(old.root))

    assert (found["states"], found["notes"], code) == ({"completed": 6}, [], 0)
    assert [one["chosen"] for one in found["tunings"]] == ["45b1b6d81b15"]

    found, code = printed(capsys, "collect", str(old.root))
    codes = [one["code"] for one in found["findings"]]
    assert (codes, code) == (["collapsed", "unequal_budgets"], 0)


def test_its_records_have_no_series_of_time(old):
    """They came later; the rest is there, also what is not read any more."""
    found = ledger.collect(old).found

    assert [one.seconds for one in found] == [one.steps for one in found] == [None] * 6
    assert {one.cost["train"]["gpu_s"] for one in found} == {None}
    assert all(one.seconds_per_epoch(("train",), "wall_s") > 0 for one in found)


def test_what_was_submitted(old):
    first, second = (one.plan() for one in old.submissions())

    assert (first.profile.engine, first.profile.checkpoint_every, first.follows) == (
        "local",
        600,
        None,
    )
    assert [entry.fence for entry in first.entries] == [0] * 4
    assert (second.follows, second.code) == (1, first.code)
    assert {entry.run.id for entry in second.entries} <= {one.run.id for one in old.sweep().runs}


def test_its_arrays_and_feeders():
    chunk, feeder = Chunk.from_json(CHUNK), FeederJob.from_json(FEEDER)

    assert (chunk.to_json(), feeder.to_json()) == (CHUNK, FEEDER)
    assert chunk.group.resources == Resources(time=600, mem=512, exclude=("n1", "n2"))
    assert feeder.after == (100, 101)


def test_why_a_run_of_it_ended(old, capsys):
    run = old.sweep().runs[0].run.id
    found, code = printed(capsys, "why", run, "--of", str(old.root))

    assert (found["state"], code) == ("completed", 0)
