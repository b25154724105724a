"""The scratch of a node: what its name means there, and what is left of it."""

import fcntl
import os
import pwd
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from jobs.staging import scratch

ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("/scratch/$USER/x", f"/scratch/{ME}/x"),
        ("/scratch/${USER}x", f"/scratch/{ME}x"),
        ("$USERWORK", "/work/me"),
        ("$USER_SCRATCH/x", "/fast/x"),
        ("${SLURM_JOB_ID}", None),
        ("/scratch/$SLURM_JOB_ID", None),
        ("~/x", f"{Path.home()}/x"),
        ("relative/$USER", None),
        ("$RELATIVE", None),
        ("", None),
        (None, None),
    ],
)
def test_what_a_name_means(monkeypatch, place, path):
    """A variable whose name begins with USER is another one; without a value there is no scratch."""
    for name, value in {"USERWORK": "/work/me", "USER_SCRATCH": "/fast", "RELATIVE": "x"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)

    assert scratch.expanded(place) == (Path(path) if path else None)


def test_a_node_that_does_not_know_its_users_by_name(monkeypatch):
    def unknown(_uid):
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setenv("USER", "alice")
    assert scratch.expanded("/scratch/$USER") == Path("/scratch/alice")
    monkeypatch.delenv("USER")
    assert scratch.expanded("/scratch/$USER") is None
    assert scratch.expanded("/scratch/all") == Path("/scratch/all")


def test_a_folder_that_was_made_for_one_job_goes_with_it(tmp_path, monkeypatch):
    """Else each job would leave a copy of the data behind, which nobody frees."""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with ExitStack() as stack:
        made = scratch.make(f"{tmp_path}/ours/$SLURM_JOB_ID/x", stack)
        assert made == tmp_path / "ours" / "7" / "x"
        (made / "sets").mkdir()
        (made / "sets" / "data.bin").write_bytes(b"data")
    assert not list((tmp_path / "ours").iterdir())

    for place in ("$SLURM_JOB_ID", "$USER"):
        there = tmp_path / place.replace("$SLURM_JOB_ID", "7").replace("$USER", ME)
        if "JOB" in place:
            there.mkdir()  # the site made it, and removes it
        with ExitStack() as stack:
            assert scratch.make(f"{tmp_path}/{place}", stack) == there
            (there / "data.bin").write_bytes(b"data")
        assert (there / "data.bin").exists()


def test_the_last_one_removes_it(tmp_path, monkeypatch):
    """Several workers of a job use it at once, each for one task after the other."""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    place = f"{tmp_path}/$SLURM_JOB_ID"
    first, second = ExitStack(), ExitStack()
    made = scratch.make(place, first)
    assert scratch.make(place, second) == made
    (made / "file").touch()
    first.close()
    assert (made / "file").exists()
    second.close()
    assert not made.exists()


def test_a_folder_that_has_just_been_made_anew_is_held(tmp_path, monkeypatch):
    """Between our two looks one task has removed it, and another one has made it again."""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    place = f"{tmp_path}/$SLURM_JOB_ID"
    before, ours, after = ExitStack(), ExitStack(), ExitStack()
    made = scratch.make(place, before)
    really = os.open

    def meanwhile(path, *arguments, **more):
        if Path(path).name != ".made-by-probprec":
            return really(path, *arguments, **more)
        monkeypatch.undo()
        monkeypatch.setenv("SLURM_JOB_ID", "7")
        before.close()
        try:
            return really(path, *arguments, **more)
        finally:
            scratch.make(place, after)

    monkeypatch.setattr(scratch.os, "open", meanwhile)
    assert scratch.make(place, ours) == made
    after.close()
    assert made.exists()
    ours.close()
    assert not made.exists()


def test_what_a_killed_task_left_is_removed_by_the_next_one(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    killed = (
        "import os, signal, sys; from contextlib import ExitStack; from jobs.staging import scratch;"
        "scratch.make(sys.argv[1], ExitStack()); os.kill(os.getpid(), signal.SIGKILL)"
    )
    place = f"{tmp_path}/$SLURM_JOB_ID"
    subprocess.run([sys.executable, "-c", killed, place], check=False)
    assert (tmp_path / "7").exists()
    with ExitStack() as stack:
        scratch.make(place, stack)
    assert not (tmp_path / "7").exists()


def test_a_link_that_leads_nowhere_is_no_scratch(tmp_path, monkeypatch):
    """It ends in an error, not in trying again for ever."""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    (tmp_path / "7").symlink_to(tmp_path / "nowhere")
    with ExitStack() as stack, pytest.raises(OSError, match="Not a directory"):
        scratch.make(f"{tmp_path}/$SLURM_JOB_ID", stack)
    assert [path.name for path in tmp_path.iterdir()] == ["7"]


def test_many_come_and_go_at_once(tmp_path):
    """Real processes: nobody's folder goes while it is used, and in the end nothing is left."""
    script = """
import sys
from contextlib import ExitStack
from pathlib import Path
from jobs.staging import scratch
for number in range(60):
    with ExitStack() as stack:
        made = scratch.make(sys.argv[1], stack)
        file = made / f"{sys.argv[2]}-{number}"
        file.touch()
        assert file.exists()
"""
    place = f"{tmp_path}/$SLURM_JOB_ID"
    environment = {**os.environ, "SLURM_JOB_ID": "7"}
    tasks = [
        subprocess.Popen([sys.executable, "-c", script, place, str(name)], env=environment)
        for name in range(4)
    ]
    assert [task.wait() for task in tasks] == [0] * 4
    assert not list(tmp_path.iterdir())


def test_temporary_files_of_killed_tasks_are_swept(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch.socket, "gethostname", lambda: "n1")
    old = time.time() - 3600
    names = (
        "probprec-tmp-n1-abandoned",
        "probprec-tmp-n1-inuse",
        "probprec-tmp-n1-2-other",
        "probprec-tmp-n10-other",
        "x",
    )
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
        os.utime(tmp_path / name, (old, old))
    held = os.open(tmp_path / "probprec-tmp-n1-inuse", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    with ExitStack() as stack:
        made = scratch.temporary(tmp_path, stack)
        assert made.parent == tmp_path
        (made / "file").touch()
    os.close(held)

    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])


def test_no_node_removes_what_another_one_uses(tmp_path, monkeypatch):
    """On a file system that they share a lock on a folder is seen by its own node alone."""
    monkeypatch.setattr(scratch.socket, "gethostname", lambda: "n1")
    with ExitStack() as first, ExitStack() as second:
        made = scratch.temporary(tmp_path, first)
        os.utime(made, (0, 0))
        monkeypatch.setattr(fcntl, "flock", lambda *_: None)
        monkeypatch.setattr(scratch.socket, "gethostname", lambda: "n2")
        scratch.temporary(tmp_path, second)
        assert made.exists()
