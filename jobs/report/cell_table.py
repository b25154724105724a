"""The table of cells has a row per setting and role, as summary.csv has."""

from collections.abc import Iterator

from jobs.report.report import Report
from jobs.report.run_table import in_order, metric_heading, shown_metrics
from jobs.report.table_json import Column, Kind
from jobs.results import tables

_LEFT_OUT = ("_min", "_max")
_COUNTS = {"n_diverged": "diverged", "n_failed": "failed", "n_missing": "missing"}
_TITLES = {
    "problem": "problem",
    "optimizer": "optimizer",
    "setting": "setting",
    "role": "role",
    "n": "n",
    "epochs_to_target_median": "median epochs to target",
}
_ONLY_IF_DIFFERENT = ("setting", "role")


def columns(report: Report) -> Iterator[Column]:
    """The columns of summary.csv, extremes left out, and which cells stand for their optimizers."""
    results = report.results
    frame = tables.summary(results.cells, results.targets)
    metrics = {}
    for value, metric in shown_metrics(report):
        metrics[f"{value}_{metric}_mean"] = f"{metric_heading(value, metric)}, mean"
        metrics[f"{value}_{metric}_sd"] = "sd"
    titles = {**_TITLES, **metrics}
    names = [name for name in frame.columns if not name.endswith(_LEFT_OUT)]
    for name in in_order(names, metrics):
        values = frame[name].astype(object).where(frame[name].notna(), None).tolist()
        if name in _COUNTS and any(values):
            titles[name] = _COUNTS[name]
        title = titles.get(name, "")
        if name in _ONLY_IF_DIFFERENT and len(set(values)) == 1:
            title = ""
        yield Column(name=name, values=values, title=title, kind=_kind(name))
        if name == "setting":
            yield _stands(report)


def _stands(report: Report) -> Column:
    """Whether a cell is its optimizer's selected setting."""
    chosen = [
        one.cell for one in report.results.selections if one.cell is not None and one.settings > 1
    ]
    keys = {(cell.problem, cell.optimizer, cell.id, cell.role) for cell in chosen}
    cells = report.results.cells
    values = [
        "selected" if (one.problem, one.optimizer, one.id, one.role) in keys else None
        for one in cells
    ]
    return Column(name="stands_for_optimizer", values=values, title="stands for it")


def _kind(name: str) -> Kind:
    if name == "n":
        return "runs"
    is_number = name.startswith("n_") or name.endswith(("_mean", "_sd", "_median"))
    return "number" if is_number else "text"
