"""Whether a problem does anything with the folder that it is given."""

import copy
import os
import pickle
import sys
from pathlib import Path

import pytest

from jobs.datasets.watched_path import is_used, watched
from jobs.store.attempts import AttemptFiles
from jobs.training import execute
from tests.helpers import make_run
from tests.test_jobs_problems_build import OWN


def in_a_child(folder):
    child = os.fork()
    if child == 0:
        folder.exists()
        os._exit(0)
    os.waitpid(child, 0)


def joined(folder):
    return folder / "x"


def joined_to_another(folder):
    return Path("/x") / folder


def formatted(folder):
    return f"{folder}/x"


def compared(folder):
    return folder == Path("/x")


def suffix(folder):
    return folder.suffix


@pytest.mark.parametrize(
    "use",
    [
        str,
        repr,
        os.fspath,
        Path,
        pickle.dumps,
        copy.deepcopy,
        os.listdir,
        in_a_child,
        Path.exists,
        joined,
        joined_to_another,
        formatted,
        compared,
        suffix,
    ],
)
def test_whatever_is_done_with_it_is_noticed(tmp_path, use):
    folder = watched(tmp_path)
    assert not is_used()
    use(folder)

    assert is_used()


def test_it_is_used_as_any_other_path(tmp_path):
    (tmp_path / "x").write_text("x")
    folder = watched(tmp_path)

    assert isinstance(folder, Path)
    assert (folder / "x").read_text() == "x"
    assert folder == tmp_path
    assert hash(folder) == hash(tmp_path)
    assert str(pickle.loads(pickle.dumps(folder))) == str(copy.copy(folder)) == str(tmp_path)


def test_what_is_only_handed_on_is_not_used(tmp_path):
    folder = watched(tmp_path)
    assert folder is not None
    assert isinstance(folder, Path)
    assert [folder][0] is folder
    assert bool(folder)

    assert not is_used()


@pytest.mark.parametrize("line", ["", "(data / 'x').exists()"])
def test_a_record_calls_only_what_was_used_unverified(tmp_path, monkeypatch, line):
    """The cluster's folder of data sets is given to each problem, also to one that reads nothing."""
    (tmp_path / "some_blobs.py").write_text(
        OWN.replace("def examples(self, data):\n", f"def examples(self, data):\n        {line}\n")
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "some_blobs", raising=False)
    run = make_run(problem="some_blobs.Blobs", epochs=1)
    record = execute.execute(run, data=tmp_path, out=AttemptFiles(tmp_path))

    expected = {"dataset": None, "folder": str(tmp_path), "unverified": True}
    assert record["provenance"]["data"] == (expected if line else None)
