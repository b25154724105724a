"""The command `data`, as it is typed."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import jsonschema
import pytest

from cluster.cli import main
from jobs.manifests.manifest import of_folder
from jobs.staging import stage


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "original"
    folder.mkdir()
    (folder / "a.bin").write_bytes(os.urandom(100_000))
    (folder / "b").write_bytes(b"b")
    return folder


@pytest.fixture
def data(tmp_path, capsys):
    """Runs the command; gives exit code, stdout and stderr."""

    def run(*arguments):
        words = ["data", *map(str, arguments), "--datasets", str(tmp_path / "datasets")]
        code = main(words)
        return code, *capsys.readouterr()

    return run


def test_add_and_list(data, source):
    code, out, err = data("add", "mine", source)
    sha256 = of_folder(source).sha256
    assert (code, err) == (0, "")
    assert "mine is known now: 2 files, 100 kB" in out
    assert sha256 in out
    assert "was known, with the same content" in data("add", "mine", source)[1]

    code, out, _ = data("list")
    assert code == 0
    assert all(text in out for text in ("mine", "100 kB", sha256[:12]))
    assert "gone" not in out
    shutil.rmtree(source)
    assert "gone" in data("list")[1]


def test_json(data, source):
    one = {
        "type": "object",
        "required": ["name", "source", "added", "files", "size", "sha256"],
        "properties": {"files": {"const": 2}, "size": {"const": 100_001}},
    }
    _, out, _ = data("add", "mine", source, "--json")
    added = json.loads(out)
    jsonschema.validate(added, {**one, "properties": {"schema": {"const": 1}}})
    assert added["new"] is True
    assert json.loads(data("add", "mine", source, "--json")[1])["new"] is False
    listed = json.loads(data("list", "--json")[1])
    jsonschema.validate(listed["datasets"][0], one)
    assert (listed["schema"], listed["datasets"][0]["present"]) == (1, True)
    verified = json.loads(data("verify", "--json")[1])
    assert verified["datasets"][0]["differences"] == []
    assert json.loads(data("prune", "--json")[1]) == {"schema": 1, "removed": [], "staged": []}


def test_verify(data, source):
    data("add", "mine", source)
    data("add", "other", source)
    assert data("verify")[:2] == (0, "mine: as it was\nother: as it was\n")
    old = of_folder(source).files[1].sha256
    (source / "b").write_bytes(b"c")
    new = of_folder(source).files[1].sha256
    code, out, _ = data("verify", "mine")
    assert code == 1
    assert f"{source}/b: 1 bytes with sha256 {new}, not 1 bytes with sha256 {old}" in out
    assert "other" not in out
    (source / "link").symlink_to("b")
    assert "a symbolic link" in data("verify", "mine")[1]
    shutil.rmtree(source)
    code, out, _ = data("verify")
    assert (code, out.count("no such folder or archive")) == (1, 2)


def test_nothing_to_verify(data):
    code, out, _ = data("verify")
    assert code == 0
    assert "no data sets in" in out
    assert "no data sets in" in data("list")[1]


def test_wrong_input(data, source, tmp_path):
    for arguments, text in (
        (("add", "a/b", source), "no name for a data set"),
        (("add", "mine", tmp_path / "nowhere"), "no such folder or archive"),
        (("add", "mnist", source), "this is not MNIST"),
        (("add", "mine", source / "b"), "neither a folder nor an archive"),
        (("verify", "mine"), "no data set 'mine'"),
        (("prune", "--scratch", tmp_path / "nowhere"), "no such folder"),
    ):
        code, out, err = data(*arguments)
        assert (code, out) == (2, "")
        assert text in err
    assert not (tmp_path / "datasets").exists()
    data("add", "mine", source)
    assert "did you mean mine?" in data("verify", "mien")[2]


def test_a_place_that_cannot_be_written_to(source, tmp_path, capsys):
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "x"
    assert main(["data", "add", "mine", str(source), "--datasets", str(place)]) == 1
    assert "Not a directory" in capsys.readouterr().err


@pytest.fixture
def nobody():
    """A folder that everybody can enter, and this process without root's right to read everything."""
    user = os.geteuid()
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder), lambda: os.seteuid(65534 if user == 0 else user)
        os.seteuid(user)


def test_what_cannot_be_read_is_named(nobody, capsys):
    folder, leave_root = nobody
    (folder / "set").mkdir()
    (folder / "set" / "b").touch(mode=0)
    leave_root()
    words = ["data", "add", "mine", str(folder / "set"), "--datasets", str(folder / "datasets")]

    assert main(words) == 1
    said = f"{folder}/set/b: Permission denied ({folder}/set/b belongs to root, ----------)\n"
    assert capsys.readouterr().err == said


def test_prune(data, source, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    data("add", "mine", source)
    data("add", "gone", shutil.copytree(source, tmp_path / "gone"))
    shutil.rmtree(tmp_path / "gone")
    with stage.staged(stage.store_of(scratch), of_folder(source), source):
        code, out, _ = data("prune", "--scratch", scratch)
        assert code == 0
        assert "gone: removed its manifest" in out
        assert "0 staged sets removed" in out
    assert "1 staged sets removed" in data("prune", "--scratch", scratch)[1]
    assert "no manifest removed" in data("prune")[1]
    assert [one["name"] for one in json.loads(data("list", "--json")[1])["datasets"]] == ["mine"]
    stage.store_of(scratch).chmod(0o777)
    code, _, err = data("prune", "--scratch", scratch)
    assert code == 1
    assert "this user's alone" in err


def test_the_bar_is_only_for_terminals(source, tmp_path):
    """On a terminal there is one, on stderr; what is printed on stdout is the same."""
    command = [sys.executable, "-m", "cluster.cli", "data", "add", "mine", str(source)]
    command += ["--datasets", str(tmp_path / "datasets")]
    master, terminal = os.openpty()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=terminal, check=True)
    os.close(terminal)
    shown = os.read(master, 10_000)
    os.close(master)
    assert b"reading" in shown
    assert done.stdout.startswith(b"mine is known now")
