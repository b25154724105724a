"""The registry: what a data set is, written down once; what is called MNIST has to be MNIST."""

import gzip
import hashlib
import json
import shutil
from pathlib import Path

import pytest

from jobs.datasets.catalog import DATASETS, DataFile
from jobs.datasets.find import find
from jobs.errors import DataError, InputError
from jobs.manifests import registry
from jobs.manifests.manifest import of_folder


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "original"
    folder.mkdir()
    (folder / "a").write_bytes(b"a" * 1000)
    (folder / "b").write_bytes(b"b")
    return folder


@pytest.fixture
def place(tmp_path):
    return tmp_path / "datasets"


def test_it_is_written_down_once(place, source):
    told = []
    added = registry.add(place, "mine", source, told.append)

    assert sum(told) == registry.size_of(source) == 1001
    assert registry.load(place, "mine") == added
    assert registry.all_(place) == [added]
    assert added.manifest == of_folder(source)
    file = place / "mine.json"
    content = json.loads(file.read_bytes())
    assert {name: content[name] for name in ("schema", "name", "source", "sha256")} == {
        "schema": 1,
        "name": "mine",
        "source": str(source),
        "sha256": added.manifest.sha256,
    }
    before = file.stat()
    assert registry.add(place, "mine", source) == added
    assert file.stat().st_ino == before.st_ino
    assert list(place.iterdir()) == [file]


def test_other_content_replaces_nothing(place, source):
    added = registry.add(place, "mine", source)
    (source / "b").write_bytes(b"c")
    with pytest.raises(InputError) as error:
        registry.add(place, "mine", source)
    text = str(error.value)

    assert f"{source}/b: 1 bytes with sha256 {hashlib.sha256(b'c').hexdigest()}, not" in text
    assert f"{source}/a" not in text
    assert f"rm {place}/mine.json" in text
    assert f"probprec data add mine {source}" in text
    assert registry.load(place, "mine") == added
    for number in range(20):
        (source / f"new{number}").touch()
    with pytest.raises(InputError, match="and 11 more"):
        registry.add(place, "mine", source)
    registry.remove(place, "mine")
    assert registry.add(place, "mine", source).manifest == of_folder(source)


def test_content_that_moved_gets_its_new_place(tmp_path, place, source):
    added = registry.add(place, "mine", source)
    copy = Path(shutil.copytree(source, tmp_path / "copy"))
    assert registry.add(place, "mine", copy) == added  # the old one is there
    shutil.rmtree(source)
    moved = registry.add(place, "mine", copy)
    assert (moved.source, moved.manifest) == (copy, added.manifest)
    assert registry.load(place, "mine") == moved


def test_an_archive(tmp_path, place, source):
    archive = Path(shutil.make_archive(str(tmp_path / "set"), "gztar", source))
    added = registry.add(place, "packed", archive)
    assert added.source == archive
    assert added.manifest == of_folder(source)
    assert registry.size_of(archive) == archive.stat().st_size


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", ".hidden", "-x", "a b", "x" * 101])
def test_names(place, source, name):
    with pytest.raises(InputError, match="no name for a data set"):
        registry.add(place, name, source)
    with pytest.raises(InputError, match="no name for a data set"):
        registry.load(place, name)
    assert not place.exists()


def test_no_such_source(tmp_path, place):
    with pytest.raises(InputError, match="no such folder or archive"):
        registry.add(place, "mine", tmp_path / "nowhere")
    assert not place.exists()
    assert registry.size_of(tmp_path / "nowhere") == 0
    assert registry.all_(place) == []


