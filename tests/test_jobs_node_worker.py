"""Workers on one's own machine choose what was tuned, and go through what follows; trainings are light."""

import json
import signal
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from cluster.profile.find import load as load_profile
from cluster.submit.seal import sealed
from cluster.submit.submit import plan
from jobs.spec import load
from jobs.store.store import Store
from jobs.store.submission_plan import Entry
from tests import trainer
from tests.helpers import LONG, content_of, wait_for

SPEC = """\
problems: [digits_mlp]
epochs: 1
seeds: 42..44
tune: {seeds: 1..2, choose: valid_accuracy final}
optimizers:
  SGD: {lr: {values: [0.1, 0.01]}}
  Adam: {lr: 0.001}
"""
SMALL = SPEC.replace("1..2", "1").replace("  Adam: {lr: 0.001}\n", "")
BROKEN = """\
problems: [digits_mlp]
epochs: 1
seeds: 42
optimizers:
  broken:
    optimizer: broken_opt:Broken
    lr: {values: [0.1, 0.01]}
    tune: {seeds: 1, choose: valid_accuracy final}
  SGD:
    lr: {values: [0.1, 0.01]}
    tune: {seeds: 1, choose: valid_accuracy final}
"""
OPTIMIZER = """\
class Broken:
    def __init__(self, params, lr):
        self.lr = lr

    def step(self):
        if self.lr == 0.01:
            raise RuntimeError("this optimizer is broken")
"""
WORKS = "import sys; from jobs.node.worker import work; work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))"


@dataclass
class Site:
    """A sweep of light trainings, which wait at step 5 until they are let go, if they are held."""

    folder: Path
    workers: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def store(self):
        return Store(self.folder / "sweep")

    def submit(self, text=SPEC):
        """Write a submission of all that is missing down, as `probprec submit` does."""
        (self.folder / "x.yaml").write_text(text)
        sweep = load(self.folder / "x.yaml")
        self.store.save(sweep)
        profile = load_profile(str(self.folder / "light.yaml"))
        wanted = [one for one in self.store.sweep().runs if not self.has_record(one)]
        with self.store.submitting():
            seal = sealed(sweep, profile, wanted, self.store)
            return self.store.new_submission(plan(sweep, self.store, seal, wanted)).number

    def start(self, number, lane=0):
        command = [sys.executable, "-c", WORKS, str(self.store.root), str(number), str(lane)]
        worker = subprocess.Popen(command, cwd=Path(trainer.__file__).parents[1])
        self.workers.append(worker)
        return worker

    def finish(self):
        """Wait for all workers; none of them has failed."""
        assert [worker.wait(timeout=LONG) for worker in self.workers] == [0] * len(self.workers)

    def has_record(self, planned):
        return self.store.run(planned.run.id).record_file.exists()

    def hold(self, runs):
        """Have these runs wait at a step."""
        for one in runs:
            (self.folder / f"hold.{one.run.id}").write_text("5")

    def wait_held(self, runs):
        """Until all of them wait there."""
        at = [self.folder / "hold.at" / f"{one.run.id}.1" for one in runs]
        wait_for(lambda: all(path.exists() for path in at), what="runs at their hold")

    def let_go(self, *runs):
        for one in runs:
            (self.folder / f"hold.{one.run.id}").unlink()

    def worker_of(self, planned):
        """Who claimed a run first, among those that were started."""
        lines = self.store.run(planned.run.id).journal()
        pid = next(line["pid"] for line in lines if line["event"] == "claimed")
        return next(worker for worker in self.workers if worker.pid == pid)

    def runs(self, optimizer="SGD", role="tuning"):
        found = self.store.sweep().runs
        return [one for one in found if (one.optimizer, one.role) == (optimizer, role)]


@pytest.fixture
def site(tmp_path, monkeypatch):
    python = tmp_path / "light-python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {trainer.__file__} "$@"\n')
    python.chmod(0o755)
    (tmp_path / "light.yaml").write_text(f"engine: local\npython: {python}\nthreads: 1\n")
    (tmp_path / "broken_opt.py").write_text(OPTIMIZER)
    monkeypatch.setenv("PROBPREC_TEST_HOLD", str(tmp_path / "hold"))
    found = Site(tmp_path)
    yield found
    for worker in found.workers:
        worker.kill()
        worker.wait()


def test_two_workers_choose_once_and_share_what_follows(site):
    """Whoever comes first: every run has one attempt."""
    number = site.submit()
    for lane in (0, 1):
        site.start(number, lane)
    site.finish()

    (tuning,) = site.store.sweep().tunings
    assert tuning.chosen in tuning.cells
    assert len(list((site.store.root / "choices").iterdir())) == 1
    assert [one.number for one in site.store.submissions()] == [1, 2]
    assert content_of(site.store.submission(2))["follows"] == 1
    runs = site.store.sweep().runs
    assert len(runs) == 4 + 3 + 3
    assert all(site.has_record(one) for one in runs)
    assert {site.store.run(one.run.id).last_fence() for one in runs} == {1}
    assert len(list(site.store.runs.iterdir())) == len(runs)
    records = [site.store.run(one.run.id).record_file.read_bytes() for one in runs]
    assert {json.loads(found)["outcome"] for found in records} == {"completed"}


