"""The Python batches of CIFAR-10: pickles of 2009, read without letting them name any code."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jobs.errors import DataError

_SHAPE = (3, 32, 32)


def parse(content: bytes, path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Images (N, 3, 32, 32) and labels (N,) of one batch; `path` is for the error's text.

    Raises:
        DataError: the content is no such batch, or names other objects than a batch does.
    """
    try:
        batch = _Reader(io.BytesIO(content), encoding="bytes").load()
        pixels = batch[b"data"].content
        labels = np.array(batch[b"labels"], dtype=np.uint8)  # (N,)
        images = np.frombuffer(pixels, dtype=np.uint8).reshape(len(labels), *_SHAPE)
    except Exception as error:  # a foreign pickle can fail in every way there is
        raise DataError(f"{path}: not a Python batch of CIFAR-10 ({error})") from error
    return images, labels


class _Array:
    """A stand-in for the numpy array in a pickle: only its bytes are kept."""

    content = b""

    def __init__(self, *_: Any) -> None:
        """Take numpy's `_reconstruct(class, shape, type)` arguments; none of them is needed."""

    def __setstate__(self, state: tuple[int, tuple[int, ...], Any, bool, bytes]) -> None:
        """Take numpy's array state: version, shape, type, Fortran order, content."""
        self.content = state[4]


class _Type:
    """A stand-in for a numpy dtype in a pickle."""

    def __init__(self, *_: Any) -> None:
        """Take numpy's `dtype(name, align, copy)` arguments; none of them is needed."""

    def __setstate__(self, state: Any) -> None:
        """Take numpy's dtype state; nothing of it is needed."""


class _Reader(pickle.Unpickler):
    """An unpickler that admits only the three names in a CIFAR batch, as harmless stand-ins."""

    _ADMITTED = {  # noqa: RUF012 - never written to
        ("numpy.core.multiarray", "_reconstruct"): _Array,
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Type,
    }

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for `module.name`, if a batch may hold it."""
        try:
            return self._ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it wants {module}.{name}") from None
