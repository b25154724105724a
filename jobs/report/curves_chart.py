"""Curves of the selected settings over epochs: a panel per problem, in which the metric is chosen."""

import json
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from jobs.report import vega
from jobs.report.content import Chart
from jobs.report.vega import Spec
from jobs.results import grid, style
from jobs.results.cells import Cell
from jobs.results.limits import Limits, limits
from jobs.results.mean_curves import band, extents, has_band
from jobs.results.reading import Floats, Result
from jobs.results.selection import Selection
from jobs.results.study import Results
from jobs.text import printable

_FIRST = ("test_accuracy", "test_loss", "train_loss", "train_accuracy")
_EXACT = [
    {"calculate": f"isLog ? pow(10, datum.{one}) : datum.{one}", "as": f"exact_{one}"}
    for one in ("value", "low", "high")
]
_WORDS = vega.tooltip(
    optimizer="optimizer",
    setting="setting",
    what="of",
    epoch="epoch",
    exact_value="value",
    exact_low="interval from",
    exact_high="to",
)
_NO_LIMITS = Limits(low=0.0, high=1.0, is_log=False)


def draw(results: Results) -> Iterator[Chart]:
    """A chart per problem: means with bands or thin lines, and diverged runs, as in figure `grid`."""
    columns: dict[str, list[Selection]] = {}
    for one in results.selections:
        if one.cell is None or one.cell.results:
            columns.setdefault(one.problem, []).append(one)
    for problem, column in columns.items():
        cells = [one.cell for one in column if one.cell is not None]
        metrics = [one for one in _FIRST if any(cell.measures(one) for cell in cells)]
        if metrics:
            yield Chart(
                name=f"curves-{1 + results.problems.index(problem)}",
                title=f"{style.problem_name(problem)}: curves",
                caption=grid.caption_of(results, {problem: column}),
                spec=_spec(results, cells, metrics),
            )


def _spec(results: Results, cells: Sequence[Cell], metrics: Sequence[str]) -> Spec:
    shown = {
        metric: limits(metric, *extents(metric, [one for one in cells if one.measures(metric)]))
        or _NO_LIMITS
        for metric in metrics
    }
    lines = [line for metric in metrics for line in _lines(cells, metric, shown[metric])]
    optimizers = list(dict.fromkeys(cell.optimizer for cell in cells))
    colors = vega.optimizer_channels(results, optimizers, channels=("color", "strokeDash"))
    return vega.chart(
        _layers(colors),
        height=vega.HEIGHT,
        title=vega.heading({"expr": "metric"}),
        params=[_metric(metrics), *_axis(shown)],
        data={"values": lines},
        transform=[
            {"filter": "datum.metric === metric"},
            {"flatten": ["epoch", "value", "low", "high"]},
        ],
    )


def _metric(metrics: Sequence[str]) -> Spec:
    words = [style.words(one) for one in metrics]
    bind = {"input": "select", "options": words, "name": "metric "}
    return {"name": "metric", "value": words[0], "bind": bind}


def _axis(shown: Mapping[str, Limits]) -> list[Spec]:
    """The parameters that the axis depends on, by the chosen metric: of a log scale it has decades."""
    logs = [style.words(metric) for metric, one in shown.items() if one.is_log]
    ends = {
        style.words(metric): vega.numbers(_scaled(np.array([one.low, one.high]), one))
        for metric, one in shown.items()
    }
    return [
        {"name": "isLog", "expr": f"indexof({json.dumps(logs)}, metric) >= 0"},
        {"name": "ends", "expr": f"({json.dumps(ends)})[metric]"},
    ]


def _lines(cells: Sequence[Cell], metric: str, shown: Limits) -> Iterator[Spec]:
    """The lines of a metric: means, single runs, and runs that diverged."""
    for cell in cells:
        curves = cell.curves(metric)
        if len(curves):
            n = f"mean of {len(curves)}" + (" that completed" if cell.diverged else "")
            ends = band(curves) if has_band(cell, curves) else None
            kind = "few" if cell.diverged else "mean"
            yield _line(cell, metric, shown, curves.mean(axis=0), kind, n, ends)
            if not has_band(cell, curves) and len(curves) > 1 and not cell.diverged:
                for one in cell.completed:
                    yield from _run(cell, one, metric, shown, "run")
        for one in cell.diverged:
            yield from _run(cell, one, metric, shown, "diverged")


