"""The locks of a folder of images."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from containers.images import Images
from containers.runtime import ContainerError


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As NFS without lockd, and Lustre mounted without `flock`; no descriptor stays open."""

    def refuse(_descriptor: int, _how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    images, before = Images(tmp_path), open_files()
    expected = rf"\.tiny-0\.lock: this file system has no locks \({os.strerror(number)}\); next: --images DIR"

    with pytest.raises(ContainerError, match=expected), images.locked("tiny-0", lambda: None):
        pass
    with pytest.raises(ContainerError, match=expected), images.locked_at_once("tiny-0"):
        pass

    assert open_files() == before


def test_other_faults_of_a_lock_stay_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int, _how: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", refuse)

    with pytest.raises(OSError, match="Input/output"), Images(tmp_path).locked_at_once("tiny-0"):
        pass
