"""Manifests: what a data set is, and what can be none."""

import hashlib
import json
import os

import pytest

from jobs import hashes
from jobs.manifests import manifest
from jobs.manifests.manifest import File, Manifest, ManifestError, of_folder

NOTHING = hashlib.sha256().hexdigest()


def file(path, size=0, sha256=NOTHING):
    return File(path=path, size=size, sha256=sha256)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.bin").write_bytes(b"a" * 3_000_000)
    (folder / "deep" / "b").write_bytes(b"b")
    (folder / "deep-er").touch()
    return folder


def test_it_names_every_byte(folder):
    told = []
    found = of_folder(folder, told.append)

    assert [one.path for one in found.files] == ["a.bin", "deep-er", "deep/b"]
    assert found.size == sum(told) == 3_000_001
    assert found.files[0].sha256 == hashlib.sha256(b"a" * 3_000_000).hexdigest()
    assert Manifest.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert len(found.sha256) == 64


def test_its_hash_does_not_depend_on_the_order():
    files = [file("b"), file("a/c"), file("a-b")]
    assert Manifest.of(files).sha256 == Manifest.of(reversed(files)).sha256
    assert Manifest.of(files).sha256 != Manifest.of(files[:2]).sha256


def test_all_that_is_strange_is_named(folder):
    (folder / "link").symlink_to("a.bin")
    (folder / "deep" / "folder").symlink_to("/usr")
    os.mkfifo(folder / "pipe")
    with pytest.raises(ManifestError) as error:
        of_folder(folder)
    assert str(error.value).splitlines()[1:] == [
        f"  {folder}/deep/folder: a symbolic link",
        f"  {folder}/link: a symbolic link",
        f"  {folder}/pipe: a pipe",
    ]


def test_no_folder_and_an_empty_one(tmp_path):
    with pytest.raises(ManifestError, match="no such folder"):
        of_folder(tmp_path / "nowhere")
    with pytest.raises(ManifestError, match="has no files"):
        of_folder(tmp_path)


def test_an_error_of_reading_names_the_file(tmp_path):
    """Reading this file of the kernel's fails with an I/O error."""
    with pytest.raises(OSError, match=r"/proc/self/mem") as error:
        hashes.sha256_of(type(tmp_path)("/proc/self/mem"))
    assert error.value.filename == "/proc/self/mem"


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "/etc/passwd",
        "../a",
        "a/../../b",
        "a\\b",
        "C:/a",
        "c:a",
        "a//b",
        "./a",
        "a/",
        "a\nb",
        "a\0b",
        "\udcff",
        "x" * 256,
        "x/" * 1500 + "x",
    ],
)
def test_paths_that_lead_outside_or_nowhere(path):
    content = {"schema": 1, "files": [{"path": path, "size": 0, "sha256": NOTHING}]}
    with pytest.raises(ManifestError):
        Manifest.from_json(content)


@pytest.mark.parametrize(
    ("paths", "why"),
    [
        (["a", "a"], "'a' is there twice"),
        (["a", "a/b"], "'a' is a file and a folder"),
        (["a/b", "a/b/c/d"], "'a/b' is a file and a folder"),
    ],
)
def test_paths_that_do_not_go_together(paths, why):
    for ordered in (paths, paths[::-1]):
        with pytest.raises(ManifestError, match=why):
            Manifest.of(file(path) for path in ordered)


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        None,
        {"schema": 2, "files": []},
        {"schema": 1, "files": [{}]},
        {"schema": 1, "files": [{"path": 1, "size": 0, "sha256": NOTHING}]},
        {"schema": 1, "files": [{"path": "a", "size": -1, "sha256": NOTHING}]},
        {"schema": 1, "files": [{"path": "a", "size": True, "sha256": NOTHING}]},
        {"schema": 1, "files": [{"path": "a", "size": 0, "sha256": "abc"}]},
    ],
)
def test_what_is_no_manifest(content):
    with pytest.raises(ManifestError, match="not a manifest"):
        Manifest.from_json(content)


def test_differences_are_told_with_both_hashes(folder):
    known = of_folder(folder)
    assert manifest.differences(known, of_folder(folder), folder) == []
    (folder / "deep" / "b").write_bytes(b"c")
    (folder / "new").write_bytes(b"new")
    (folder / "a.bin").unlink()
    lines = manifest.differences(known, of_folder(folder), folder)

    assert len(lines) == 3
    assert lines[0].startswith(f"{folder}/a.bin: missing; 3000000 bytes")
    for content in (b"b", b"c"):
        assert hashlib.sha256(content).hexdigest() in lines[1]
    assert lines[2].endswith("not in the manifest")
