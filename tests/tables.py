"""Tables below the results: what tests have written down with `record_property("table: NAME", row)`.

A pytest plugin (`conftest.py` loads it). A row is a mapping of columns to plain values; it comes from
whatever process the test ran in.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

PREFIX = "table: "


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print them."""
    tables: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for status in ("passed", "failed"):
        for report in terminalreporter.getreports(status):
            if report.when == "call":
                for name, row in report.user_properties:
                    if name.startswith(PREFIX) and isinstance(row, Mapping):
                        tables[name.removeprefix(PREFIX)].append(row)
    for title, rows in tables.items():
        terminalreporter.section(title)
        for line in aligned(rows):
            terminalreporter.write_line(line)


def aligned(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line per row, and one with the sums if all of a column are whole numbers."""
    columns = list(rows[0])
    sums = {
        column: sum(row[column] for row in rows)
        if all(type(row[column]) is int for row in rows)
        else ""
        for column in columns
    }
    shown = [dict(zip(columns, columns, strict=True)), *rows]
    if len(rows) > 1 and any(type(value) is int for value in sums.values()):
        shown.append(sums)
    widths = {column: max(len(str(row[column])) for row in shown) for column in columns}
    return [
        "  ".join(
            f"{row[column]:>{widths[column]}}"
            if type(row[column]) is int
            else f"{row[column]!s:{widths[column]}}"
            for column in columns
        ).rstrip()
        for row in shown
    ]
