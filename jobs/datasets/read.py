"""The data sets as bytes, from their original files, verified."""

import csv
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jobs.datasets import cifar, idx
from jobs.datasets.catalog import DATASETS, DataFile
from jobs.datasets.find import locate, read_verified
from jobs.errors import DataError

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False, kw_only=True)
class Images:
    """A data set of images as its files hold it: a training file and a test file."""

    train: Bytes  # (N, C, H, W)
    train_labels: Bytes  # (N,)
    test: Bytes  # (M, C, H, W)
    test_labels: Bytes  # (M,)


def read(name: str, folder: Path) -> Images:
    """The data set of images `name` from the files in `folder`.

    Raises:
        DataError: a file is missing, torn or foreign; the text names it and the reason.
    """
    readers = {"digits": _digits, "cifar10": _cifar}
    return readers.get(name, _idx)(_contents(name, folder))


def read_text(name: str, folder: Path) -> bytes:
    """The text `name`, which is one file in `folder`; errors as of `read`."""
    ((_, content),) = _contents(name, folder)
    return content


def _contents(name: str, folder: Path) -> list[tuple[Path, bytes]]:
    """Path and decompressed content of each file of the data set, by name."""
    dataset = DATASETS[name]

    def content(file: DataFile) -> tuple[Path, bytes]:
        path = locate(folder, file, dataset.suffixes)
        if path is None:
            raise DataError(f"{folder / file.name}: missing")
        return path, read_verified(path, file)

    with ThreadPoolExecutor() as threads:  # decompressing and hashing let other threads run
        return list(threads.map(content, dataset.files))


def _idx(contents: list[tuple[Path, bytes]]) -> Images:
    train, train_labels, test, test_labels = (
        idx.parse(content, path) for path, content in contents
    )
    return Images(
        train=train[:, None], train_labels=train_labels, test=test[:, None], test_labels=test_labels
    )


def _cifar(contents: list[tuple[Path, bytes]]) -> Images:
    batches = [cifar.parse(content, path) for path, content in contents]
    *train, test = batches
    return Images(
        train=np.concatenate([images for images, _ in train]),
        train_labels=np.concatenate([labels for _, labels in train]),
        test=test[0],
        test_labels=test[1],
    )


def _digits(contents: list[tuple[Path, bytes]]) -> Images:
    """8 x 8 images with values 0..16; every sixth, beginning with the first, is a test image."""
    ((_, content),) = contents
    table = np.array(list(csv.reader(content.decode().splitlines())), dtype=np.uint8)  # (1797, 65)
    images, labels = table[:, :64].reshape(-1, 1, 8, 8), table[:, 64]
    test = np.arange(len(table)) % 6 == 0
    return Images(
        train=images[~test],
        train_labels=labels[~test],
        test=images[test],
        test_labels=labels[test],
    )
