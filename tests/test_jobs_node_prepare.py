"""What a task's runs find on the node: staged or in place, verified, or a failure with its class."""

import errno
import fcntl
import json
import os
import signal
import tarfile
import threading
import time
from pathlib import Path

import pytest

from containers.command import Command
from containers.runtime import ContainerError
from containers.training import Training
from jobs import files, snapshot
from jobs.errors import DriftedError
from jobs.manifests.manifest import ManifestError, of_folder
from jobs.node.deadline import Deadline
from jobs.node.execution import Execution
from jobs.node.launcher import Launcher
from jobs.node.prepare import Node, Reporter, why_not
from jobs.staging import stage, staged_sets
from jobs.store import journal, state
from jobs.store.store import Store
from jobs.store.submission_plan import Entry, Sealed
from jobs.sweep import Run
from tests.helpers import note
from tests.test_jobs_node_launcher import (
    HEAD,
    RUN,
    Element,
    _handlers,  # noqa: F401 - a fixture, used by all
    ends,
    outcome,
)

FILES = {"digits.csv": b"0,1,2\n" * 1000, "deep/more": b"more"}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "sweep")


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def sealed(store, source):
    """The data set as it was when the run was submitted."""
    manifest = of_folder(source)
    file = store.manifest_file(manifest.sha256)
    file.parent.mkdir(parents=True)
    files.write_atomically(file, files.to_json(manifest.to_json()))
    return Sealed(path=source, sha256=manifest.sha256)


@pytest.fixture
def seen(monkeypatch):
    """The folders of data that trainings were given; the training itself is none."""
    import sys

    folders = []

    def command(training, _container):
        data = training.data
        folders.append((data, sorted(path.name for path in data.rglob("*") if path.is_file())))
        return Command(
            arguments=(sys.executable, "-c", HEAD + "publish()", str(training.out)),
            environment={**os.environ, "OUTCOME": json.dumps(outcome())},
        )

    monkeypatch.setattr(Training, "command", command)
    return folders


def attempt(store, sealed, tmp_path, *, allocation=None, scratch="scratch/$USER", **changes):
    """One attempt of RUN; the lines of its journal and, if there is one, its record."""
    folder = store.run(RUN.id)
    how = Execution(
        data=None,
        code_file=Path("none.zip"),
        datasets={"digits": sealed},
        scratch=f"{tmp_path}/{scratch}" if scratch else None,
        requeues=frozenset({"preempted"}),
        **changes,
    )
    launcher = Launcher(store, how, Deadline(allocation or Element()))
    launcher.run_task([Entry.of(RUN, folder.last_fence())])
    record = json.loads(folder.record_file.read_bytes()) if folder.record_file.exists() else None
    return folder.journal(), record


def events(lines):
    return [line["event"] for line in lines]


def test_data_is_staged_and_the_record_says_so(store, sealed, tmp_path, seen):
    lines, record = attempt(store, sealed, tmp_path)
    staging = record["provenance"]["staging"]

    assert events(lines) == ["claimed", "staged", "publishing", "ended"]
    assert staging["dataset"] == "digits"
    assert staging["manifest"] == sealed.sha256
    assert staging["copied_bytes"] == sum(map(len, FILES.values()))
    assert not staging["hit"]
    ((folder, names),) = seen
    assert folder.is_relative_to(tmp_path / "scratch")
    assert names == ["digits.csv", "more"]


def test_a_second_task_finds_it(store, sealed, tmp_path, seen):
    attempt(store, sealed, tmp_path)
    store.run(RUN.id).record_file.unlink()
    lines, record = attempt(store, sealed, tmp_path)

    assert record["provenance"]["staging"]["hit"]
    assert [line["copied_bytes"] for line in lines if line["event"] == "staged"][-1] == 0
    assert seen[0] == seen[1]


@pytest.mark.parametrize("scratch", [None, "blocked/$USER", "$NOT_SET_HERE"])
def test_without_scratch_the_profile_decides(store, sealed, tmp_path, seen, scratch):
    (tmp_path / "blocked").touch()
    lines, record = attempt(store, sealed, tmp_path, scratch=scratch, unstaged="fail")
    assert lines[-1]["failure"] == "disk_full"
    assert "digits cannot be staged" in lines[-1]["message"]
    assert record is None

    lines, record = attempt(store, sealed, tmp_path, scratch=scratch)
    assert record["provenance"]["staging"]["in_place"]
    assert seen == [(sealed.path, ["digits.csv", "more"])]
    assert ("not staged" in events(lines)) is (scratch is not None)


