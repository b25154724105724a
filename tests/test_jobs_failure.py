"""Why an attempt has no record, in classes."""

import pytest

from jobs import failure
from jobs.datasets import DataError


class OutOfMemoryError(RuntimeError):
    """Named as torch.cuda's."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DataError("train-images: torn"), ("bad_data", "DataError: train-images: torn")),
        (ModuleNotFoundError("no x"), ("import_error", "ModuleNotFoundError: no x")),
        (MemoryError(), ("oom", "MemoryError")),
        (OutOfMemoryError("CUDA"), ("cuda_oom", "OutOfMemoryError: CUDA")),
        (ValueError("first\nsecond"), ("exception", "ValueError: first")),
    ],
)
def test_of_exception(error, expected):
    found = failure.of_exception(error)

    assert (found.failure, found.message) == expected


@pytest.mark.parametrize(
    ("returncode", "cancelled", "expected"),
    [
        (-9, False, ("killed", "killed by SIGKILL")),
        (-9, True, ("cancelled", "stopped before its end")),
        (3, False, ("exception", "exit code 3 without a report")),
    ],
)
def test_of_exit(returncode, cancelled, expected):
    found = failure.of_exit(returncode, cancelled=cancelled)

    assert (found.failure, found.message) == expected
