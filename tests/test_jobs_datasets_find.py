"""Where data sets are looked for, and what is said when they are not there."""

import gzip
import hashlib
import lzma
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.datasets import find
from jobs.datasets.catalog import DATASETS, DataFile
from jobs.errors import DataError
from jobs.problems.catalog import datasets_of

CONTENT = {"a": b"first file", "b": b"second file"}


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """A data set `fmnist` of two small files, without any that the system has."""
    files = tuple(
        DataFile(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())
        for name, content in CONTENT.items()
    )
    for name in ("fmnist", "mnist"):
        small = replace(DATASETS[name], files=files, well_known=())
        monkeypatch.setitem(DATASETS, name, small)
    monkeypatch.delenv(find.VARIABLE, raising=False)
    return DATASETS["fmnist"]


def put(folder, suffix=".gz", content=CONTENT):
    folder.mkdir(parents=True)
    compress = {".gz": gzip.compress, ".xz": lzma.compress, "": bytes}[suffix]
    for name, each in content.items():
        (folder / (name + suffix)).write_bytes(compress(each))
    return folder


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
@pytest.mark.parametrize("layout", ["", "fmnist", "fashion-mnist", "FashionMNIST/raw"])
def test_a_folder_of_data_sets_may_hold_it_in_many_ways(tmp_path, layout, suffix):
    folder = put(tmp_path / "root" / layout, suffix)
    assert find.find("fmnist", tmp_path / "root") == folder


def test_the_spec_comes_before_the_variable_the_profile_and_the_system(tmp_path, monkeypatch, toy):
    spec, variable, profile, system = (put(tmp_path / name) for name in "svpy")
    monkeypatch.setenv(find.VARIABLE, str(variable))
    monkeypatch.setitem(DATASETS, "fmnist", replace(toy, well_known=(str(system),)))
    for expected in (spec, variable, profile, system):
        assert find.find("fmnist", spec, profile) == expected
        shutil.rmtree(expected)
    with pytest.raises(DataError):
        find.find("fmnist", spec, profile)


def test_a_folder_with_other_data_under_the_same_names_is_passed_over(tmp_path):
    put(tmp_path / "root", content={"a": b"other file", "b": b"OTHER! file"})
    right = put(tmp_path / "root" / "FashionMNIST")
    assert find.find("fmnist", tmp_path / "root") == right
    shutil.rmtree(right)
    with pytest.raises(DataError, match=r"root: a\.gz: not the original a: sha256 "):
        find.find("fmnist", tmp_path / "root")


def test_everything_that_is_missing_is_said_at_once_with_what_to_do(tmp_path):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "a.gz").touch()
    with pytest.raises(DataError) as caught:
        find.require(["fmnist", "mnist", "digits"], tmp_path)
    text = str(caught.value)
    assert text.count("Fashion-MNIST is not here") == 1
    assert text.count("\nMNIST is not here") + text.startswith("MNIST is not here") == 1
    for file in DATASETS["fmnist"].files:
        assert f"  {file.name}  {file.sha256}\n" in text
    assert f"  {tmp_path}/mnist: no b\n" in text
    assert f"  {tmp_path}/fmnist: no such folder\n" in text
    assert "Debian's package dataset-fashion-mnist" in text
    assert "`data:` in the spec, or $PROBPREC_DATA" in text


def test_each_data_set_is_found_once(tmp_path):
    folder = put(tmp_path / "fmnist")
    names = datasets_of(["fmnist_2c2d", "fmnist_mlp", "digits_mlp", "quadratic_deep", "my.Own"])
    found = find.require(names, None, tmp_path)
    assert list(found) == ["digits", "fmnist"]
    assert found["fmnist"] == folder
    assert (found["digits"] / "digits.csv.gz").is_file()


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda raw: raw[:-12], "torn or not compressed as its name says"),
        (lambda raw: raw[:20], "torn or not compressed as its name says"),
        (lambda _: b"no gzip at all", "torn or not compressed as its name says"),
        (lambda raw: raw[:15] + b"\xff" + raw[16:], "."),
        (lambda _: gzip.compress(b"first filE"), "not the original a: sha256 [0-9a-f]{64}, not"),
        (lambda _: gzip.compress(b"first"), "10 bytes expected once decompressed, found 5"),
        (lambda _: gzip.compress(bytes(10**7)), "10 bytes expected once decompressed, found more"),
    ],
    ids=["end lost", "most lost", "foreign", "bit flipped", "other", "shorter", "bomb"],
)
def test_a_damaged_file_is_named_with_the_reason(tmp_path, toy, damage, text):
    path = put(tmp_path / "x") / "a.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=rf"a\.gz: {text}"):
        find.read_verified(path, toy.files[0])


def test_a_file_that_cannot_be_read_is_named(tmp_path, toy):
    (tmp_path / "a.gz").mkdir()
    with pytest.raises(DataError, match=r"a\.gz: cannot be read \(Is a directory\)"):
        find.read_verified(tmp_path / "a.gz", toy.files[0])


def test_a_home_folder_may_be_abbreviated(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = put(tmp_path / "data" / "fmnist")
    assert find.find("fmnist", Path("~/data")) == folder


def test_a_folder_that_cannot_be_looked_at_is_passed_over(tmp_path):
    """Such as somebody's own; as root nothing is closed, so the name is one that no folder has."""
    good = put(tmp_path / "good" / "FashionMNIST" / "raw").parent.parent
    strange = tmp_path / ("x" * 300)
    assert find.find("fmnist", strange, good).is_relative_to(good)
    with pytest.raises(DataError, match="File name too long"):
        find.find("fmnist", strange)
