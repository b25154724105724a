"""What is said of errors of the operating system: where, what, and what to do."""

import argparse
import errno
import os
from pathlib import Path

import pytest

from cluster.terminal.system_error import line

RUN = argparse.Namespace(command="run", root=Path("sweeps"))
COLLECT = argparse.Namespace(command="collect", root=Path("sweeps"), out=None)


def of(number, path=None, options=RUN):
    error = OSError(number, os.strerror(number), *([] if path is None else [str(path)]))
    return line(error, options)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk(tmp_path, number):
    """Whose room is to be looked at is a folder that exists."""
    said = of(number, tmp_path / "none" / "a.json")

    assert said.startswith(f"{tmp_path}/none/a.json: {os.strerror(number)}; next: make room")
    assert f"df -h {tmp_path};" in said
    assert "quota -s" in said


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_what_is_somebody_elses(tmp_path, number):
    (tmp_path / "theirs").mkdir(mode=0o750)
    said = of(number, tmp_path / "theirs" / "a.json")

    owner = f"({tmp_path}/theirs belongs to {(tmp_path / 'theirs').owner()}, drwxr-x---)"
    assert said == f"{tmp_path}/theirs/a.json: {os.strerror(number)} {owner}"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_an_owner_without_a_name(tmp_path):
    os.chown(tmp_path, 54321, -1)

    assert f"({tmp_path} belongs to user 54321, " in of(errno.EACCES, tmp_path / "a")


def test_where_else_the_command_could_write(tmp_path, monkeypatch):
    """Only an option that would help: that of the folder in which it failed."""
    monkeypatch.chdir(tmp_path)
    inside, outside = Path("sweeps", "x", "sweep.json"), tmp_path / "elsewhere"

    assert of(errno.EROFS, inside).endswith("; next: --root DIR with another folder")
    assert of(errno.EROFS, outside) == f"{outside}: Read-only file system"
    assert of(errno.EROFS, inside, COLLECT).endswith("; next: --out writes to another place")
    status = argparse.Namespace(command="status", root=Path("sweeps"))
    assert of(errno.EROFS, inside, status) == f"{inside}: Read-only file system"


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOLCK, "a folder on a file system with locks"),
        (errno.ESTALE, "try again; if it stays so, tell the admins"),
        (errno.EIO, "try again; if it stays so, tell the admins"),
        (errno.EMFILE, "ulimit -a"),
        (errno.EAGAIN, "ulimit -a"),
    ],
)
def test_what_to_do(number, advice):
    assert advice in of(number, "/x")


def test_what_has_no_name_is_standard_output():
    assert of(errno.ENOSPC).startswith("standard output: No space left on device; next: make room")
    assert of(errno.ENOENT) == "No such file or directory"


def test_any_name_of_a_file():
    error = OSError(errno.EIO, "Input/output error", b"/x/\xff")

    assert line(error, RUN).startswith("/x/\udcff: Input/output error")


def test_a_shell_whose_folder_is_gone(tmp_path, monkeypatch):
    """The system names nothing then; and a relative name leads nowhere."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()

    assert of(errno.ENOENT).startswith("the folder that this shell stands in is gone; next: cd")
    assert of(errno.ENOENT, Path("sweeps", "x")).startswith("sweeps/x: No such file or directory")
