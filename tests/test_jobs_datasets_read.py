"""Readers of the original files: what they give, and what they refuse."""

import io
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from jobs.datasets import cifar, find, idx
from jobs.datasets.catalog import DATASETS
from jobs.datasets.read import read
from jobs.errors import DataError

HERE = Path("somewhere/file")


def folder_of(name):
    try:
        return find.find(name)
    except DataError:
        pytest.skip(f"{name} is not on this machine (${find.VARIABLE})")


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        ("digits", (1497, 1, 8, 8), (300, 1, 8, 8)),
        ("mnist", (60_000, 1, 28, 28), (10_000, 1, 28, 28)),
        ("fmnist", (60_000, 1, 28, 28), (10_000, 1, 28, 28)),
    ],
)
def test_the_original_files_give_bytes_and_ten_classes(name, train, test):
    images = read(name, folder_of(name))
    assert images.train.shape == train
    assert images.test.shape == test
    assert images.train_labels.shape == train[:1]
    assert {array.dtype for array in vars(images).values()} == {np.dtype(np.uint8)}
    for labels in (images.train_labels, images.test_labels):
        counts = np.bincount(labels, minlength=10) / len(labels)
        assert len(counts) == 10
        assert counts.min() > 0.08


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    original = load_digits()
    images = read("digits", folder_of("digits"))
    assert np.array_equal(images.test[:, 0], original.images[::6])
    assert np.array_equal(images.test_labels, original.target[::6])
    assert np.array_equal(images.train[4, 0], original.images[5])
    assert np.array_equal(images.train[5, 0], original.images[7])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte: missing"):
        read("mnist", tmp_path)


def test_the_hashes_for_the_record_are_those_that_are_verified():
    assert set(DATASETS["cifar10"].hashes) == {file.name for file in DATASETS["cifar10"].files}
    assert all(len(value) == 64 for value in DATASETS["cifar10"].hashes.values())


def test_idx():
    content = bytes([0, 0, 8, 2]) + struct.pack(">II", 2, 3) + bytes(range(6))
    assert idx.parse(content, HERE).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "not an idx file of bytes"),
        (b"\x1f\x8b\x08\x00abc", "not an idx file of bytes"),
        (bytes([0, 0, 0x0D, 1]) + struct.pack(">I", 1) + b"abcd", "not an idx file of bytes"),
        (bytes([0, 0, 8, 3, 0, 0]), "torn within the header"),
        (
            bytes([0, 0, 8, 1]) + struct.pack(">I", 5) + b"abcd",
            r"says \(5,\), 5 bytes; there are 4",
        ),
        (
            bytes([0, 0, 8, 1]) + struct.pack(">I", 3) + b"abcd",
            r"says \(3,\), 3 bytes; there are 4",
        ),
    ],
    ids=["empty", "gzip", "floats", "torn header", "too short", "too long"],
)
def test_what_is_no_idx_file_is_refused(content, text):
    with pytest.raises(DataError, match=f"^somewhere/file: .*{text}"):
        idx.parse(content, HERE)


def test_a_cifar_batch_of_python_2():
    folder = folder_of("cifar10")
    file = DATASETS["cifar10"].files[-1]
    path = find.locate(folder, file, DATASETS["cifar10"].suffixes)
    images, labels = cifar.parse(find.read_verified(path, file), path)
    assert images.shape == (10_000, 3, 32, 32)
    assert np.bincount(labels).tolist() == [1000] * 10


def batch(data, labels):
    """A batch as CIFAR's, with the old name of NumPy's core."""
    content = pickle.dumps({b"data": data, b"labels": labels}, protocol=3)
    return content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def test_a_small_cifar_batch():
    data = np.arange(2 * 3072, dtype=np.uint64).astype(np.uint8).reshape(2, 3072)
    images, labels = cifar.parse(batch(data, [3, 9]), HERE)
    assert np.array_equal(images.reshape(2, -1), data)
    assert labels.tolist() == [3, 9]


class Hostile:
    def __reduce__(self):
        return Path.touch, (Path("/tmp/probprec-was-here"),)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a pickle",
        pickle.dumps([1, 2, 3]),
        pickle.dumps({b"labels": [1]}),
        batch(np.zeros((2, 3072), dtype=np.uint8), [1]),
        batch(np.zeros((2, 3072), dtype=np.uint8), [1, 700]),
        batch(np.zeros((2, 3072), dtype=np.uint8), [1, "cat"]),
        batch(np.zeros((2, 3072), dtype=np.uint8), [1, 2])[:-100],
        pickle.dumps(Hostile()),
        pickle.dumps({b"data": Hostile(), b"labels": []}),
        b"cos\nsystem\n(S'touch /tmp/probprec-was-here'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
    ],
    ids=range(13),
)
def test_what_is_no_cifar_batch_is_refused_and_runs_no_code(content):
    with pytest.raises(DataError, match=r"^somewhere/file: not a Python batch of CIFAR-10"):
        cifar.parse(content, HERE)
    assert not Path("/tmp/probprec-was-here").exists()


def test_the_reader_knows_three_names_only():
    reader = cifar._Reader(io.BytesIO(b""))
    for module, name in (("numpy", "load"), ("os", "system"), ("builtins", "eval")):
        with pytest.raises(pickle.UnpicklingError, match=f"it wants {module}.{name}"):
            reader.find_class(module, name)
