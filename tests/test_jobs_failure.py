"""Why an attempt has no record, in classes."""

import json
import signal
import subprocess
import sys

import pytest

from jobs import failure
from jobs.errors import DataError


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


LIMITED = """
import json, resource, sys
from jobs import failure
kind, value = getattr(resource, sys.argv[1]), int(sys.argv[2])
resource.setrlimit(kind, (value, value))
try:
    exec(sys.argv[3])
except Exception as error:
    found = failure.of_exception(error)
print(json.dumps(found.to_json()))
"""

LIBRARY = "libtorch_cpu.so: failed to map segment from shared object: Cannot allocate memory"


@pytest.mark.parametrize(
    ("kind", "value", "code", "said"),
    [
        ("RLIMIT_AS", 1 << 30, "bytearray(1 << 40)", "its memory (ulimit -v 1048576): MemoryError"),
        (
            "RLIMIT_AS",
            1 << 30,
            f"raise ImportError({LIBRARY!r})",
            "its memory (ulimit -v 1048576): ImportError: libtorch_cpu.so",
        ),
        (
            "RLIMIT_FSIZE",
            1 << 20,
            "raise OSError(27, 'File too large')",
            "its size of files (ulimit -f 1024)",
        ),
    ],
)
def test_a_limit_of_the_shell_is_named(kind, value, code, said):
    """Not a package that is missing, nor memory that a larger request would give."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, kind, str(value), code],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)

    assert found["failure"] == "setup"
    assert said in found["message"]


def test_without_a_limit_an_error_is_what_it_says():
    assert failure.of_exception(ImportError(LIBRARY)).failure == "import_error"
    assert failure.of_exit(-signal.SIGXCPU).message == (
        "the shell limits its CPU time (ulimit -t): SIGXCPU"
    )
