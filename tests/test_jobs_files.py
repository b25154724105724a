"""Files are written whole or not at all."""

import errno
import os
import threading
from pathlib import Path

import pytest

from jobs import files
from jobs.store import record
from jobs.store.attempts import RunFolder
from jobs.store.store import Store


def test_a_line_that_is_not_written_as_a_whole_is_an_error(tmp_path, monkeypatch):
    """A full disk takes a part of it, and says nothing."""
    monkeypatch.setattr(os, "write", lambda _, content: len(content) - 1)

    with pytest.raises(OSError, match="No space left on device"):
        files.append_line(tmp_path / "lines", {"a": 1})


def test_write_replaces(tmp_path):
    target = tmp_path / "a.json"
    files.write_atomically(target, b"1")
    files.write_atomically(target, b"2")

    assert target.read_bytes() == b"2"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    target = tmp_path / "a.json"
    files.write_atomically(target, b"1")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_atomically(target, b"2")

    assert target.read_bytes() == b"1"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_publish_never_replaces(tmp_path):
    target = tmp_path / "a.json"
    files.publish(target, b"1")
    with pytest.raises(FileExistsError):
        files.publish(target, b"2")

    assert target.read_bytes() == b"1"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_torn_line_is_left_out_and_spoils_no_other(tmp_path):
    """A writer killed in the middle of a line costs that line, not the one appended after it."""
    target = tmp_path / "a.jsonl"
    files.append_line(target, {"n": 1})
    with target.open("ab") as file:
        file.write(b'{"n": 2, "te')
    files.append_line(target, {"n": 3})

    assert files.read_lines(target) == [{"n": 1}, {"n": 3}]


def test_appended_lines_do_not_interleave(tmp_path):
    target = tmp_path / "a.jsonl"

    def write(number):
        for index in range(50):
            files.append_line(target, {"writer": number, "index": index, "text": "x" * 500})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    lines = files.read_lines(target)
    assert len(lines) == 200
    assert all(
        [line["index"] for line in lines if line["writer"] == number] == list(range(50))
        for number in range(4)
    )


def test_json_has_no_nan():
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.to_json({"loss": float("nan")})


def test_lines_of_a_missing_file(tmp_path):
    assert files.read_lines(tmp_path / "none") == []


@pytest.mark.parametrize(("mask", "mode"), [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600)])
def test_the_umask_says_who_may_read_and_write(tmp_path, mask, mode):
    """Files and the folder of an attempt, which keeps what its own folder says of groups."""
    tmp_path.chmod(0o2700)
    before = os.umask(mask)
    try:
        files.write_atomically(tmp_path / "written", b"1")
        files.publish(tmp_path / "published", b"1")
        files.append_line(tmp_path / "appended", {})
        attempt = RunFolder(tmp_path / "run").claim()
    finally:
        os.umask(before)
    attempt.release()
    made = [*(tmp_path / name for name in ("written", "published", "appended"))]
    modes = {path.name: path.stat().st_mode & 0o7777 for path in [*made, attempt.path / "lock"]}

    assert modes == dict.fromkeys(("written", "published", "appended", "lock"), mode)
    assert attempt.path.stat().st_mode & 0o7777 == 0o2777 & ~mask


@pytest.mark.parametrize(
    ("write", "module", "at"),
    [
        (files.write_atomically, os, "open"),
        (files.write_atomically, os, "fsync"),
        (files.write_atomically, Path, "replace"),
        (files.publish, os, "fsync"),
        (files.publish, os, "link"),
    ],
)
def test_an_error_names_what_was_to_be_written(tmp_path, monkeypatch, write, module, at):
    """Not a temporary name that nobody knows, and not nothing."""

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, at, full)
    with pytest.raises(OSError, match="No space left") as told:
        write(tmp_path / "a.json", b"1")

    assert (told.value.errno, told.value.filename) == (errno.ENOSPC, str(tmp_path / "a.json"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["record.json", "journal.jsonl", "run.json"])
def test_a_pipe_in_a_sweeps_folder_is_not_waited_for(tmp_path, name):
    """Somebody's backup or editor left it there: it is named, or nothing is in it."""
    folder = RunFolder(tmp_path)
    os.mkfifo(tmp_path / name)
    with pytest.raises(OSError, match=f"this is no plain file: '{tmp_path / name}'"):
        files.read(tmp_path / name)
    if name == "record.json":
        with pytest.raises(OSError, match="no plain file"):
            record.read(folder.record_file)
    with pytest.raises(OSError, match="no plain file"):
        files.read_lines(tmp_path / name)
    os.mkfifo(tmp_path / "sweep.json")
    with pytest.raises(OSError, match="no plain file"):
        Store(tmp_path).sweep()
