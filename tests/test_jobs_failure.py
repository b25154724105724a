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
        (failure.GpuMissingError("no GPU"), ("gpu_missing", "GpuMissingError: no GPU")),
        (
            RuntimeError("CUDA error: uncorrectable ECC error encountered"),
            ("gpu_missing", "RuntimeError: CUDA error: uncorrectable ECC error encountered"),
        ),
        (
            RuntimeError("CUDA error: device-side assert triggered"),
            ("exception", "RuntimeError: CUDA error: device-side assert triggered"),
        ),
        (OSError(28, "full"), ("disk_full", "OSError: [Errno 28] full")),
        (OSError(2, "gone"), ("exception", "FileNotFoundError: [Errno 2] gone")),
    ],
)
def test_of_exception(error, expected):
    found = failure.of_exception(error)

    assert (found.failure, found.message) == expected


@pytest.mark.parametrize(
    ("returncode", "expected"),
    [
        (-9, ("killed", "killed by SIGKILL")),
        (-11, ("exception", "crashed with SIGSEGV")),
        (-6, ("exception", "crashed with SIGABRT")),
        (3, ("exception", "exit code 3 without a report")),
        (127, ("image", "cannot be started: exit code 127")),
        (failure.EXIT_DISK_FULL, ("disk_full", "no space left to write to")),
    ],
)
def test_of_exit(returncode, expected):
    found = failure.of_exit(returncode)

    assert (found.failure, found.message) == expected
