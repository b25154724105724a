"""Every value has one canonical spelling; ids are its hashes, so equal settings have equal ids."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

Value = bool | int | float | str | None | list["Value"] | dict[str, "Value"]
"""A hyperparameter's value: what JSON can say, without NaN and infinities."""


def canonical(value: Value) -> Value:
    """The canonical spelling of a value: 1.0 is 1, -0.0 is 0, mappings are sorted by key.

    A fraction has 12 significant digits: numpy's powers, and so the values of a `log_grid`, differ
    in the last bit between machines, and a run must have the same id on all of them.
    """
    if isinstance(value, float):
        rounded = value if value.is_integer() else float(f"{value:.12g}")
        return int(rounded) if rounded.is_integer() else rounded
    if isinstance(value, list):
        return [canonical(item) for item in value]
    if isinstance(value, dict):
        return {key: canonical(value[key]) for key in sorted(value)}
    return value


def digest(content: Mapping[str, Any]) -> str:
    """First 12 hex digits of the sha256 of `content` as canonical JSON: 1.0 and 1 are the same."""
    return digest_of(spelled_canonically(content))


def spelled_canonically(content: Mapping[str, Any]) -> str:
    """The content as canonical JSON."""
    content = {key: canonical(value) for key, value in content.items()}
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_of(text: str) -> str:
    """First 12 hex digits of the sha256 of the text."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
