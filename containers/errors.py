"""Expected errors, known to all rooms: this room is the lowest one, which all others may import."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class ExpectedError(Exception):
    """An error outside of the code, and no bug; the text says what is wrong, where, and what to do.

    The command line prints that text, without a traceback, and ends with `exit_code`.
    """

    exit_code = 1


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an OSError the name of its file, which read, write and flock do not know."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
