"""Files are compared with what was submitted; each state of a file is hashed once per node."""

import errno
import fcntl
import hashlib
import os
import re
import subprocess
import sys

import pytest

from jobs import hashes


@pytest.fixture(autouse=True)
def _own_memory(tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(hashes, "_CACHE_PARENT", tmp_path / "tmp")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "image.sif"
    path.write_bytes(b"content")
    return path


@pytest.fixture
def hashed(monkeypatch):
    """The files that were read."""
    seen = []
    whole = hashes.sha256_of
    monkeypatch.setattr(hashes, "sha256_of", lambda path, on: seen.append(path) or whole(path, on))
    return seen


def digest(content):
    return hashlib.sha256(content).hexdigest()


def test_a_file_is_hashed_once_per_state(file, hashed):
    assert hashes.known_sha256(file) == hashes.known_sha256(file) == digest(b"content")
    assert len(hashed) == 1
    about = file.stat()
    file.write_bytes(b"CONTENT")  # of equal size, and with the time of the old one
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))

    assert hashes.known_sha256(file) == digest(b"CONTENT")
    assert len(hashed) == 2


def test_another_file_is_refused_with_both_hashes(file):
    hashes.check(file, digest(b"content"))
    file.write_bytes(b"replaced")

    with pytest.raises(hashes.DriftedError, match=r"image\.sif: sha256") as error:
        hashes.check(file, digest(b"content"))
    assert digest(b"content") in str(error.value)
    assert digest(b"replaced") in str(error.value)


def test_what_a_killed_writer_left_is_no_hash(file, tmp_path):
    expected = hashes.known_sha256(file)
    (memory,) = (tmp_path / "tmp").rglob("sha256-*")
    memory.write_text(expected[:30])

    assert hashes.known_sha256(file) == expected
    assert re.fullmatch("[0-9a-f]{64}", memory.read_text())


def test_a_memory_that_others_can_write_to_is_not_believed(file, tmp_path, hashed):
    """Somebody else could have put a hash there."""
    folder = tmp_path / "tmp" / f"probprec-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    for _ in range(2):
        assert hashes.known_sha256(file) == digest(b"content")
    assert len(hashed) == 2
    folder.rmdir()
    folder.symlink_to(tmp_path)
    assert hashes.known_sha256(file) == digest(b"content")
    assert len(hashed) == 3


def test_many_at_once_hash_it_once(file, tmp_path):
    """Real processes: those that come second wait for the first one's hash."""
    count = tmp_path / "count"
    script = f"""
import pathlib, sys, time
from jobs import hashes
whole = hashes.sha256_of
hashes._CACHE_PARENT = pathlib.Path({str(tmp_path / "tmp")!r})
def slow(path, on):
    with open({str(count)!r}, "a") as file:
        file.write("x")
    time.sleep(0.5)
    return whole(path, on)
hashes.sha256_of = slow
print(hashes.known_sha256(pathlib.Path(sys.argv[1])))
"""
    found = [
        subprocess.Popen([sys.executable, "-c", script, file], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert {one.communicate()[0].strip() for one in found} == {digest(b"content")}
    assert count.read_text() == "x"


class ToldToStopError(Exception):
    pass


def stop():
    raise ToldToStopError


def test_hashing_and_waiting_can_be_interrupted(file, tmp_path):
    """A task that is told to stop does not first read an image of gigabytes, or wait for who does."""
    with pytest.raises(ToldToStopError):
        hashes.known_sha256(file, stop)
    (memory,) = (tmp_path / "tmp").rglob("sha256-*")
    with memory.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ToldToStopError):
            hashes.check(file, digest(b"content"), stop)
    hashes.check(file, digest(b"content"))


def test_a_full_disk_for_hashes_ends_nothing(file, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(hashes.os, "pwrite", full)
    assert hashes.known_sha256(file) == digest(b"content")


def test_hashes_of_long_ago_are_forgotten(file, tmp_path):
    hashes.known_sha256(file)
    (memory,) = (tmp_path / "tmp").glob("probprec-*/sha256-*")
    old = memory.with_name("sha256-old")
    old.touch()
    os.utime(old, (0, 0))
    hashes._forget_old.cache_clear()
    hashes.known_sha256(file)

    assert list(memory.parent.iterdir()) == [memory]
