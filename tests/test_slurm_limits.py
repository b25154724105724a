"""Small arrays and full queues: one `probprec submit`, and every run is done exactly once."""

import json
import os
import shlex
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from jobs.store import record
from jobs.store.store import Store
from tests.case import journal, make_profile, run_ids
from tests.helpers import ALL, wait_for
from tests.slurm import SETTINGS, Site, Stage, lab_up

pytestmark = pytest.mark.slurm

PER_ARRAY = SETTINGS["max_array_size"]
CAP = 20
LONGEST = 5400.0
NODE = SETTINGS["nodes"]
"""The number of the node that these runs are trained on, a few at a time."""

# First on the PATH: writes down each call and what came of it.
SBATCH = """\
#!/bin/sh
{real} "$@"
code=$?
echo $code >>{log}
exit $code
"""


@dataclass(eq=False)
class Crowd:
    """One sweep of many short runs in a lab."""

    site: Site
    folder: Path
    name: str
    runs: int
    limits: Mapping[str, int] = field(default_factory=dict)  # that the profile names; else Slurm's
    hides_sacctmgr: bool = False
    most: int = 0  # jobs in the queue at a time, as far as was looked

    def __post_init__(self) -> None:
        self.spec = self.folder / f"{self.name}.yaml"
        self.spec.write_text(
            "problems: [quadratic_deep]\noptimizers:\n  SGD: {lr: 0.01}\n"
            f"seeds: 1..{self.runs}\nepochs: 1\n"
        )
        asked: dict[str, Any] = {"mem": "500M", "time": "00:05:00", "cpus": 4}
        more: dict[str, Any] = {"limits": self.limits} if self.limits else {}
        if not self.limits:
            self.site.queue_of(self.name, CAP)
            asked |= {"qos": self.name, "nodelist": f"node{NODE}"}
        # Many runs of code that the other tests measure: measuring it takes a third of their time.
        self.hold = self.folder / f"{self.name}.hold"  # as long as it is there, no task begins
        held = f"while [ -e {shlex.quote(str(self.hold))} ]; do sleep 0.1; done"
        more["setup"] = ["unset COVERAGE_PROCESS_CONFIG", held]
        self.profile = make_profile(self.folder, resources=asked, **more)
        self.store = Store(self.folder / "sweeps" / self.name)
        self.log = self.folder / "sbatch.log"
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        self._put("sbatch", SBATCH.format(real=shutil.which("sbatch"), log=self.log))
        if self.hides_sacctmgr:
            self._put("sacctmgr", "#!/bin/sh\necho sacctmgr: no access >&2\nexit 1\n")

    def _put(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def submit(self, check: int = 0) -> dict[str, Any]:
        """One command; nobody sends anything after it but Slurm's own jobs."""
        done = self.site.probprec(
            "submit", self.spec, "--root", self.store.root.parent, "--on", self.profile, "--json",
            cwd=self.folder, check=check, environment={"PATH": f"{self.bin}:{os.environ['PATH']}"},
        )  # fmt: skip
        return dict(json.loads(done.stdout))

    def live(self) -> int:
        """How many jobs under this cap wait or run; the largest of these numbers is kept."""
        chosen = [] if self.limits else [f"--qos={self.name}"]
        count = len(self.site.squeue("--states=PD,R", "--format=%i", *chosen))
        self.most = max(self.most, count)
        return count

    def wait(self) -> None:
        """Only look, until nothing of it waits or runs."""
        wait_for(lambda: self.live() == 0, LONGEST, pause=0.3, what=f"{self.name} is over")

    def parts(self, kind: str) -> list[Path]:
        """The intents of arrays or feeders that were sent."""
        found = self.store.root.glob(f"submissions/*/{kind}-?????.json")
        return sorted(path for path in found if path.name.count(".") == 1)

    def assert_done_once(self) -> None:
        """Each run has one attempt and one record, and was in exactly one array."""
        ids = run_ids(self.store)
        assert len(ids) == self.runs
        for run_id in ids:
            record.read(self.store.run(run_id).record_file, run_id=run_id)
            events = [line["event"] for line in journal(self.store, run_id)]
            assert events == ["claimed", "publishing", "ended"], (run_id, events)
            assert self.store.run(run_id).last_fence() == 1
        sent = [
            run["id"]
            for path in self.parts("chunk")
            for task in json.loads(path.read_bytes())["tasks"]
            for run in task
        ]
        assert sorted(sent) == sorted(ids)

    def assert_sparing(self) -> None:
        """No more calls of sbatch than arrays and feeders; none of them is larger than allowed."""
        calls = self.log.read_text().split()
        chunks, feeders = self.parts("chunk"), self.parts("feeder")
        rejected = list(self.store.root.glob("submissions/*/*.withdrawn-*.json"))
        assert calls.count("0") == len(chunks) + len(feeders)
        assert len(calls) == len(chunks) + len(feeders) + len(rejected)
        sizes = [len(json.loads(path.read_bytes())["tasks"]) for path in chunks]
        assert max(sizes) <= PER_ARRAY
        assert self.most <= CAP

    def row(self, seconds: float) -> dict[str, Any]:
        """For whoever reads the log of the tests."""
        calls = self.log.read_text().split()
        return {
            "sweep": self.name,
            "runs": self.runs,
            "arrays": len(self.parts("chunk")),
            "feeders": len(self.parts("feeder")),
            "sbatch": len(calls),
            "rejected": len(calls) - calls.count("0"),
            "most": self.most,
            "seconds": f"{seconds:.0f}",
        }


@dataclass(frozen=True)
class Done:
    """What came of a crowd."""

    reports: tuple[Mapping[str, Any], ...]  # of the submissions
    row: Mapping[str, Any]


def go(crowd: Crowd) -> Done:
    """Submit once, wait, and look at what came of it."""
    begin = time.monotonic()
    report = crowd.submit()
    crowd.wait()
    crowd.assert_done_once()
    crowd.assert_sparing()
    return Done((report,), crowd.row(time.monotonic() - begin))


def capped(stage: Stage) -> Done:
    """More than twice as many runs as the queue has room for: one feeder sends the next."""
    runs = 500 if ALL else 44
    return go(Crowd(stage.site, stage.folders.mktemp("capped"), "capped", runs))


@pytest.mark.side_by_side(capped, slow=True, accounting=True)
def test_many_runs_through_a_queue_of_20(
    outcome: Done, record_property: Callable[..., None]
) -> None:
    record_property("table: limits", outcome.row)
    (report,) = outcome.reports

    assert report["submitted"] == outcome.row["runs"]
    assert report["sbatch_calls"] <= 4
    assert report["feeder"] is not None
    assert outcome.row["feeders"] >= 2


def unreadable(stage: Stage) -> Done:
    """The cap cannot be asked for."""
    folder = stage.folders.mktemp("unreadable")
    return go(Crowd(stage.site, folder, "unreadable", 60 if ALL else 33, hides_sacctmgr=True))


@pytest.mark.side_by_side(unreadable, slow=True, accounting=True)
def test_a_cap_that_cannot_be_read_is_learnt_from_the_rejection(
    outcome: Done, record_property: Callable[..., None]
) -> None:
    record_property("table: limits", outcome.row)
    (report,) = outcome.reports

    assert report["submitted"] == outcome.row["runs"]
    assert report["feeder"] is not None
    assert outcome.row["rejected"] > 0


def orphaned(stage: Stage) -> Done:
    """The feeder is cancelled; then everything is submitted again."""
    crowd = Crowd(stage.site, stage.folders.mktemp("orphaned"), "orphaned", 30)
    begin = time.monotonic()
    crowd.hold.touch()  # or the first array could be over, and the feeder at work, too early
    first = crowd.submit()
    stage.site.lab.run("scancel", first["feeder"])
    crowd.hold.unlink()
    crowd.wait()
    sent = sum(len(job["runs"]) for job in first["jobs"])
    recorded = [run for run in run_ids(crowd.store) if crowd.store.run(run).record_file.exists()]
    assert 0 < sent == len(recorded) < 30
    second = crowd.submit()
    crowd.wait()
    crowd.assert_done_once()
    crowd.assert_sparing()
    return Done((first, second), crowd.row(time.monotonic() - begin))


@pytest.mark.side_by_side(orphaned, slow=True, accounting=True)
def test_after_a_feeder_was_cancelled_the_next_submit_sends_the_rest_once(
    outcome: Done, record_property: Callable[..., None]
) -> None:
    record_property("table: limits", outcome.row)
    first, second = outcome.reports
    sent = sum(len(job["runs"]) for job in first["jobs"])

    assert second["submitted"] == 30 - sent
    assert second["already"] == sent


def unlimited(stage: Stage) -> Done:
    """In a Slurm without accounting that has no limits: those of the profile, doctor, status, why."""
    folder = stage.folders.mktemp("profiled")
    with lab_up(nodes=1, gpus=0, max_array_size=1001) as site:
        limits = {"max_submit": CAP, "max_array": PER_ARRAY}
        crowd = Crowd(site, folder, "profiled", 120 if ALL else 33, limits=limits)
        done = go(crowd)
        status = _said(site, folder, "status", crowd.store.root)
        why = _said(site, folder, "why", run_ids(crowd.store)[0], "--root", crowd.store.root.parent)
        doctor = _said(site, folder, "doctor", "--on", crowd.profile, "--node")
    return Done((*done.reports, status, why, doctor), done.row)


def _said(site: Site, folder: Path, *words: object) -> Mapping[str, Any]:
    done = site.probprec(*words, "--json", cwd=folder, check=0)
    return dict(json.loads(done.stdout))


@pytest.mark.side_by_side(unlimited, slow=True)
def test_without_accounting_the_limits_of_the_profile_hold(
    outcome: Done, record_property: Callable[..., None]
) -> None:
    """The one Slurm without slurmdbd: everything works there."""
    record_property("table: limits", outcome.row)
    report, status, why, doctor = outcome.reports

    assert report["submitted"] == outcome.row["runs"]
    assert report["feeder"] is not None
    assert status["states"] == {"completed": outcome.row["runs"]}
    assert why["state"] == "completed"
    [sacct] = [check for check in doctor["checks"] if check["name"] == "sacct"]
    assert sacct["state"] == "note"