@pytest.mark.parametrize("scratch", [None, "scratch"])
def test_a_flipped_byte_is_no_number(store, sealed, tmp_path, seen, scratch):
    content = bytearray((sealed.path / "digits.csv").read_bytes())
    content[7] ^= 1
    (sealed.path / "digits.csv").write_bytes(content)
    lines, record = attempt(store, sealed, tmp_path, scratch=scratch)

    assert record is None
    assert not seen
    assert lines[-1]["failure"] == "drifted"
    assert lines[-1]["message"] == "digits.csv is not what was submitted"
    assert lines[-1]["evidence"].count("sha256") or "expected" in lines[-1]["evidence"]


@pytest.mark.parametrize("unstaged", ["fail", "in_place"])
def test_data_that_is_not_on_this_node(store, sealed, tmp_path, seen, unstaged):
    sealed.path.rename(tmp_path / "elsewhere")
    lines, record = attempt(store, sealed, tmp_path, unstaged=unstaged)

    assert record is None
    assert not seen
    assert lines[-1]["failure"] == "bad_data"
    assert str(sealed.path) in lines[-1]["message"]


def test_data_that_cannot_even_be_looked_at(store, sealed, tmp_path, seen):
    """Whatever the file system says: it is the data that cannot be read, not the start."""
    strange = Sealed(path=tmp_path / ("x" * 300), sha256=sealed.sha256)
    lines, _ = attempt(store, strange, tmp_path, scratch=None)

    assert lines[-1]["failure"] == "bad_data"
    assert "File name too long" in lines[-1]["message"]
    assert not seen


def test_a_manifest_that_was_edited_is_refused(store, sealed, tmp_path, seen):
    file = store.manifest_file(sealed.sha256)
    file.write_text(file.read_text().replace("digits.csv", "others.csv"))
    lines, _ = attempt(store, sealed, tmp_path)

    assert lines[-1]["failure"] == "drifted"
    assert not seen


def test_an_archive_needs_a_scratch(store, sealed, tmp_path, seen):
    archive = tmp_path / "source.tar"
    with tarfile.open(archive, "w") as file:
        for name in FILES:
            file.add(sealed.path / name, name)
    packed = Sealed(path=archive, sha256=sealed.sha256)
    lines, _ = attempt(store, packed, tmp_path, scratch=None)
    assert lines[-1]["failure"] == "bad_data"
    assert "to be unpacked on scratch: no scratch" in lines[-1]["message"]

    attempt(store, packed, tmp_path)
    assert seen[-1][1] == ["digits.csv", "more"]


def test_an_archive_does_not_fit_on_scratch(store, sealed, tmp_path, seen, monkeypatch):
    """Another node may have room: that is no fault of the data."""
    archive = tmp_path / "source.tar"
    archive.touch()
    monkeypatch.setattr(staged_sets, "free", lambda _: 0)
    lines, _ = attempt(store, Sealed(path=archive, sha256=sealed.sha256), tmp_path)

    assert lines[-1]["failure"] == "disk_full"
    assert "bytes wanted, 0 free" in lines[-1]["message"]
    assert not seen


def test_who_waits_for_a_copy_stops_when_told(store, sealed, tmp_path, seen):
    """Another task holds the lock of the copier; this one is preempted meanwhile."""
    root = stage.store_of(tmp_path / "scratch")
    (root / "partial").mkdir(parents=True, mode=0o700)
    root.chmod(0o700)
    lock = (root / "partial" / f"{sealed.sha256[:32]}.lock").open("ab")
    fcntl.flock(lock, fcntl.LOCK_EX)
    folder = store.run(RUN.id)

    def preempt():
        while "waiting" not in events(folder.journal()):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGUSR2)

    threading.Thread(target=preempt, daemon=True).start()
    element = Element()
    lines, record = attempt(store, sealed, tmp_path, scratch="scratch", allocation=element)
    lock.close()  # nobody else had let it go

    assert events(lines) == ["claimed", "waiting", "ended", "requeued"]
    assert lines[2]["failure"] == "preempted"
    assert element.requeued == 1
    assert record is None
    assert not seen
    assert "waits for another task" in store.run(RUN.id).attempt(1).log_file.read_text()


def test_temporary_files_lie_on_the_scratch(store, tmp_path):
    with Node(
        store, Execution(data=None, code_file=Path("none.zip"), scratch=str(tmp_path)), "7_0"
    ) as node:
        assert node.scratch is not None
        assert node.scratch.parent == tmp_path
    assert not node.scratch.exists()


def test_the_last_word_is_of_the_store(store, sealed, tmp_path, seen):
    """Nothing is left in the leases after a task."""
    attempt(store, sealed, tmp_path, scratch="scratch")
    assert not list((stage.store_of(tmp_path / "scratch") / "leases").iterdir())
    assert ends(store.run(RUN.id))[-1]["failure"] is None
    assert isinstance(seen[0][0], Path)


