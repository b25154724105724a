"""Errors that are no bugs: the command line prints each on one line, and exits with 1 or 2."""

from containers.errors import ExpectedError, naming

__all__ = ["DataError", "DriftedError", "ExpectedError", "InputError", "naming"]


class InputError(ExpectedError, ValueError):
    """The user's input is wrong; the text says what, where, and what to do."""

    exit_code = 2


class DataError(InputError):
    """A data set is missing, or one of its files is torn, foreign or changed; the text names it."""


class DriftedError(ExpectedError):
    """The code, image or data on the node are not those of the submission."""
