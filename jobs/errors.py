"""The one base of all errors that the user can mend: the command line prints them and exits with 2."""


class InputError(ValueError):
    """What the user gave is wrong; the text says what, where, and what to do."""


class DriftedError(RuntimeError):
    """Code, image or data are not what was submitted."""
