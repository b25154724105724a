"""From a spec to records, with the real command, real processes and real training."""

import contextlib
import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from cluster.commands import run
from cluster.commands.follow import Watch
from cluster.submit.submit import Receipt
from jobs.datasets import find
from jobs.store.store import Store
from tests import trainer
from tests.helpers import LONG, probprec, short_folder, wait_for
from tests.make_sweep import make_sweep

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
    assert "next: probprec plot sweeps/small; probprec report sweeps/small" in collected
    assert plotted.split() == [
        f"sweeps/small/figures/final.{kind}" for kind in ("png", "pdf", "txt")
    ]


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

    assert list(record["provenance"]["own_code"]) == ["own_opt"]
    assert {"torch", "numpy", "python"} <= set(record["provenance"]["packages"])
    assert record["provenance"]["data"]["folder"] == str(folder)
    assert record["cost"]["total"]["cpu_s"] > 0


def test_the_data_of_an_own_problem_is_in_its_records(tmp_path):
    """By the hash of all that is in the folder: other data is another hash."""
    (tmp_path / "points").mkdir()
    write(
        tmp_path,
        "mine.py",
        """
        import torch
        from torch import nn
        from jobs.problems.classification import Classification, Examples

        class Points(Classification):
            valid_size = train_eval_size = 5

            def examples(self, data):
                count = int((data / "count.txt").read_text())
                inputs, labels = torch.ones(count, 2), torch.zeros(count, dtype=torch.long)
                return Examples(inputs, labels), Examples(inputs, labels)

            def network(self):
                return nn.Linear(2, 2)
        """,
    )
    write(
        tmp_path,
        "own.yaml",
        """
        problems: {points: {problem: "mine:Points", epochs: 1, batch_size: 5}}
        optimizers: {SGD: {lr: 0.1}}
        seeds: [1, 2]
        data: points
        """,
    )
    store, found = Store(tmp_path / "sweeps" / "own"), []
    for seed, count in ((1, "20"), (2, "30")):
        write(tmp_path / "points", "count.txt", count)
        probprec("run", "own.yaml", "--only", f"seed={seed}", cwd=tmp_path, check=None)
        (planned,) = (one for one in store.sweep().runs if one.run.seed == seed)
        record = json.loads(store.run(planned.run.id).record_file.read_bytes())
        found.append(record["provenance"]["data"])

    assert all(data["folder"] == str(tmp_path / "points") for data in found)
    assert len({data["manifest"] for data in found}) == 2
    assert all(store.manifest_file(data["manifest"]).exists() for data in found)


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


def interrupted(site):
    """What `run` says that Ctrl-C stops while a run is held."""
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
    assert process.returncode == 130, output
    return output


def test_ctrl_c_stops_cleanly_and_running_again_continues(site):
    output = interrupted(site)

    assert "Traceback" not in output
    assert "the same command continues" in output
    assert not trainings_below(site.folder)
    assert not list(site.store.runs.glob("*/record.json"))
    site.let_go()
    probprec("run", *site.words, cwd=site.folder)
    records = [json.loads(path.read_bytes()) for path in site.store.runs.glob("*/record.json")]
    told = sorted((of["provenance"]["attempts"], of["provenance"]["resumes"]) for of in records)
    assert told == [(1, 0), (2, 1)]


OWN = """
seeds: 42
problems: [digits_mlp]
optimizers: {own: {optimizer: "my_opt:Mine", lr: 0.1}}
epochs: 2
"""


@pytest.fixture
def edited(site):
    """A sweep of an own optimizer that reads a helper and a file, stopped in its first attempt."""
    write(site.folder, "helper.py", "FACTOR = 1\n")
    write(site.folder, "factors.json", "[1]\n")
    write(
        site.folder,
        "my_opt.py",
        """
        from pathlib import Path

        import helper

        class Mine:
            def __init__(self, params, lr):
                self.factors = Path(__file__).with_name("factors.json").read_text()

            def step(self):
                pass
        """,
    )
    write(site.folder, "long.yaml", OWN)
    interrupted(site)
    return site


@pytest.mark.parametrize(
    ("file", "text", "named"),
    [
        ("helper.py", "FACTOR = 0\n", "helper"),
        ("factors.json", "[0]\n", "./factors.json"),
        (
            "my_opt.py",
            "class Mine:\n    __init__ = lambda *_, lr: None\n    step = print\n",
            "my_opt",
        ),
    ],
)
def test_a_checkpoint_of_code_that_was_edited_is_not_used(edited, file, text, named):
    """The run starts anew, and its journal, its log and `why` say so."""
    write(edited.folder, file, text)
    edited.let_go()
    probprec("run", *edited.words, cwd=edited.folder)
    (file,) = edited.store.runs.glob("*/record.json")
    record = json.loads(file.read_bytes())
    folder = edited.store.run(record["id"])

    assert (record["provenance"]["attempts"], record["provenance"]["resumes"]) == (2, 0)
    (line,) = (line for line in folder.journal() if line["event"] == "anew")
    words = f"not from the checkpoint after step 5: your code has changed ({named})"
    assert line["message"] == words
    assert words in folder.attempt(2).log_file.read_text()
    shown = probprec("why", record["id"], cwd=edited.folder).stdout
    assert f"attempt 2 began anew: {words}" in " ".join(shown.split())


