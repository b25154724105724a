"""A group of runs has a title and an address; numbers of the page lead to it."""

from collections.abc import Iterable
from typing import Any

from jobs.results.study import Results


class RunGroups:
    """The groups of a page, in the order in which they were named first."""

    def __init__(self, results: Results) -> None:
        outcomes = enumerate(results.outcomes)
        self._rows = {one.planned.run.id: row for row, one in outcomes}
        self._places: dict[tuple[int, ...], int] = {}
        self._titles: list[str] = []

    def address(self, title: str, runs: Iterable[str]) -> str:
        """The link to these runs in the table of runs; empty: there are none in it."""
        rows = tuple(sorted({self._rows[run] for run in runs if run in self._rows}))
        if not rows:
            return ""
        if rows not in self._places:
            self._places[rows] = len(self._titles)
            self._titles.append(title)
        return f"#runs-{self._places[rows]}"

    def to_json(self) -> list[dict[str, Any]]:
        """What the page filters by."""
        pairs = zip(self._titles, self._places, strict=True)
        return [{"title": title, "rows": rows} for title, rows in pairs]