@pytest.fixture
def waiting(site):
    """Of two workers one is done, and waits; the other one trains the second tuning run, held."""
    number = site.submit(SMALL)
    first, second = site.runs()
    follow = [follows(second, seed) for seed in (42, 43, 44)] + [
        follows(first, seed) for seed in (42, 43, 44)
    ]
    site.hold([first, second, *follow])
    for lane in (0, 1):
        site.start(number, lane)
    site.wait_held([first, second])
    site.let_go(first)
    wait_for(lambda: site.has_record(first), what="the first record")
    wait_for(lambda: not site.store.run(first.run.id).is_locked(), what="the end of the first")
    return site


def follows(planned, seed):
    """The evaluation run that follows if the setting is chosen."""
    return replace(planned, run=replace(planned.run, seed=seed), role="evaluation")


def test_one_who_has_nothing_left_waits_and_takes_its_share(waiting):
    """While the other trains the last tuning run; then both have evaluation runs at a time."""
    _, second = waiting.runs()
    assert len(waiting.store.submissions()) == 1
    waiting.let_go(second)
    wait_for(lambda: len(waiting.runs(role="evaluation")) == 3, what="a choice")
    first, other, last = waiting.runs(role="evaluation")
    waiting.wait_held([first, other])

    assert waiting.worker_of(first) is not waiting.worker_of(other)
    assert [worker.poll() for worker in waiting.workers] == [None, None]
    waiting.let_go(first, other, last)
    waiting.finish()
    assert all(waiting.has_record(one) for one in waiting.store.sweep().runs)
    assert {waiting.store.run(one.run.id).last_fence() for one in (first, other, last)} == {1}


def test_one_who_waits_and_is_told_to_stop_ends(waiting):
    """The other one is not disturbed, and does all that is left."""
    first, second = waiting.runs()
    waits = waiting.worker_of(first)
    waits.send_signal(signal.SIGTERM)

    assert waits.wait(timeout=LONG) == 0
    assert waiting.worker_of(second).poll() is None
    assert not waiting.has_record(second)
    waiting.let_go(
        second, *(follows(one, seed) for one in (first, second) for seed in (42, 43, 44))
    )
    waiting.finish()
    assert all(waiting.has_record(one) for one in waiting.store.sweep().runs)
    assert len(waiting.runs(role="evaluation")) == 3


def test_one_who_waits_for_one_that_is_killed_ends(waiting):
    """There will be no record; whoever sends it again chooses."""
    first, second = waiting.runs()
    waits, killed = waiting.worker_of(first), waiting.worker_of(second)
    killed.kill()

    assert waits.wait(timeout=LONG) == 0
    assert waiting.store.sweep().undecided
    assert len(waiting.store.submissions()) == 1


def test_told_to_stop_in_a_tuning_run_nothing_is_chosen(site):
    number = site.submit(SMALL)
    site.hold(site.runs()[1:])
    worker = site.start(number)
    site.wait_held(site.runs()[1:])
    worker.send_signal(signal.SIGTERM)
    site.finish()

    assert [site.has_record(one) for one in site.runs()] == [True, False]
    assert site.store.sweep().undecided
    assert len(site.store.submissions()) == 1


def test_a_failed_tuning_run_means_no_choice_and_no_waiting(site):
    """What else was tuned is chosen and evaluated all the same."""
    number = site.submit(BROKEN)
    for lane in (0, 1):
        site.start(number, lane)
    site.finish()

    sweep = site.store.sweep()
    assert [one.optimizer for one in sweep.undecided] == ["broken"]
    assert [site.has_record(one) for one in site.runs("broken")] == [True, False]
    assert [site.has_record(one) for one in site.runs("SGD", "evaluation")] == [True]
    assert site.runs("broken", "evaluation") == []
    assert site.store.run(site.runs("broken")[1].run.id).last_fence() == 1


def test_killed_after_the_choice_the_next_one_goes_on(site):
    """There is a choice, and no submission that follows from it: that is made up for."""
    number = site.submit(SMALL)
    first, second = site.runs()
    site.hold([second])
    killed = site.start(number)
    site.wait_held([second])
    killed.kill()
    killed.wait()
    site.workers.clear()
    site.let_go(second)
    with_all = site.submit(SMALL)  # as `run` does: of what has no record
    entries = [Entry.from_json(one) for one in tasks_of(site.store.submission(with_all))]
    assert [one.run for one in entries] == [second.run]
    site.hold([follows(one, seed) for one in (first, second) for seed in (42, 43, 44)])
    killed = site.start(with_all)
    wait_for(lambda: site.runs(role="evaluation"), what="a choice")
    wait_for(lambda: len(site.store.submissions()) == 3, what="what follows")
    site.wait_held(site.runs(role="evaluation")[:1])
    killed.kill()  # in its first evaluation run; then as if that had not been written down
    killed.wait()
    site.workers.clear()
    site.store.submission(3).file.unlink()
    begun, *rest = site.runs(role="evaluation")
    site.let_go(begun, *rest)

    site.start(with_all)
    site.finish()

    assert all(site.has_record(one) for one in site.store.sweep().runs)
    fences = [site.store.run(one.run.id).last_fence() for one in (begun, *rest)]
    assert fences == [2, 1, 1]
    assert [one.number for one in site.store.submissions()] == [1, 2, 3]


def tasks_of(submission):
    return [
        entry
        for group in content_of(submission)["groups"]
        for task in group["tasks"]
        for entry in task
    ]


def test_what_is_not_tuned_has_nothing_to_wait_for(site):
    number = site.submit(SPEC.replace("[0.1, 0.01]", "[0.1]").replace("42..44", "42"))
    site.start(number)
    site.finish()

    assert all(site.has_record(one) for one in site.store.sweep().runs)
    assert len(site.store.submissions()) == 1
    assert not (site.store.root / "choices").exists()
