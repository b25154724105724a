"""A table is packed as JSON with each distinct value of a column once: thousands of runs share most of theirs."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

_SIGNIFICANT_DIGITS = 9
"""Digits that a number keeps in the page; a metric is known to fewer."""

Kind = Literal["text", "number", "run", "runs"]
"""What a column shows: a text, a number, a link to a run, a number that leads to a cell's runs."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table, with a value per row."""

    name: str  # in the CSV: that of the table's file
    values: Sequence[Any]
    title: str = ""  # of the table on the page; empty: it is in the details and the CSV alone
    kind: Kind = "text"

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing of any row."""
        return all(value is None for value in self.values)

    def to_json(self) -> dict[str, Any]:
        """The column with each distinct value once, and a place among these per row."""
        plain = [_plain(value) for value in self.values]
        places: dict[object, int] = {}
        indices = [places.setdefault(_key(value), len(places)) for value in plain]
        head = {"name": self.name, "title": self.title, "kind": self.kind}
        if len(places) > len(plain) / 2:
            return head | {"all": plain}
        distinct = dict(zip(reversed(indices), reversed(plain), strict=True))
        values = [distinct[place] for place in range(len(places))]
        return head | ({"same": values[0]} if len(values) == 1 else {"of": values, "at": indices})


def packed(columns: Iterable[Column], rows: int) -> dict[str, Any]:
    """Pack the columns that say anything."""
    return {"rows": rows, "columns": [one.to_json() for one in columns if not one.is_empty]}


def script_json(content: object) -> str:
    """Spell JSON that may stand in a `<script>`: nothing in it ends the element, whatever a label says."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _plain(value: object) -> object:
    """The value as JSON has it; a number that is none is missing."""
    if isinstance(value, float):
        return float(f"{value:.{_SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):  # of pairs: a map of the table
        is_map = bool(value) and all(isinstance(one, tuple) for one in value)
        return dict(value) if is_map else [_plain(one) for one in value]
    return value


def _key(value: object) -> object:
    """What two equal values of a column have in common, and no two others."""
    return type(value), repr(value) if isinstance(value, dict | list) else value