def test_what_a_training_does_not_use_costs_nothing(edited):
    """Notes, and modules that nobody imports, may be edited between two attempts."""
    write(edited.folder, "README.md", "notes\n")
    write(edited.folder, "unused.py", "")
    edited.let_go()
    probprec("run", *edited.words, cwd=edited.folder)
    (file,) = edited.store.runs.glob("*/record.json")
    record = json.loads(file.read_bytes())

    assert (record["provenance"]["attempts"], record["provenance"]["resumes"]) == (2, 1)
    assert set(record["provenance"]["own_code"]) == {"my_opt", "helper", "./factors.json"}


def test_submit_returns_at_once_and_sends_each_run_once(site):
    """What runs, and what its worker has yet to begin, is left to it by whoever comes second."""
    probprec("submit", *site.words, "--json", cwd=site.folder)
    site.wait_held()
    said = probprec("run", *site.words, cwd=site.folder, check=1).stdout
    assert "2 runs were left to whoever is running them already" in said
    assert "next: probprec status sweeps/long --watch" in said
    assert len(site.store.submissions()) == 1
    site.let_go()
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


@pytest.mark.skipif(os.getuid() != 0, reason="a file system of its own takes root")
def test_what_keeps_runs_from_being_begun_is_said(tmp_path):
    """Their workers cannot even write it down where the disk is full."""
    sweep = make_sweep(tmp_path / "small", is_recorded=lambda _: False).sweep()
    full = tmp_path / "full"
    full.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "probprec", full], check=True)
    try:
        Store(full / "small").save(sweep)
        with (full / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        ids = [planned.run.id for planned in sweep.runs]
        receipt = Receipt(
            store=Store(full / "small"),
            sweep=sweep,
            submitted=dict.fromkeys(ids, 0),
            done=(),
            running=(),
        )
        found = Watch(receipt).look()
        console = Console(file=io.StringIO(), width=200)
        with pytest.raises(OSError, match="No space left") as told:
            run._require_begun(receipt, found, console)
    finally:
        subprocess.run(["umount", "--lazy", full], check=True)

    assert told.value.filename.startswith(f"{full}/small/runs/{ids[0]}/")
    assert console.file.getvalue().startswith(f"{len(ids)} runs could not be begun")


@pytest.mark.skipif(os.getuid() != 0, reason="to be two other users takes root")
def test_a_colleague_retries_what_failed():
    """In a folder of their group, by the umask alone: nobody changes a mode by hand."""
    with short_folder() as folder:
        os.chown(folder, 65533, 65530)
        folder.chmod(0o2775)
        python = write(folder, "python", "#!/bin/sh\nexit 1\n")
        python.chmod(0o755)
        write(folder, "light.yaml", f"engine: local\npython: {python}\nthreads: 1\n")
        write(folder, "small.yaml", SPEC)
        words = ["run", "small.yaml", "--on", "./light.yaml"]
        assert "exit code 1 without a report" in as_colleague(65533, *words, cwd=folder, check=1)
        store = Store(folder / "sweeps" / "small")
        write(folder, "python", f'#!/bin/sh\nexec {sys.executable} {trainer.__file__} "$@"\n')
        as_colleague(65534, "retry", "small", "--failed", cwd=folder)
        runs = [store.run(planned.run.id) for planned in store.sweep().runs]
        wait_for(lambda: all(one.record_file.exists() for one in runs), what="all records")

        assert {one.record_file.stat().st_uid for one in runs} == {65534}
        assert "next: probprec collect" in as_colleague(65533, "status", "small", cwd=folder)
        as_colleague(65533, "collect", "small", cwd=folder)
        as_colleague(65534, "collect", "small", cwd=folder)
        modes = {path: path.stat().st_mode for path in store.root.rglob("*")}
        assert all(mode & stat.S_IWGRP for mode in modes.values()), modes


def as_colleague(user, *words, cwd, check=0):
    """What the command prints to a user of the group 65530 whose umask is 002.

    They may read all: Python itself may lie in root's home. What they may write is as for everybody.
    """
    capability = "+dac_read_search"
    who = [f"--reuid={user}", "--regid=65530", "--clear-groups"]
    may = [f"--inh-caps={capability}", f"--ambient-caps={capability}"]
    done = subprocess.run(
        ["setpriv", *who, *may, sys.executable, "-m", "cluster.cli", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(trainer.__file__).parent.parent)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        umask=0o002,
    )
    assert done.returncode == check, done.stdout + done.stderr
    return done.stdout


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
