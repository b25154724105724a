"""Errors that are no bug, known to all rooms: this is the lowest one, which the others may import."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class ExpectedError(Exception):
    """Something outside of the code is wrong; the text says what, where, and what to do.

    The command line prints that text, without a traceback, and ends with `exit_code`.
    """

    exit_code = 1


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an OSError the name of the file that it is about: read, write and flock know none."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
