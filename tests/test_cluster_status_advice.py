"""Every command that is advised is typed as it stands: it is accepted, and does what was said."""

import json
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster import cli
from cluster.commands import watch
from cluster.status.sweep_status import sweep_status
from jobs.store.state import UNFINISHED
from jobs.store.store import Store
from tests import trainer
from tests.fake_slurm import FakeSlurm, make_record
from tests.helpers import content_of, make_run, note, probprec, wait_for

COUNT = 4
SPEC = "problems: [digits_mlp]\noptimizers: {SGD: {lr: 0.1}}\nseeds: 1..COUNT\nepochs: 10\n"
ADVISED = re.compile(r"probprec (?:submit|retry|redo|status|why|logs|cancel|collect|plot)[^;\n]*")


class World:
    """A sweep that was really submitted, with a Slurm that says what a state needs."""

    def __init__(self, folder: Path, monkeypatch, capsys):
        self.folder, self.capsys = folder, capsys
        self.count, self.submitted = COUNT, ("submit", "some.yaml", "--on", "./mine.yaml")
        self.fake = FakeSlurm(folder / "fake", monkeypatch, sent=False)
        self.place = "engine: slurm\nresources: {time: 1h, mem: 2G}\n"
        self.live = []
        monkeypatch.chdir(folder)
        monkeypatch.setattr(watch, "until_over", lambda store, *_args, **_how: sweep_status(store))

    def submit(self, *words: str) -> None:
        """With the real command; long ago, as far as Slurm's queue is concerned."""
        (self.folder / "mine.yaml").write_text(self.place)
        (self.folder / "some.yaml").write_text(SPEC.replace("COUNT", str(self.count)))
        self.fake.queue()
        assert cli.main([*self.submitted, *words]) == 0
        (root,) = (self.folder / "sweeps").iterdir()
        self.store = self.fake.store = Store(Path("sweeps", root.name))
        self.fake.runs = [planned.run for planned in self.store.sweep().runs]
        for receipt in self.store.root.glob("submissions/0001/*.receipt.json"):
            os.utime(receipt, (time.time() - 3600,) * 2)
        self.fake.command("sbatch", "echo 901")
        self.capsys.readouterr()

    def record(self, *indices: int) -> None:
        for index in indices:
            self.fake.record(index, node="node1")

    def fail(self, failure: str, *indices: int, **where: str) -> None:
        for index in indices:
            self.fake.fail(index, f"900_{index}", failure, **where)

    def states(self) -> dict[str, str]:
        look = sweep_status(self.store)
        return {one.planned.run.id: one.state.state for one in look.runs}

    def said(self, *words: object) -> tuple[int, str]:
        """The exit code of a command, and all that it prints."""
        code = cli.main([*map(str, words)])
        return code, "".join(self.capsys.readouterr())

    def advised(self) -> list[str]:
        """All that any command which only looks proposes to type."""
        root = self.store.root
        looks = [("status", root), ("collect", root)]
        looks += [
            (name, run.id, "--of", root) for run in self.fake.runs for name in ("why", "logs")
        ]
        found: dict[str, None] = {}
        for words in looks:
            code, text = self.said(*words)
            assert code in {0, 1}, text
            found |= dict.fromkeys(match.strip() for match in ADVISED.findall(text))
        return list(found)

    def follow(self, advised: str) -> str:
        """Type it; what is said of it has to come true. All is as before afterwards."""
        before, root = self.folder / "before", self.store.root
        shutil.copytree(self.folder / "sweeps", before)
        try:
            return self._follow(advised)
        finally:
            if not self.live:
                shutil.rmtree(root.parent)
                shutil.copytree(before, root.parent)
            shutil.rmtree(before)

    def _follow(self, advised: str) -> str:
        states, words = self.states(), shlex.split(advised)[1:]
        number = len(self.store.submissions())
        if words[-1] == "-f":  # it does not end as long as the run lives
            words.pop()
        code, text = self.said(*words)
        assert code in ({0} if words[0] in {"submit", "retry", "plot"} else {0, 1}), (advised, text)
        if words[0] in {"submit", "retry"}:
            sent = self.sent(number)
            wanted = {"pending", *UNFINISHED} if words[0] == "submit" else UNFINISHED
            assert sent, (advised, text)
            assert {states[run_id] for run_id in sent} <= wanted
            left = {run_id for run_id in states if states[run_id] == "pending"}
            assert words[0] == "retry" or left <= sent
        elif words[0] in {"why", "logs"}:
            assert words[1] in text
        elif words[0] == "cancel":
            assert code == 0, text
            assert self.fake.calls("scancel"), text
        elif words[0] == "collect":
            assert (self.store.collected / "summary.csv").exists()
        elif words[0] == "plot":
            assert list(self.store.figures.glob("*.pdf"))
        return text

    def sent(self, number: int) -> set[str]:
        """The runs of the one submission after that many."""
        submissions = self.store.submissions()[number:]
        assert len(submissions) <= 1
        return {
            entry["id"]
            for one in submissions
            for group in content_of(one)["groups"]
            for task in group["tasks"]
            for entry in task
        }


