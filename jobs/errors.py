"""Errors that are no bug: the command line prints them in one line, and exits with 1 or 2."""

from containers.errors import ExpectedError, naming

__all__ = ["DataError", "DriftedError", "ExpectedError", "InputError", "naming"]


class InputError(ExpectedError, ValueError):
    """What the user gave is wrong; the text says what, where, and what to do."""

    exit_code = 2


class DataError(InputError):
    """A data set is missing, or a file of it is torn, foreign or changed; the text names it."""


class DriftedError(ExpectedError):
    """Code, image or data are not what was submitted."""