SPOILT = {
    "empty": lambda _: b"",
    "list": lambda _: b"[]",
    "object": lambda _: b"{}",
    "hash": lambda content: json.dumps({**content, "sha256": "0" * 64}).encode(),
    "name": lambda content: json.dumps({**content, "name": "other"}).encode(),
    "schema": lambda content: json.dumps({**content, "schema": 2}).encode(),
    "manifest": lambda content: json.dumps(
        {**content, "manifest": {"schema": 1, "files": [1]}}
    ).encode(),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_damaged_file_says_so(place, source, what):
    registry.add(place, "mine", source)
    file = place / "mine.json"
    file.write_bytes(SPOILT[what](json.loads(file.read_bytes())))
    for read in (lambda: registry.load(place, "mine"), lambda: registry.all_(place)):
        with pytest.raises(InputError, match=r"mine\.json: not the manifest of a data set"):
            read()


# --- the catalog's -------------------------------------------------------------------------------


@pytest.fixture
def digits(tmp_path):
    folder = tmp_path / "digits-original"
    folder.mkdir()
    shutil.copy(find("digits") / "digits.csv.gz", folder)
    return folder


def test_a_data_set_of_the_catalog(tmp_path, place, digits):
    added = registry.add(place, "digits", digits)
    assert [file.path for file in added.manifest.files] == ["digits.csv.gz"]
    plain = tmp_path / "several" / "digits"  # compressed otherwise, in a folder of data sets
    plain.mkdir(parents=True)
    (plain / "digits.csv").write_bytes(gzip.decompress((digits / "digits.csv.gz").read_bytes()))
    (plain / "README").write_bytes(b"what this is")
    registry.remove(place, "digits")
    assert registry.add(place, "digits", plain.parent).manifest == of_folder(plain.parent)


@pytest.mark.parametrize("kind", ["gztar", "zip"])
def test_an_archive_of_the_catalog(tmp_path, place, digits, kind):
    (digits / "README").write_bytes(b"what this is")
    archive = Path(shutil.make_archive(str(tmp_path / "set"), kind, digits))
    assert registry.add(place, "digits", archive).manifest == of_folder(digits)
    registry.remove(place, "digits")
    (digits / "digits.csv.gz").write_bytes(gzip.compress(b"other"))
    archive = Path(shutil.make_archive(str(tmp_path / "set"), kind, digits))
    with pytest.raises(InputError, match="this is not Optical") as error:
        registry.add(place, "digits", archive)
    assert f"{archive}/digits.csv.gz: " in str(error.value)
    (digits / "digits.csv.gz").write_bytes(bytes(DATASETS["digits"].files[0].size * 3))
    archive = Path(shutil.make_archive(str(tmp_path / "set"), kind, digits))
    with pytest.raises(InputError, match="too many"):
        registry.add(place, "digits", archive)


def test_what_is_not_the_catalogs(place, source, digits):
    with pytest.raises(InputError, match=r"this is not Optical.*: .*has no digits\.csv"):
        registry.add(place, "digits", source)
    content = bytearray(gzip.decompress((digits / "digits.csv.gz").read_bytes()))
    content[100] ^= 1
    (digits / "digits.csv.gz").write_bytes(gzip.compress(content))
    wrong = hashlib.sha256(content).hexdigest()
    with pytest.raises(InputError, match=rf"digits\.csv\.gz: .*sha256 {wrong}, not 6ebb3d2f"):
        registry.add(place, "digits", digits)
    assert not place.exists()


def test_a_data_set_of_which_a_part_is_missing(place, source):
    (source / "train-images-idx3-ubyte").touch()
    with pytest.raises(InputError, match="no train-labels-idx1-ubyte, t10k-images"):
        registry.add(place, "mnist", source)


def test_the_manifest_of_what_a_training_reads(digits):
    (digits / "other").write_bytes(b"not part of it")
    found = registry.manifest_of_dataset("digits", digits)
    assert [file.path for file in found.files] == ["digits.csv.gz"]
    assert found.files == tuple(
        file for file in of_folder(digits).files if file.path == "digits.csv.gz"
    )
    (digits / "digits.csv.gz").rename(digits / "elsewhere")
    (digits / "digits.csv.gz").symlink_to("elsewhere")
    assert registry.manifest_of_dataset("digits", digits) == found
    (digits / "elsewhere").unlink()
    with pytest.raises(DataError, match=r"no digits\.csv"):
        registry.manifest_of_dataset("digits", digits)
    with pytest.raises(DataError, match="no data set 'digit'"):
        registry.manifest_of_dataset("digit", digits)


def test_the_first_of_two_layouts_may_be_wrong(place, tmp_path, digits):
    (tmp_path / "both" / "digits").mkdir(parents=True)
    (tmp_path / "both" / "digits.csv.gz").write_bytes(b"other")
    shutil.copy(digits / "digits.csv.gz", tmp_path / "both" / "digits")
    assert registry.add(place, "digits", tmp_path / "both").name == "digits"
    assert isinstance(DATASETS["digits"].files[0], DataFile)