def test_a_waiting_run_says_what_it_waits_for(store):
    """`status` and `why` show it, as long as the training has not begun."""
    folder = store.run(RUN.id)
    folder.create(RUN)
    attempt = folder.claim()
    note(folder, "claimed", fence=1, host="here")
    note(folder, "waiting", fence=1, what="digits", message="another task is copying it here")
    found = state.of(folder)
    assert found.state == "running"
    assert "waits for another task that is copying digits" in found.evidence
    note(folder, "staged", fence=1, what="digits", place="/s", copied_bytes=2_000_000, seconds=1.5)
    (past,) = folder.history()
    assert past.data == "digits in /s, 2 MB copied in 1.5 s"
    attempt.release()


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/scratch/x"), "disk_full"),
        (OSError(errno.EACCES, "Permission denied", "/images/a.sif"), "image"),
        (ContainerError("neither apptainer nor singularity is on the PATH"), "image"),
        (DriftedError("/images/a.sif: sha256 1, expected 2"), "drifted"),
    ],
)
def test_why_a_training_could_not_be_started(error, failure):
    found = why_not(error)

    assert found.failure == failure
    assert str(error).rpartition(": ")[2].split(",")[0].strip("'") in found.message + found.evidence


def test_an_own_problem_gets_the_data_that_was_added_for_it(store, sealed, tmp_path):
    """Problems of the catalog that read none get the folder that is named, as it is."""
    reporter = Reporter(log=lambda _: None, note=lambda _: None, heartbeat=lambda: None)
    how = Execution(
        data=tmp_path,
        code_file=Path("none.zip"),
        scratch=str(tmp_path / "scratch"),
        datasets={"things": sealed},
        own_data="things",
    )
    own = Run.from_json(RUN.to_json() | {"problem": "mine:Mine"})
    plain = Run.from_json(RUN.to_json() | {"problem": "quadratic_deep"})
    with Node(store, how, "7_0") as node:
        folder, report = node.data_of(own, reporter)
        again, second = node.data_of(own, reporter)
        assert report["dataset"] == "things"
        assert of_folder(folder).sha256 == sealed.sha256
        assert (again, second["hit"]) == (folder, True)
        assert node.data_of(plain, reporter) == (tmp_path, None)


def test_an_own_problem_may_read_what_is_not_verified(store, tmp_path):
    """Journal and log say so."""
    noted, logged = [], []
    reporter = Reporter(
        log=logged.append,
        note=noted.append,
        heartbeat=lambda: None,
    )
    how = Execution(data=tmp_path, code_file=Path("none.zip"), unverified="it is large")
    own = Run.from_json(RUN.to_json() | {"problem": "mine:Mine"})
    with Node(store, how, "7_0") as node:
        assert node.data_of(own, reporter) == (tmp_path, None)
        assert node.data_of(RUN, reporter) == (tmp_path, None)

    assert noted == [journal.unverified_data("it is large")]
    assert logged == ["the data, if it is used, is not verified: it is large"]


def test_own_code_is_unpacked_once_for_a_task(store, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "my_opt.py").write_text("VALUE = 1\n")
    taken = snapshot.take(tmp_path / "code", [str(tmp_path / "own")])
    how = Execution(data=None, code_file=taken.file, own=taken.own, scratch=str(tmp_path))
    with Node(store, how, "7_0") as node:
        (folder,) = node.own_code()
        assert node.own_code() == (folder,)
        assert folder.is_relative_to(tmp_path)
        assert (folder / "my_opt.py").read_text() == "VALUE = 1\n"
    assert not folder.exists()


@pytest.mark.parametrize("scratch", [None, "scratch"])
def test_an_own_problem_reads_only_what_was_submitted(store, sealed, tmp_path, scratch):
    """It may read all that is in the folder; problems of the catalog name their files."""
    reporter = Reporter(log=lambda _: None, note=lambda _: None, heartbeat=lambda: None)
    how = Execution(
        data=tmp_path,
        code_file=Path("none.zip"),
        scratch=scratch and str(tmp_path / scratch),
        datasets={"things": sealed, "fmnist": sealed},
        own_data="things",
    )
    own = Run.from_json(RUN.to_json() | {"problem": "mine:Mine"})
    known = Run.from_json(RUN.to_json() | {"problem": "fmnist_2c2d"})
    (sealed.path / "new.csv").touch()
    with Node(store, how, "7_0") as node:
        assert node.data_of(known, reporter)[0] is not None
        if scratch:
            folder, _ = node.data_of(own, reporter)
            assert not (folder / "new.csv").exists()
        else:
            with pytest.raises(ManifestError, match=r"new\.csv: is not in its manifest"):
                node.data_of(own, reporter)
