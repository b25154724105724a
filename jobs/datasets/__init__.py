"""The data sets that are read from files: where they are looked for, and how they are read."""

from jobs.errors import InputError


class DataError(InputError):
    """A data set is missing, or a file of it is torn, foreign or changed; the text names it."""