@pytest.fixture
def world(tmp_path, monkeypatch, capsys):
    world = World(tmp_path, monkeypatch, capsys)
    yield world
    for attempt in world.live:
        attempt.release()


def completed(world: World) -> None:
    world.submit()
    world.record(0, 1, 2, 3)


def extra(world: World) -> None:
    completed(world)
    run = make_run(seed=99, epochs=10)
    folder = world.store.run(run.id)
    folder.create(run)
    folder.record_file.write_text(json.dumps(make_record(run, "node1")))


def failed(world: World) -> None:
    world.submit()
    world.record(0, 1)
    world.fail("oom", 2)
    world.fail("timeout", 3)


def unmended(world: World) -> None:
    world.submit()
    world.record(0, 1)
    world.fail("exception", 2)
    world.fail("import_error", 3)


def stuck(world: World) -> None:
    world.submit()
    world.record(0, 1, 2)
    world.fail("no_progress", 3)


def nameless(world: World) -> None:
    """Somebody's own `error.json` may name a class that is none."""
    world.submit()
    world.record(0, 1, 2)
    world.fail("my own", 3)


def stopped(world: World) -> None:
    world.submit()
    world.record(0, 1)
    world.fail("cancelled", 2, 3)


def stopped_early(world: World) -> None:
    world.submit("--only", "seed=1..2")
    world.fail("cancelled", 0, 1)


def lost(world: World) -> None:
    world.submit()
    world.record(0, 1, 2)
    world.fake.claim(3, "900_3").release()


def deleted(world: World) -> None:
    world.submit()
    world.record(0, 1, 2)
    attempt = world.fake.claim(3, "900_3")
    attempt.publish(make_record(world.fake.runs[3], "node1"))
    note(attempt.folder, "ended", fence=1, failure=None, outcome="completed")
    attempt.release()
    attempt.folder.record_file.unlink()


def damaged(world: World) -> None:
    world.submit()
    world.record(0, 1, 2, 3)
    world.store.run(world.fake.runs[3].id).record_file.write_text("{")


def folder_in_its_place(world: World) -> None:
    world.submit()
    world.record(0, 1, 2)
    world.store.run(world.fake.runs[3].id).record_file.mkdir(parents=True)


def never_sent(world: World) -> None:
    world.submit("--only", "seed=1")
    world.record(0)


def overridden(world: World) -> None:
    world.submit("--set", "optimizers.SGD={lr: 0.5, momentum: 0.9}", "--only", "seed=1")
    world.record(0)


def queued(world: World) -> None:
    world.submit()
    world.record(0, 1)
    world.fake.queue(
        ("900_2", "PENDING", "Priority"), ("900_3", "PENDING", "launch failed requeued held")
    )


def bad_node(world: World) -> None:
    world.count = 12
    world.submit()
    world.record(*range(3, 12))
    world.fail("gpu_missing", 0, 1, 2, node="node7")


def bad_node_unmended(world: World) -> None:
    world.count = 12
    world.submit()
    world.record(*range(3, 12))
    world.fail("image", 0, 1, 2, node="node7")


def packed(world: World) -> None:
    """Of two array tasks with two runs each one still runs, with a run that has failed."""
    world.place = "engine: slurm\nresources: {time: 1h, runs_per_task: 2}\n"
    world.submit()
    world.record(2, 3)
    world.fake.fail(0, "900_0", "oom")
    world.live.append(world.fake.claim(1, "900_0"))
    world.fake.queue(("900_0", "RUNNING", "None", "node1"))


def unreachable(world: World) -> None:
    world.submit()
    world.record(0, 1, 2)
    world.fake.down()


