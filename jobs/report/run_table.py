"""The table of runs has a row per planned run, with all that its details show."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from jobs.report.report import Report
from jobs.report.table_json import Column, Kind
from jobs.results import tables
from jobs.results.cells import metric_of
from jobs.results.reading import Unsettled

_LEFT_OUT = ("oracle_", "best_", "failure_")  # of no result, or told by `state`
_TITLES: Mapping[str, str] = {
    "run": "run",
    "sweep": "sweep",
    "problem": "problem",
    "optimizer": "optimizer",
    "setting": "setting",
    "role": "role",
    "seed": "seed",
    "outcome": "outcome",
    "epochs_to_target": "epochs to target",
}
_ONLY_IF_DIFFERENT = ("sweep", "setting", "role")
_NUMBERS = ("seed", "epochs_to_target")


def columns(report: Report) -> Iterator[Column]:
    """The columns of runs.parquet, the best of test metrics left out, and where a run stands."""
    found = tables.runs(report.results)
    titles = {
        f"{value}_{metric}": metric_heading(value, metric)
        for value, metric in shown_metrics(report)
    }
    names = [name for name in found.column_names if not name.startswith(_LEFT_OUT)]
    for name in in_order(names, titles):
        values = found.column(name).to_pylist()
        title = titles.get(name, _TITLES.get(name, ""))
        if name in _ONLY_IF_DIFFERENT and len(set(values)) == 1:
            title = ""
        yield Column(name=name, values=values, title=title, kind=_kind(name, titles))
    yield from _states(report)


def shown_metrics(report: Report) -> list[tuple[str, str]]:
    """The values and metrics that the tables show: what was asked for, and what selects, by problem."""
    question, cells = report.question, report.results.cells
    by_problem = [
        [cell for cell in cells if cell.problem == problem] for problem in report.results.problems
    ]
    tests = [question.metric or metric_of(own, "test") for own in by_problem]
    valid = [metric_of(own, "valid") for own in by_problem]
    shown = [*((question.value, one) for one in tests), *(("final", one) for one in valid)]
    return list(dict.fromkeys(shown))


def in_order(names: Sequence[str], metrics: Iterable[str]) -> list[str]:
    """The columns' names with these metrics in this order, where the first metric is."""
    shown = [name for name in metrics if name in names]
    at = next((place for place, name in enumerate(names) if name in shown), 0)
    others = [name for name in names if name not in shown]
    return [*others[:at], *shown, *others[at:]]


def metric_heading(value: str, metric: str) -> str:
    """A metric's heading: `final test accuracy`."""
    return f"{value} {metric}".replace("_", " ")


def _kind(name: str, metrics: Iterable[str]) -> Kind:
    if name == "run":
        return "run"
    return "number" if name in metrics or name in _NUMBERS else "text"


def _states(report: Report) -> Iterator[Column]:
    """Of runs without a record: how they stand, why, by what evidence, and the end of their log."""
    outcomes = report.results.outcomes
    states = [one.state if isinstance(one, Unsettled) else None for one in outcomes]
    ids: Sequence[str] = [one.planned.run.id for one in outcomes]
    texts: Mapping[str, Sequence[object]] = {
        "state": [one and one.state for one in states],
        "state.failure": [one and one.failure for one in states],
        "state.message": [one and one.message for one in states],
        "state.evidence": [one and one.evidence for one in states],
        "state.log": [one and one.log for one in states],
        "log": ["\n".join(report.logs.get(run, ())) or None for run in ids],
    }
    for name, values in texts.items():
        yield Column(name=name, values=values)
