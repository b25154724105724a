"""Small arrays and full queues: one `probprec submit`, and every run is done exactly once."""

import json
import os
import runpy
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from jobs import record
from jobs.store import Store
from tests.slurm import Site, journal, lab_up, make_profile, run_ids, wait_for

pytestmark = pytest.mark.slurm

PER_ARRAY = 11
CAP = 20
LONGEST = 5400.0

# The shortest training there is, an optimizer of the user's own, as in the benchmark.
QUICK = runpy.run_path(str(Path(__file__).parent.parent / "scripts" / "load.py"))["QUICK"]

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
    limits: dict[str, int] = field(default_factory=dict)  # that the profile names
    hides_sacctmgr: bool = False
    most: int = 0  # jobs in the queue at a time, as far as was looked

    def __post_init__(self) -> None:
        self.folder.mkdir()
        (self.folder / "quick.py").write_text(QUICK)
        self.spec = self.folder / f"{self.name}.yaml"
        self.spec.write_text(
            "problems: [quadratic_deep]\noptimizers:\n  Quick: {optimizer: quick.Quick, lr: 0.01}\n"
            f"seeds: 1..{self.runs}\nepochs: 1\n"
        )
        more: dict[str, Any] = {"limits": self.limits} if self.limits else {}
        # Hundreds of runs of code that the other tests measure: measuring it takes a third of their time.
        more["setup"] = ["unset COVERAGE_PROCESS_CONFIG"]
        self.profile = make_profile(
            self.folder, held=False, resources={"mem": "500M", "time": "00:05:00"}, **more
        )
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
        """How many jobs of this user wait or run; the largest of these numbers is kept."""
        count = len(self.site.squeue("--states=PD,R", "--format=%i"))
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
            assert events == ["claimed", "ended"], (run_id, events)
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

    def tell(self, capsys: pytest.CaptureFixture[str], seconds: float) -> None:
        """A line for whoever reads the log of the tests."""
        calls = self.log.read_text().split()
        with capsys.disabled():
            sys.stdout.write(
                f"\n{self.name}: {self.runs} runs, {len(self.parts('chunk'))} arrays,"
                f" {len(self.parts('feeder'))} feeders, {len(calls)} calls of sbatch"
                f" ({len(calls) - calls.count('0')} rejected), at most {self.most} jobs in the"
                f" queue, {seconds:.0f} s\n"
            )


def go(crowd: Crowd, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Submit once, wait, and look at what came of it."""
    begin = time.monotonic()
    report = crowd.submit()
    crowd.wait()
    crowd.tell(capsys, time.monotonic() - begin)
    crowd.assert_done_once()
    crowd.assert_sparing()
    return report


@pytest.fixture(scope="module")
def capped(tmp_path_factory):
    """A Slurm that takes arrays of 11 and no more than 20 jobs of a user."""
    del tmp_path_factory
    with lab_up(
        accounting=True, nodes=1, cpus=3, gpus=0, max_array_size=PER_ARRAY, max_submit=CAP
    ) as site:
        yield site


def test_500_runs_through_a_queue_of_20(capped, tmp_path, capsys):
    report = go(Crowd(capped, tmp_path / "c", "capped", 500), capsys)

    assert report["submitted"] == 500
    assert report["sbatch_calls"] <= 4
    assert report["feeder"] is not None


def test_a_cap_that_cannot_be_read_is_learnt_from_the_rejection(capped, tmp_path, capsys):
    crowd = Crowd(capped, tmp_path / "c", "unreadable", 60, hides_sacctmgr=True)
    report = go(crowd, capsys)

    assert report["submitted"] == 60
    assert report["feeder"] is not None


def test_after_a_feeder_was_cancelled_the_next_submit_sends_the_rest_once(capped, tmp_path, capsys):
    crowd = Crowd(capped, tmp_path / "c", "orphaned", 30)
    begin = time.monotonic()
    first = crowd.submit()
    capped.lab.run("scancel", first["feeder"])
    crowd.wait()
    sent = sum(len(job["runs"]) for job in first["jobs"])
    recorded = [run for run in run_ids(crowd.store) if crowd.store.run(run).record_file.exists()]
    assert 0 < sent == len(recorded) < 30

    second = crowd.submit()
    crowd.wait()
    crowd.tell(capsys, time.monotonic() - begin)

    assert second["submitted"] == 30 - sent
    assert second["already"] == sent
    crowd.assert_done_once()
    crowd.assert_sparing()


def test_limits_of_the_profile_hold_where_slurm_has_none(tmp_path, capsys):
    with lab_up(nodes=1, cpus=3, gpus=0) as site:
        crowd = Crowd(
            site,
            tmp_path / "c",
            "profiled",
            120,
            limits={"max_submit": CAP, "max_array": PER_ARRAY},
        )
        report = go(crowd, capsys)

    assert report["submitted"] == 120
    assert report["feeder"] is not None
