"""From a spec to records, with the real command, real processes and real training."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobs.datasets import find
from jobs.store import Store
from tests import trainer
from tests.helpers import LONG, probprec, wait_for

SPEC = """\
problems: [digits_mlp]
optimizers:
  SGD: {lr: 0.1}
  Momentum: {lr: 0.02}
seeds: 42
epochs: 1
"""


goes_on = pytest.mark.xdist_group("finished")
"""Of the tests that use `finished`, one after the other."""


def write(folder, name, text):
    (folder / name).write_text(textwrap.dedent(text))
    return folder / name


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which the sweep `small` has been run; `test_a_wider_spec...` adds two runs."""
    folder = tmp_path_factory.mktemp("finished")
    write(folder, "small.yaml", SPEC)
    done = probprec("run", "small.yaml", "--json", cwd=folder)
    return folder, json.loads(done.stdout), done.stderr


@goes_on
def test_run_completes_every_run(finished):
    folder, report, lines = finished
    store = Store(folder / "sweeps" / "small")

    assert report["states"] == {"completed": 2}
    assert report["submitted"] == 2
    assert report["already"] == 0
    assert "[2/2] completed" in lines
    assert all(store.run(planned.run.id).record_file.exists() for planned in store.sweep().runs)
    assert all(store.run(planned.run.id).last_fence() == 1 for planned in store.sweep().runs)


@goes_on
def test_running_again_finds_everything_done(finished):
    folder, _, _ = finished
    done = probprec("run", "small.yaml", cwd=folder)
    store = Store(folder / "sweeps" / "small")

    assert "0 submitted, 2 done already" in done.stdout
    assert all(store.run(planned.run.id).last_fence() == 1 for planned in store.sweep().runs)


@goes_on
def test_a_wider_spec_runs_only_what_is_new(finished):
    folder, _, _ = finished
    write(folder, "small.yaml", SPEC.replace("seeds: 42", "seeds: 42..43"))
    done = probprec("run", "small.yaml", "--json", cwd=folder)
    report = json.loads(done.stdout)

    assert (report["submitted"], report["already"]) == (2, 2)


@goes_on
def test_status_names_the_evidence(finished):
    folder, _, _ = finished
    report = json.loads(probprec("status", "small", "--json", cwd=folder).stdout)

    assert report["slurm_calls"] == 0
    assert all(run["evidence"].endswith("record.json") for run in report["runs"])
    assert {run["epoch"] for run in report["runs"]} == {1}


@goes_on
def test_status_collect_and_plot_say_what_comes_next(finished):
    folder, _, _ = finished
    shown = probprec("status", "small", cwd=folder).stdout
    collected = probprec("collect", "sweeps/small", cwd=folder).stdout
    plotted = probprec("plot", "small", "--figure", "final", cwd=folder).stdout

    assert "next: probprec collect sweeps/small" in shown
    count = len(Store(folder / "sweeps" / "small").sweep().runs)
    assert f"expected {count}, completed {count}" in collected
    assert "next: probprec plot sweeps/small" in collected
    assert plotted.split() == [f"sweeps/small/figures/final.{kind}" for kind in ("png", "pdf")]