NEXT: dict[Callable[[World], None], str] = {
    completed: "next: probprec collect {root}; probprec report {root}",
    extra: "next: probprec collect {root}; probprec report {root}",
    failed: "next: probprec retry {root}",
    unmended: "what failed fails again until it is mended; next: probprec why ",
    stuck: "what failed fails again until it is mended; next: probprec why ",
    nameless: "next: probprec retry {root}",
    stopped: "2 runs were stopped; next: probprec retry {root}",
    stopped_early: "2 runs were stopped, 2 runs were never sent; next: probprec submit some.yaml",
    lost: "next: probprec retry {root}",
    deleted: "next: probprec retry {root}",
    damaged: "next: probprec retry {root}",
    folder_in_its_place: "what failed fails again until it is mended; next: probprec why ",
    never_sent: "3 runs were never sent; next: probprec submit some.yaml ",
    overridden: "3 runs were never sent; next: probprec submit some.yaml ",
    queued: "next: probprec status {root} --watch",
    bad_node: "next: probprec retry {root}",
    bad_node_unmended: "what failed fails again until it is mended; next: probprec why ",
    packed: "next: probprec status {root} --watch",
    unreachable: "next: probprec status {root} --watch",
}


@pytest.mark.parametrize("make", NEXT, ids=lambda make: make.__name__)
def test_every_advice_does_what_it_says(world, make):
    make(world)
    _, shown = world.said("status", world.store.root)
    assert NEXT[make].format(root=world.store.root) in shown

    advised = world.advised()
    assert advised
    for one in advised:
        world.follow(one)


CLOSING = [
    (never_sent, "submit some.yaml --on ./mine.yaml", "next: STATUS --watch; COLLECT"),
    (never_sent, "run some.yaml --on ./mine.yaml", "next: STATUS --watch; COLLECT"),
    (completed, "redo ROOT", "next: STATUS --watch"),
    (failed, "retry ROOT", "next: STATUS --watch"),
    (queued, "cancel ROOT", "next: STATUS"),
    (failed, "collect ROOT", "next: STATUS"),
    (completed, "collect ROOT", "next: PLOT; REPORT"),
    (failed, "plot ROOT", "2 of 4 runs have a record; COLLECT says what the others lack"),
]
"""What a command that does something says in the end, and in which state of a sweep."""


@pytest.mark.parametrize(("make", "typed", "closing"), CLOSING)
def test_what_closes_a_command_does_what_it_says(world, make, typed, closing):
    make(world)
    root = str(world.store.root)
    _, text = world.said(*typed.replace("ROOT", root).split())
    commands = re.findall(r"[A-Z]{4,}(?: --watch)?", closing)
    for name in ("STATUS", "COLLECT", "PLOT", "REPORT"):
        full = f"probprec {name.lower()} {root}"
        closing = closing.replace(name, full)
        commands = [command.replace(name, full) for command in commands]

    assert closing in text.splitlines()
    for command in commands:
        world.follow(command)


def test_what_was_stopped_has_not_failed(world):
    stopped(world)
    _, shown = world.said("status", world.store.root)
    counts = json.loads(world.said("status", world.store.root, "--json")[1])["states"]

    assert counts == {"completed": 2, "stopped": 2}
    assert "2 stopped: it failed\n" in shown  # as the attempt said
    assert shown.count("probprec ") == 1


def test_around_bad_nodes_only_where_there_is_something_to_send(world):
    bad_node_unmended(world)
    shown = world.said("status", world.store.root)[1]
    assert "node7 looks bad" in shown
    assert "--exclude-bad-nodes" not in shown


def test_a_record_that_was_deleted_is_made_again(world):
    deleted(world)
    shown = world.said("status", world.store.root)[1]
    assert "bad_record: its record is gone: attempt 1 published one" in shown
    assert f"probprec retry {world.store.root} --class bad_record" in world.advised()


