"""The idx format of MNIST and Fashion-MNIST: a magic number, the shape, then the bytes."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jobs.errors import DataError

_UNSIGNED_BYTES = 0x08


def parse(content: bytes, path: Path) -> npt.NDArray[np.uint8]:
    """The array that `content` holds; `path` is for the error's text.

    Raises:
        DataError: the content is no idx file of bytes, or its length contradicts its header.
    """
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != _UNSIGNED_BYTES:
        raise DataError(f"{path}: not an idx file of bytes (it begins with {content[:4].hex()!r})")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise DataError(f"{path}: torn within the header")
    shape = tuple(int(size) for size in np.frombuffer(content[4:start], dtype=">u4"))
    if len(content) - start != math.prod(shape):
        raise DataError(
            f"{path}: the header says {shape}, {math.prod(shape)} bytes; "
            f"there are {len(content) - start}"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)