@goes_on
def test_a_torn_record_is_run_again(finished):
    folder, _, _ = finished
    store = Store(folder / "sweeps" / "small")
    victim = store.run(store.sweep().runs[0].run.id)
    whole = victim.record_file.read_bytes()
    victim.record_file.write_bytes(whole[: len(whole) // 2])

    report = json.loads(probprec("status", "small", "--json", cwd=folder, check=1).stdout)
    assert [run["class"] for run in report["runs"]].count("bad_record") == 1
    probprec("run", "small.yaml", cwd=folder)

    again, before = json.loads(victim.record_file.read_bytes()), json.loads(whole)
    assert again["curves"] == before["curves"]
    assert again["provenance"]["attempts"] == 2
    assert len(list(victim.path.glob("record.torn-*"))) == 1


def test_own_code_and_a_relative_folder_of_data_are_named_in_the_record(tmp_path, monkeypatch):
    """Runs stand in another folder than the one in which the variable was set."""
    original = find.find("digits")
    folder = tmp_path / "data" / "digits"
    folder.mkdir(parents=True)
    shutil.copy(original / "digits.csv.gz", folder)
    monkeypatch.setenv(find.VARIABLE, "data")
    write(
        tmp_path,
        "own_opt.py",
        """
        import torch

        class Own(torch.optim.SGD):
            pass
        """,
    )
    write(
        tmp_path,
        "own.yaml",
        """
        problems: [digits_mlp]
        optimizers: {own: {optimizer: own_opt.Own, lr: 0.1}}
        seeds: 42
        epochs: 1
        """,
    )
    probprec("run", "own.yaml", cwd=tmp_path)
    store = Store(tmp_path / "sweeps" / "own")
    record = json.loads(store.run(store.sweep().runs[0].run.id).record_file.read_bytes())

    assert list(record["provenance"]["own_code"]) == ["own_opt.Own"]
    assert record["provenance"]["data"]["folder"] == str(folder)
    assert record["cost"]["total"]["cpu_s"] > 0


# From here on, how runs come and go: the light training will do.


@dataclass(frozen=True)
class Site:
    """A folder with the spec `long.yaml`, whose runs are held at a step until they are let go."""

    folder: Path
    hold: Path
    words: tuple[str, ...]  # of `run` and `submit`

    @property
    def store(self):
        return Store(self.folder / "sweeps" / "long")

    def wait_held(self):
        """Until a run waits at the hold."""
        wait_for(lambda: any(Path(f"{self.hold}.at").glob("*")), what="a run at its hold")

    def let_go(self):
        self.hold.unlink()


@pytest.fixture
def site(tmp_path, monkeypatch):
    python = write(
        tmp_path, "light-python", f'#!/bin/sh\nexec {sys.executable} {trainer.__file__} "$@"\n'
    )
    python.chmod(0o755)
    profile = write(tmp_path, "light.yaml", f"engine: local\npython: {python}\nthreads: 1\n")
    hold = write(tmp_path, "hold", "5")
    monkeypatch.setenv("PROBPREC_TEST_HOLD", str(hold))
    write(tmp_path, "long.yaml", SPEC)
    return Site(tmp_path, hold, ("long.yaml", "--on", str(profile), "--workers", "1"))


def test_one_failure_stops_nothing_else(site):
    """The error's first line and its log are shown, the exit code is 1, the others have records."""
    site.let_go()
    write(
        site.folder,
        "broken_opt.py",
        """
        class Broken:
            def __init__(self, params, lr):
                del params, lr

            def step(self):
                raise RuntimeError("this optimizer is broken\\nsecond line")
        """,
    )
    write(
        site.folder,
        "mixed.yaml",
        """
        problems: [digits_mlp]
        optimizers:
          broken: {optimizer: "broken_opt:Broken", lr: 0.1}
          SGD: {lr: 0.1}
        seeds: 42
        epochs: 1
        """,
    )
    done = probprec("run", "mixed.yaml", *site.words[1:], cwd=site.folder, check=1)

    assert "RuntimeError: this optimizer is broken" in done.stdout
    assert "output.log" in done.stdout
    assert "second line" not in done.stdout
    report = json.loads(probprec("status", "mixed", "--json", cwd=site.folder, check=1).stdout)
    assert report["states"] == {"completed": 1, "failed": 1}


def test_ctrl_c_stops_cleanly_and_running_again_continues(site):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background job
    process = subprocess.Popen(
        [sys.executable, "-m", "cluster.cli", "run", *site.words],
        cwd=site.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    site.wait_held()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to everybody in the foreground
    output, _ = process.communicate(timeout=LONG)

    assert process.returncode == 130
    assert "Traceback" not in output
    assert "the same command continues" in output
    assert not trainings_below(site.folder)
    assert not list(site.store.runs.glob("*/record.json"))
    site.let_go()
    probprec("run", *site.words, cwd=site.folder)
    records = [json.loads(path.read_bytes()) for path in site.store.runs.glob("*/record.json")]
    told = sorted((of["provenance"]["attempts"], of["provenance"]["resumes"]) for of in records)
    assert told == [(1, 0), (2, 1)]


def test_submit_returns_at_once_and_sends_each_run_once(site):
    """Two submissions, the second while the first is running, attempt no run twice."""
    probprec("submit", *site.words, "--json", cwd=site.folder)
    site.wait_held()
    process = subprocess.Popen(
        [sys.executable, "-m", "cluster.cli", "run", *site.words], cwd=site.folder
    )
    wait_for(lambda: len(site.store.submissions()) == 2, what="the second submission")
    site.let_go()
    process.wait(LONG)
    wait_for(lambda: len(list(site.store.runs.glob("*/record.json"))) == 2)

    assert all(len(list(path.iterdir())) == 1 for path in site.store.runs.glob("*/attempts"))


def test_a_killed_launcher_is_lost_and_its_training_dies(site):
    """SIGKILL leaves no end in the journal: the run is lost, not failed, and runs again."""
    probprec("submit", *site.words, cwd=site.folder)
    site.wait_held()
    claimed = [
        line
        for path in site.store.runs.iterdir()
        for line in site.store.run(path.name).journal()
        if line["event"] == "claimed"
    ]
    os.kill(claimed[0]["pid"], signal.SIGKILL)
    wait_for(lambda: not trainings_below(site.folder))

    report = json.loads(probprec("status", "long", "--json", cwd=site.folder, check=1).stdout)
    assert report["states"] == {"lost": 1, "pending": 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "none.yaml"], "none.yaml"),
        (["status", "none"], "is no sweep"),
        (["collect", "none"], "is no sweep"),
        (["plot", "none"], "is no sweep"),
    ],
)
def test_wrong_input_is_one_message_and_exit_code_2(tmp_path, arguments, message):
    done = probprec(*arguments, cwd=tmp_path, check=2)

    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def trainings_below(folder):
    """Process ids of trainings whose command line names the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes()
        except OSError:
            continue
        if b"jobs.train" in arguments and str(folder).encode() in arguments:
            found.append(path.parent.name)
    return found
