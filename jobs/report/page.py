"""A report becomes one HTML file: it loads nothing, and no text of others is ever markup in it."""

import hashlib
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from jobs.report import cell_table, run_table, table_json, verdicts
from jobs.report.content import Chart, Check, Level
from jobs.report.report import Report
from jobs.report.run_groups import RunGroups
from jobs.results.finding import Finding
from jobs.results.reading import Unsettled
from jobs.sweep import OVERRIDES
from jobs.text import printable_lines

_FOLDER = Path(__file__).parent
_COMPARED = "compare"  # the kind of charts that stand with the comparisons
_DEFAULT_EXPORT = re.compile(r"export\s*\{[^}]*?(\w+) as default[^}]*\};?")
_END = re.compile("</(?=script)", re.IGNORECASE)
_OUTCOMES = ("completed", "diverged", "failed", "missing")


@dataclass(frozen=True, kw_only=True)
class _Linked:
    """A line about runs, and the link to them; empty: there is none."""

    about: Check | Finding
    number: int
    runs: str


@dataclass(frozen=True, kw_only=True)
class _Counts:
    """What became of the runs of a sweep."""

    sweep: str
    expected: int
    completed: int
    diverged: int
    failed: int
    missing: int


def render(report: Report) -> bytes:
    """The page, as UTF-8."""
    groups = RunGroups(report.results)
    found = verdicts.verdicts(report, groups)
    content = {
        "title": report.results.name,
        "report": report,
        "asked": list(verdicts.declaration(report)),
        "verdicts": found,
        "shown": Counter(one.level for one in found)[Level.GOOD],
        "levels": Counter(one.level for one in report.checks),
        "checks": [_linked(one.question, one, groups) for one in report.checks],
        "findings": [_linked(one.text, one, groups) for one in report.review.findings],
        "findings_of_pairs": [
            _linked(one.text, one, groups) for one in report.review.findings_of_pairs
        ],
        "matrix": verdicts.matrix(found),
        "compared": [one for one in report.charts if _is_compared(one)],
        "charts": [one for one in report.charts if not _is_compared(one)],
        "counts": list(_counts(report)),
        "is_shared": any(one.code == "shared_runs" for one in report.review.findings),
        "sources": list(_sources(report)),
        "data": table_json.script_json(_data(report, groups)),
        "specs": table_json.script_json({one.name: one.spec for one in report.charts}),
        "css": _file("page.css"),
        "script": _file("page.js"),
        **_libraries(report.charts),
    }
    page = _environment().get_template("page.html").render(content)
    return page.encode("utf-8", "backslashreplace")


@cache
def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["sha256"] = _sha256
    return found


def _shown(value: object) -> object:
    """What an expression of the template shows: of text no sign that cannot be printed."""
    is_foreign = isinstance(value, str) and not hasattr(value, "__html__")
    return printable_lines(str(value)) if is_foreign else value


@cache
def _sha256(script: str) -> str:
    """The source of a script in the page's policy: it runs, and nothing that is not named there."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{b64encode(digest).decode()}"


def _is_compared(chart: Chart) -> bool:
    return chart.name.partition("-")[0] == _COMPARED


def _linked(title: str, about: Check | Finding, groups: RunGroups) -> _Linked:
    return _Linked(about=about, number=len(about.runs), runs=groups.address(title, about.runs))


def _counts(report: Report) -> Iterator[_Counts]:
    """What became of the runs of each sweep."""
    results = report.results
    counts: dict[str, Counter[str]] = {one.sweep: Counter() for one in report.origins}
    for sweep, outcome in zip(results.sweeps, results.outcomes, strict=True):
        own = counts.setdefault(sweep, Counter())
        if isinstance(outcome, Unsettled):
            own["failed" if outcome.is_failed else "missing"] += 1
        else:
            own["diverged" if outcome.diverged else "completed"] += 1
    for sweep, own in counts.items():
        yield _Counts(sweep=sweep, expected=own.total(), **{name: own[name] for name in _OUTCOMES})


def _sources(report: Report) -> Iterator[tuple[str, str]]:
    """The specs' files as they were, and the overrides of the command line."""
    for origin in report.origins:
        for name, text in origin.sources.items():
            shown = "overrides of the command line" if name == OVERRIDES else name
            yield f"{origin.sweep}: {shown}", text


def _data(report: Report, groups: RunGroups) -> dict[str, Any]:
    """What the tables and the details of runs are made of."""
    results = report.results
    rows = len(results.outcomes)
    return {
        "runs": table_json.packed(run_table.columns(report), rows),
        "cells": table_json.packed(cell_table.columns(report), len(results.cells)),
        "comparisons": table_json.packed(verdicts.columns(report), len(report.answers)),
        "groups": groups.to_json(),
        "origins": {one.sweep: one.to_json() for one in report.origins},
    }


def _libraries(charts: Sequence[Chart]) -> dict[str, str]:
    """The libraries' text: of tables that of itables, of charts that of Vega-Lite, if there are any."""
    vega = ""
    if charts:
        import vl_convert

        # The bundle has lost the notice of its licence, which goes wherever it goes.
        licence = f"/*! Vega, Vega-Lite, vega-embed\n{_file('vega_licence.txt')}*/\n"
        vega = licence + vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return {**_tables(), "vega": _inline(vega)}


@cache
def _tables() -> dict[str, str]:
    from itables.utils import read_package_file

    script = read_package_file("html", "dt_bundle.js")
    exported = _DEFAULT_EXPORT.search(script)
    if exported is None:
        raise RuntimeError("the bundle of itables exports no DataTable")
    script = script.replace(exported[0], f"globalThis.DataTable={exported[1]};")
    return {"tables": _inline(script), "tables_css": read_package_file("html", "dt_bundle.css")}


def _inline(script: str) -> str:
    r"""The script as it may stand in the page: in its texts `\/` is `/`, and `\!` is `!`."""
    return _END.sub(r"<\\/", script).replace("<!--", "<\\!--")


@cache
def _file(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