@pytest.mark.parametrize("make", [unmended, stuck, completed, never_sent, queued])
def test_a_retry_that_sends_nothing_says_what_would(world, make):
    make(world)
    _, text = world.said("retry", world.store.root)
    assert not world.sent(1)
    advised = [match.strip() for match in ADVISED.findall(text)]
    assert advised
    for one in advised:
        world.follow(one)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Three runs submitted to one worker of this machine, which is held in the first of them."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {trainer.__file__} "$@"\n')
    python.chmod(0o755)
    (tmp_path / "place.yaml").write_text(f"engine: local\npython: {python}\nthreads: 1\n")
    (tmp_path / "some.yaml").write_text(SPEC.replace("COUNT", "3").replace("10", "1"))
    hold = tmp_path / "hold"
    hold.write_text("5")
    monkeypatch.setenv("PROBPREC_TEST_HOLD", str(hold))
    words = ("submit", "some.yaml", "--on", "./place.yaml", "--workers", "1")
    (tmp_path / "said").write_text(probprec(*words, cwd=tmp_path).stdout)
    yield tmp_path
    hold.unlink(missing_ok=True)
    probprec("cancel", "some", cwd=tmp_path, check=None)
    wait_for(lambda: is_quiet(tmp_path), what="no worker is left")


def is_quiet(folder: Path) -> bool:
    look = sweep_status(Store(folder / "sweeps" / "some"))
    return not any(one.is_live for one in look.runs)


def test_what_local_workers_have_yet_to_begin_waits_for_them(here):
    """At once after `submit`; and until they are stopped, which takes one command to go on from."""
    shown = probprec("status", "some", cwd=here, check=1).stdout
    assert "pending: waiting for a local worker (process " in shown
    assert "never sent" not in shown
    assert "next: probprec status sweeps/some --watch" in shown
    wait_for(lambda: any((here / "hold.at").glob("*")), what="a run at its hold")

    runs = json.loads(probprec("status", "some", "--json", cwd=here, check=1).stdout)["runs"]
    assert [run["state"] for run in runs] == ["running", "pending", "pending"]
    assert "waits for a local worker: process " in runs[1]["evidence"]
    again = probprec("submit", "some.yaml", "--on", "./place.yaml", cwd=here).stdout
    assert "0 submitted, 0 done already, 3 waiting or running already" in again
    why = probprec("why", runs[1]["id"], cwd=here, check=1).stdout
    assert "probprec cancel sweeps/some\n" in why
    one = probprec("cancel", "some", runs[1]["id"], cwd=here, check=1).stdout
    assert "is not cancelled: waits for a local worker (process " in one
    assert "all of them: probprec cancel sweeps/some\n" in one

    stopped = probprec("cancel", "some", cwd=here).stdout
    assert "2 runs that waited for a local worker are not begun" in stopped
    wait_for(lambda: is_quiet(here), what="the worker has ended")
    shown = probprec("status", "some", cwd=here, check=1).stdout
    assert "failed" not in shown
    assert shown.count("probprec ") == 1
    (here / "hold").unlink()
    advised = shown.partition("1 runs were stopped, 2 runs were never sent; next: probprec ")[2]
    probprec(*shlex.split(advised), cwd=here)
    records = here / "sweeps" / "some" / "runs"
    wait_for(lambda: len(list(records.glob("*/record.json"))) == 3, what="all of them")


def test_the_others_go_on_by_the_command_that_cancel_names(here):
    """One run is named; its worker ends, and there is none for the others."""
    wait_for(lambda: any((here / "hold.at").glob("*")), what="a run at its hold")
    runs = json.loads(probprec("status", "some", "--json", cwd=here, check=1).stdout)["runs"]
    said = probprec("cancel", "some", runs[0]["id"], cwd=here).stdout
    (here / "hold").unlink()
    advised = said.partition("2 other runs are not begun either; to go on: probprec ")[2]
    wait_for(lambda: is_quiet(here), what="the worker has ended")
    probprec(*shlex.split(advised.splitlines()[0]), cwd=here)
    records = here / "sweeps" / "some" / "runs"
    wait_for(lambda: len(list(records.glob("*/record.json"))) == 3, what="all of them")


def test_what_closes_a_command_here_does_what_it_says(here):
    """Of `submit`, of a `run` that finds all of them at work, and of one that finds them done."""
    run = ("run", "some.yaml", "--on", "./place.yaml")
    closing = (here / "said").read_text().splitlines()[-1]
    assert closing == "1 workers are running in the background; next: probprec status sweeps/some"
    probprec("status", "sweeps/some", cwd=here, check=1)
    closing = probprec(*run, cwd=here, check=1).stdout.splitlines()[-1]
    assert closing == "next: probprec status sweeps/some --watch"

    (here / "hold").unlink()
    probprec("status", "sweeps/some", "--watch", cwd=here)
    closing = probprec(*run, cwd=here).stdout.splitlines()[-1]
    assert closing == "every run has a record; next: probprec collect sweeps/some"
    probprec("collect", "sweeps/some", cwd=here)
