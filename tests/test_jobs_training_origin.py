"""What a checkpoint belongs to, and which changes keep a training from going on from it."""

import hashlib
import subprocess
import sys
from dataclasses import replace

import pytest

from jobs.snapshot import ROOT
from jobs.training import origin, provenance
from jobs.training.origin import InputHashes, Origin

GIVEN = InputHashes(image="a" * 64, manifest="b" * 64)


@pytest.fixture
def saved():
    return Origin.now(GIVEN, "cpu")


def test_nothing_has_changed(saved):
    assert saved.changes(GIVEN, "cpu") == []
    assert Origin.from_json(saved.to_json()) == saved


@pytest.mark.parametrize(
    ("given", "device", "said"),
    [
        (
            InputHashes(image="c" * 64, manifest="b" * 64),
            "cpu",
            "the image is cccccccccccc, was aaaaaaaaaaaa",
        ),
        (InputHashes(manifest="b" * 64), "cpu", "the image is none, was aaaaaaaaaaaa"),
        (InputHashes(image="a" * 64), "cpu", "the data is none, was bbbbbbbbbbbb"),
        (GIVEN, "cuda", "the device is cuda, was cpu"),
    ],
)
def test_image_data_and_device(saved, given, device, said):
    assert saved.changes(given, device) == [said]


def test_code(saved):
    """What was imported then counts, also if it has not been imported now, or is gone."""
    names = ("jobs.files", "jobs.training.curves", "jobs.store.attempts", "jobs.sweep")
    ours = replace(saved, toolkit=dict.fromkeys(names, "0" * 64))
    theirs = replace(saved, own={"my_opt": "0" * 64})

    assert ours.changes(GIVEN, "cpu") == [
        "the toolkit has changed (jobs.files, jobs.training.curves, jobs.store.attempts and 1 more)"
    ]
    assert theirs.changes(GIVEN, "cpu") == ["your code has changed (my_opt)"]


def test_what_training_does_not_import_does_not_count():
    """An edit of the command line, or of how Slurm is asked, throws no hours away."""
    code = "import jobs.train, jobs.training.loop as t; from jobs.training.origin import NOTHING; print(*t.Origin.now(NOTHING, 'cpu').toolkit)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "jobs.training.loop" in done.stdout.split()
    assert not [name for name in done.stdout.split() if name.startswith("cluster")]


def test_packages(saved):
    """A package that is not imported yet says nothing."""
    older = replace(saved, packages={**saved.packages, "pytest": "1.0", "not_imported": "1"})

    assert saved.packages["python"].startswith("3.")
    assert older.changes(GIVEN, "cpu") == [f"pytest is {pytest.__version__}, was 1.0"]


def test_a_package_from_a_repository_is_named_by_its_commit(tmp_path, monkeypatch):
    """Its version says nothing of what was installed today."""
    about = tmp_path / "fresh-2.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: fresh\nVersion: 2.0\n")
    (about / "direct_url.json").write_text('{"vcs_info": {"commit_id": "0123456789abcdef"}}')
    monkeypatch.syspath_prepend(tmp_path)

    assert origin._version("fresh") == "2.0 0123456789ab"
    assert origin._version("no_such_package") == "unknown"


def test_the_digest_of_the_code_is_that_of_all_trainings(saved):
    """Whatever problem and optimizer: a part of the toolkit is imported only for some."""
    without = dict.fromkeys(("jobs.train", "jobs.training.loop"), "1")
    digest = provenance.training_code(replace(saved, toolkit=without))
    some = {**without, **{name: saved_of(name) for name in ("probprec", "jobs.problems.nets")}}

    assert provenance.training_code(replace(saved, toolkit=some)) == digest
    assert (
        provenance.training_code(replace(saved, toolkit={**without, "jobs.train": "2"})) != digest
    )


def saved_of(name):
    """The sha256 of a module of ours."""
    file = ROOT / name.replace(".", "/")
    file = file / "__init__.py" if file.is_dir() else file.with_suffix(".py")
    return hashlib.sha256(file.read_bytes()).hexdigest()
