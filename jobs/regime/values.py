"""Functions that read one value of a setting, and say in words what is expected."""

import math
from collections.abc import Collection, Mapping
from typing import Any, TypeGuard

from jobs.errors import InputError

CLASS = "class"
"""The key of a value that is a class: its dotted path; other keys are that class's own settings."""


class SettingError(InputError):
    """A value does not fit its setting; `path` leads to the part at fault inside the value."""

    def __init__(self, message: str, *path: str | int) -> None:
        super().__init__(message)
        self.path = path


def number(value: object, low: float, high: float | None, *path: str) -> float:
    """A number above `low`, and below `high` if there is one."""
    if not _is_number(value) or not low < value < (math.inf if high is None else high):
        bound = f"above {low:g}" if high is None else f"between {low:g} and {high:g}"
        raise SettingError(f"expected a number {bound}, found {value!r}", *filter(None, path))
    return float(value)


def below(value: object, low: float, high: float, *path: str) -> float:
    """A number from `low` on, below `high`."""
    if not _is_number(value) or not low <= value < high:
        message = f"expected a number from {low:g} on, below {high:g}, found {value!r}"
        raise SettingError(message, *path)
    return float(value)


def whole(value: object, least: int, *path: str) -> int:
    """A whole number of at least `least`; a grid gives 4.0."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or value < least:
        message = f"expected a whole number of at least {least}, found {value!r}"
        raise SettingError(message, *filter(None, path))
    return value


def flag(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise SettingError(f"expected true or false, found {value!r}")
    return value


def text(value: object, *path: str) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise SettingError(f"expected text, found {value!r}", *path)
    return value


def keys_of(value: object, known: Collection[str], expected: str) -> Mapping[str, Any]:
    """A mapping that has no other keys than `known`."""
    if not isinstance(value, Mapping):
        raise SettingError(f"expected {expected}, found {value!r}")
    for key in value:
        if key not in known:
            raise SettingError(f"unknown key {key!r} (known: {', '.join(known)})", str(key))
    return value


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
