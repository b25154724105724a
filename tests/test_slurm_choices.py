"""Tune, choose, evaluate on a real Slurm: whoever chooses may die, and one setting is chosen, once.

The settings of a sweep are compared by short runs; the job that waits behind them chooses, and sends
the runs that follow. It is killed with -9 at each of its boundaries, and then started again, as Slurm
does when its node dies, or a person submits the spec once more.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import pytest

from jobs.store import choosing
from jobs.tuning import Choice
from tests.case import Case, published_twice, run_ids, whole_records
from tests.helpers import ALL, content_of, wait_for
from tests.slurm import Stage

pytestmark = pytest.mark.slurm

OPTIMIZERS = {
    "SGD": "{lr: {values: [0.05, 0.1]}, tune: {seeds: 1..2, choose: train_loss final}}",
    "Adam": "{lr: {values: [1e-3, 1e-2]}, tune: {seeds: 1, choose: valid_loss best}}",
    "Momentum": "{lr: 0.01}",
}
SEEDS = "42..43"
ALL_RUNS = 4 + 2 + 2 + 2 + 2  # two tunings, what follows from them, and what is not tuned

# In the batch script, before the job begins: the first one that is no array dies on its way.
_SETUP = '[ -n "$SLURM_ARRAY_TASK_ID" ] || ! mkdir {died} 2>/dev/null || exec {command}'
_DYING = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from cluster import feeder
from jobs.store.store import Store
from jobs.store.submissions import Part

function, when = sys.argv[2], sys.argv[3]
owner = Store if function in {"choose", "new_submission"} else Part
inner = getattr(owner, function)


def outer(*args, **kwargs):
    if when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    inner(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)


setattr(owner, function, outer)
sys.exit(feeder.main(sys.argv[4:]))
"""

BOUNDARIES = {
    "it looks": ("choose", "before"),
    "one is chosen": ("choose", "after"),
    "what follows is not written": ("new_submission", "before"),
    "what follows is written": ("new_submission", "after"),
    "the array is intended": ("intend", "after"),
    "the array is sent": ("settle", "before"),
    "the receipt is there": ("settle", "after"),
}
WAYS = ("requeued", "submitted")


@dataclass(frozen=True)
class Row:
    """What came of one sweep."""

    killed_when: str
    goes_on: str
    runs: int
    attempts: int
    lost: int
    duplicated: int
    choices: int


def tuned(stage: Stage, name: str, **profile: object) -> Case:
    """A sweep of two tunings and an optimizer that is not tuned."""
    spec = {"optimizers": OPTIMIZERS, "seeds": SEEDS}
    case: Case = stage.make_case(stage.site, name, spec=spec, profile=profile, torch=False)
    return case


def chooser_killed(stage: Stage, *, boundary: str, way: str) -> Row:
    """The job that chooses is killed at the boundary, and goes on that way."""
    name = f"chooser-{'-'.join(boundary.split())}-{way}-{stage.site.mode}"
    case = tuned(stage, name)
    root, died = case.store.root, case.folder / "died"
    words = [sys.executable, str(case.folder / "dying.py"), str(Path.cwd()), *BOUNDARIES[boundary]]
    (case.folder / "dying.py").write_text(_DYING)
    line = _SETUP.format(died=died, command=" ".join([*words, str(root), "1"]))
    with case.profile.open("a") as file:
        file.write(f"setup: [{json.dumps(line)}]\n")
    first = case.submit()
    assert (first["submitted"], len(first["jobs"])) == (8, 1)
    case.wait_over()
    assert died.exists(), case.describe()
    if way == "requeued":
        case.site.lab.run("scontrol", "requeue", first["feeder"])
        wait_for(lambda: is_done(case) or not case.live(), what="the job that chooses, again")
    else:
        case.submit()
    case.wait_over()
    return row_of(case, boundary, way)


def is_done(case: Case) -> bool:
    """Whether all runs, those that follow from the choices included, have a record."""
    return not case.store.sweep().undecided and case.is_recorded()


def row_of(case: Case, boundary: str, way: str) -> Row:
    """Count; and what was chosen is what the records say."""
    ids, sweep = run_ids(case.store), case.store.sweep()
    fences = [case.store.run(run).last_fence() for run in ids]
    for tuning in sweep.tunings:
        judged, found = choosing.judged(case.store, sweep, tuning), case.store.choice(tuning.key)
        assert isinstance(judged, Choice), case.describe()
        assert found is not None, case.describe()
        assert (found.cell, found.candidates) == (judged.cell, judged.candidates)
    return Row(
        killed_when=boundary,
        goes_on=way,
        runs=len(ids),
        attempts=sum(fences),
        lost=len(set(ids) - whole_records(case.store, case.expected)),
        duplicated=len(published_twice(case.store)) + sum(fence > 1 for fence in fences),
        choices=len(list((case.store.root / "choices").glob("*.json"))),
    )


def undisturbed(stage: Stage) -> Case:
    """Nobody dies, and nobody but Slurm's jobs does anything after the one command."""
    case = tuned(stage, f"tuned-{stage.site.mode}", limits={"max_array": 3})
    report = case.submit()
    assert report["submitted"] == 8
    wait_for(lambda: is_done(case) or not case.live(), what="the end of a tuned sweep")
    case.wait_over()
    return case


@pytest.mark.side_by_side(undisturbed, slow=False)
def test_one_command_tunes_chooses_and_evaluates(outcome: Case) -> None:
    row = row_of(outcome, "never", "")

    assert row == Row("never", "", ALL_RUNS, ALL_RUNS, 0, 0, 2), outcome.describe()
    done = outcome.site.probprec(
        "status", outcome.store.root, "--json", cwd=outcome.folder, check=0
    )
    assert [one["chosen"] is not None for one in json.loads(done.stdout)["tunings"]] == [True] * 2
    first, second = (content_of(submission) for submission in outcome.store.submissions())
    assert second["follows"] == 1
    same = ("code", "image", "data", "datasets", "profile")
    assert [first.get(key) for key in same] == [second.get(key) for key in same]


def _killed(index: int, boundary: str, way: str) -> object:
    function = partial(chooser_killed, boundary=boundary, way=way)
    is_left_out = not ALL and index % len(WAYS) != WAYS.index(way)
    marks = [pytest.mark.side_by_side(function)]
    return None if is_left_out else pytest.param(boundary, way, marks=marks)


@pytest.mark.parametrize(
    ("boundary", "way"),
    [
        found
        for index, boundary in enumerate(BOUNDARIES)
        for way in WAYS
        if (found := _killed(index, boundary, way))
    ],
)
def test_the_job_that_chooses_is_killed(
    boundary: str, way: str, outcome: Row, record_property: Callable[..., None]
) -> None:
    record_property("table: killed choosers", asdict(outcome))
    assert outcome == Row(boundary, way, ALL_RUNS, ALL_RUNS, 0, 0, 2)
