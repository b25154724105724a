"""Files are written whole or not at all."""

import os
import threading

import pytest

from jobs import files


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