def _run(cell: Cell, one: Result, metric: str, shown: Limits, kind: str) -> Iterator[Spec]:
    curve = one.curves.get(metric, np.empty(0))
    if len(curve):
        run = one.planned.run
        what = f"seed {run.seed}" + (", diverged" if kind == "diverged" else "")
        line = _line(cell, metric, shown, curve, kind, what)
        yield line | {"run": run.id, "href": vega.link(run.id)}
        if kind == "diverged":
            end = _line(cell, metric, shown, curve, "end", what)
            last = {key: end[key][-1:] for key in ("epoch", "value", "low", "high")}
            yield end | last | {"run": run.id, "href": vega.link(run.id)}


def _line(
    cell: Cell,
    metric: str,
    shown: Limits,
    curve: Floats,
    kind: str,
    what: str,
    ends: tuple[Floats, Floats] | None = None,
) -> Spec:
    kept = vega.thinned(len(curve))
    low, high = ends if ends is not None else (np.full(len(curve), np.nan),) * 2
    value, least, most = (vega.numbers(_scaled(one[kept], shown)) for one in (curve, low, high))
    return {
        "optimizer": printable(cell.optimizer),
        "setting": printable(cell.setting),
        "metric": style.words(metric),
        "kind": kind,
        "what": what,
        "run": "",
        "epoch": [int(one) for one in kept],
        "value": value,
        "low": least,
        "high": most,
    }


def _scaled(values: Floats, shown: Limits) -> Floats:
    """Decades, where the axis is of them; what is not above 0 has none."""
    if not shown.is_log:
        return values
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log10(np.where(values > 0, values, np.nan))


def _layers(colors: Mapping[str, Spec]) -> list[Spec]:
    """Bands below, then thin lines, means, crosses, and what is under the pointer."""
    spelled = "isLog ? format(pow(10, datum.value), '.2~g') : datum.label"
    y: Spec = {
        "type": "quantitative",
        "title": None,
        "scale": {"domain": {"expr": "ends"}, "zero": False, "nice": False},
        "axis": {"labelExpr": spelled, "tickCount": 5},
    }
    epoch: Spec = {
        "field": "epoch",
        "type": "quantitative",
        "title": "epoch",
        "axis": {"tickMinStep": 1, "format": "d", "tickCount": 6},
        "scale": {"nice": False},
    }
    at: Mapping[str, Spec] = {"x": epoch, "y": {"field": "value", **y}, **colors}
    return [
        _bands(at),
        _drawn(("run", "diverged"), 0.8, 0.6, at),
        _drawn(("few",), 1.2, 0.6, at),
        _drawn(("mean",), 2.0, 1.0, at),
        _crosses(at),
        _under_the_pointer(at),
    ]


def _bands(at: Mapping[str, Spec]) -> Spec:
    return {
        "mark": {"type": "area", "clip": True},
        "transform": [{"filter": "datum.kind === 'mean' && isValid(datum.low)"}],
        "encoding": {
            "x": at["x"],
            "y": {**at["y"], "field": "low"},
            "y2": {"field": "high"},
            "color": at["color"],
            "opacity": vega.pale(0.2),
        },
        "params": [vega.chosen(), vega.zoom()],
    }


def _crosses(at: Mapping[str, Spec]) -> Spec:
    return {
        "mark": {
            "type": "point",
            "shape": vega.CROSS,
            "size": 40,
            "strokeWidth": 1.8,
            "clip": False,
        },
        "transform": [
            {"filter": "datum.kind === 'end'"},
            *_EXACT,
            {"calculate": "clamp(datum.value, ends[0], ends[1])", "as": "value"},
        ],
        "encoding": {
            **{key: at[key] for key in ("x", "y", "color")},
            "opacity": vega.pale(1.0),
            "tooltip": _WORDS,
            "href": {"field": "href"},
        },
    }


def _under_the_pointer(at: Mapping[str, Spec]) -> Spec:
    """Points that nobody sees: their tooltips tell the numbers of lines."""
    return {
        "mark": {"type": "point", "size": 90, "opacity": 0, "clip": True, "filled": True},
        "transform": [{"filter": "datum.kind !== 'end'"}, *_EXACT],
        "encoding": {
            **{key: at[key] for key in ("x", "y")},
            "tooltip": _WORDS,
            "href": {"field": "href"},
        },
    }


def _drawn(kinds: Sequence[str], width: float, opacity: float, at: Mapping[str, Spec]) -> Spec:
    """A layer of lines, one for each run or mean."""
    return {
        "mark": {"type": "line", "strokeWidth": width, "clip": True},
        "transform": [{"filter": f"indexof({json.dumps(kinds)}, datum.kind) >= 0"}],
        "encoding": {**at, "detail": {"field": "run"}, "opacity": vega.pale(opacity)},
    }
