"""Odd folders and values: passed on as they are, or refused before anything is written."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cluster import cli
from cluster.profile import syntax
from cluster.submit import batch_script, submit
from cluster.submit.seal import sealed
from jobs.errors import InputError
from jobs.profile import LOCAL, Profile
from jobs.store.store import Store
from jobs.store.submission_plan import Chunk
from tests.fake_slurm import FakeSlurm, make_sweep

SLURM = Profile(name="here", engine="slurm")
SPEC = "problems: [digits_mlp]\noptimizers: {SGD: {lr: 0.1}}\nseeds: 1\nepochs: 1\n"


def refused(root, profile=SLURM):
    with pytest.raises(InputError) as caught:
        syntax.require(Path(root), profile)
    return str(caught.value)


@pytest.mark.parametrize("profile", [LOCAL, SLURM], ids=lambda profile: profile.engine)
@pytest.mark.parametrize("name", ["plain", "with space", "it's", 'a"b', "$HOME", "`id`", "a,b;c#d"])
def test_what_holds(profile, name):
    syntax.require(Path("/x") / name, profile)


@pytest.mark.parametrize(
    ("root", "profile", "why"),
    [
        ("/x/co:lon", SLURM, "/x/co:lon: runs import their code from there, and ':' separates"),
        ("/x/co:lon", LOCAL, "PYTHONPATH; name another folder: --root DIR"),
        ("/x/new\nline", SLURM, "'/x/new\\nline': the path holds characters that"),
        ("/x/\udcff", LOCAL, "'/x/\\udcff': the path holds characters that"),
        ("/x/ba\\ck", SLURM, "sbatch takes no backslash in the name of a log"),
        ("/x/50%job", LOCAL, "submitit would put a number in the place of %j"),
    ],
)
def test_what_does_not_hold(root, profile, why):
    assert why in refused(root, profile)


def test_what_an_image_cannot_see():
    boxed = replace(SLURM, image=Path("/i.sif"), data=Path("/d:1"), scratch="/s,1/$USER")

    said = refused("/x/a,b", boxed)
    assert [line.partition(": ")[0] for line in said.splitlines()] == [
        "/x/a,b",
        "/d:1",
        "/s,1/$USER",
    ]
    assert "as `scratch:` in the profile" in said
    syntax.require(Path("/x/a,b"), replace(boxed, image=None))  # nothing is bound


def test_an_installation_that_python_would_not_find(monkeypatch):
    monkeypatch.setattr("jobs.snapshot.ROOT", Path("/x/my:checkout"))

    assert "/x/my:checkout: probprec is imported from there" in refused("/x")


@pytest.mark.parametrize("command", [("run",), ("submit",), ("submit", "--dry-run")])
def test_it_is_said_before_anything_is_written(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text(SPEC)
    name, *more = command

    assert cli.main([name, "a.yaml", *more, "--root", "co:lon"]) == 2

    assert f"{tmp_path}/co:lon/a: runs import their code from there" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"]


def test_a_log_lies_in_its_folder_whatever_that_is_called(tmp_path, monkeypatch):
    """In a file name pattern of sbatch, %% is a percent sign (sbatch(1))."""
    fake = FakeSlurm(tmp_path / "50%job 'runs' %A", monkeypatch, sent=False)
    fake.queue()

    submit.submit(fake.sweep, fake.store, fake.seal())

    script = next(fake.store.root.glob("submitit/*/chunk-*.sh")).read_text()
    (line,) = [line for line in script.splitlines() if line.startswith("#SBATCH --output=")]
    assert "/50%%job '\"'\"'runs'\"'\"' %%A/sweep/submitit/0001/%A_%a_0_log.out'" in line


def test_a_backslash_of_a_value_comes_through():
    assert syntax.in_directive("a\\b") == "a\\\\b"
    assert syntax.in_directive(True) is True


def test_a_batch_script_becomes_the_launcher_whatever_its_python_is_called(tmp_path, monkeypatch):
    """env(1) would take a path with = for a variable."""
    odd = tmp_path / "a=b $HOME" / "python"
    odd.parent.mkdir()
    odd.write_text('#!/bin/sh\necho "$@"; env\n')
    odd.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(odd))
    values = {"A": "it's $(echo hi) `id`\ntwo", "B": "-n", "C": ""}

    lines = batch_script.launch(values, "cluster.task", ["/s p", "1"])
    script = "\n".join([*lines, "echo never"])
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.startswith("-m cluster.task /s p 1\n")
    assert "never" not in done.stdout
    for name, value in values.items():
        assert f"\n{name}={value}\n" in done.stdout


def test_the_snapshot_is_tried_once(tmp_path):
    """Where Python cannot import it, the task says so and ends, instead of starting again for ever."""
    folder = tmp_path / "co:lon"
    store, sweep = Store(folder / "sweep"), make_sweep(1, 1)
    store.save(sweep)
    submission = store.new_submission(
        submit.plan(sweep, store, sealed(sweep, SLURM, sweep.runs, store), sweep.runs)
    )
    (group,) = submission.plan().groups
    submission.part("chunk", 0).intend(Chunk(token="t", first=0, count=1, group=group))
    variables = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0", "SLURM_JOB_ID": "7"}

    done = subprocess.run(
        [sys.executable, "-m", "cluster.task", str(store.root), "1", "0"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 1, done.stderr
    end = store.run(sweep.runs[0].run.id).journal()[-1]
    assert (end["event"], end["failure"]) == ("ended", "drifted")
    assert "Python does not import the code snapshot" in end["message"]
    assert str(store.code) in end["evidence"]


def test_a_retry_in_a_folder_that_was_renamed(tmp_path, monkeypatch):
    fake = FakeSlurm(tmp_path / "co:lon", monkeypatch)
    fake.fail(0, "100_0", "killed")
    fake.queue()
    monkeypatch.setattr("cluster.commands.retry.sealed", None)  # it does not come so far

    assert cli.main(["retry", str(fake.store.root)]) == 2
    assert len(fake.store.submissions()) == 1
