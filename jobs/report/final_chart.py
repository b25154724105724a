"""The last test metric of every run of the selected settings, in a row per optimizer."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from jobs.report import vega
from jobs.report.content import Chart
from jobs.report.vega import Spec
from jobs.results import final, style
from jobs.results.cells import Cell, metric_of
from jobs.results.limits import limits
from jobs.results.reading import Floats
from jobs.results.selection import Selection
from jobs.results.study import Results
from jobs.statistics.location import mean_interval
from jobs.text import printable

_WHISKER = 1.5  # of the quartiles' range, at most
_OF_RUN = vega.tooltip(optimizer="optimizer", setting="setting", seed="seed", value="value")
_OF_MEAN = vega.tooltip(
    optimizer="optimizer",
    setting="setting",
    n="of",
    value="mean",
    low="interval from",
    high="to",
)


def draw(results: Results) -> Iterator[Chart]:
    """A chart per problem; a point leads to its run."""
    columns: dict[str, dict[str, Selection]] = {}
    for one in results.selections:
        if one.cell is not None and one.cell.results:
            columns.setdefault(one.problem, {})[one.optimizer] = one
    for problem, column in columns.items():
        cells = [one.cell for one in column.values() if one.cell is not None]
        metric = metric_of(cells, "test")
        yield Chart(
            name=f"final-{1 + results.problems.index(problem)}",
            title=f"{style.problem_name(problem)}: last values",
            caption=final.caption_of(results, {problem: column}, None),
            spec=_spec(results, cells, metric),
        )


def _spec(results: Results, cells: Sequence[Cell], metric: str) -> Spec:
    inner = [values for cell in cells for values in _finite(cell, metric)]
    ends = [end for cell in cells for end in _ends(_finite(cell, metric))]
    shown = [cell.optimizer for cell in cells]
    x = vega.position("value", f"final {style.words(metric)}")
    if found := limits(metric, np.array(inner), np.array(inner + ends)):
        x = vega.position("value", f"final {style.words(metric)}", found)
    color = vega.optimizer_channels(results, shown, channels=("color",))["color"]
    return vega.chart(
        _layers(x, {"y": vega.row(shown), "color": {**color, "legend": None}}),
        height=vega.ROW_HEIGHT * len(shown),
        data={"values": [row for cell in cells for row in _rows(cell, metric)]},
    )


def _finite(cell: Cell, metric: str) -> Floats:
    values = cell.finals(metric)
    return values[np.isfinite(values)]


def _ends(values: Floats) -> list[float]:
    interval = mean_interval(values) if len(values) else None
    return [interval.low, interval.high] if interval else []


def _rows(cell: Cell, metric: str) -> Iterator[Spec]:
    values = _finite(cell, metric)
    own = {"optimizer": printable(cell.optimizer), "setting": printable(cell.setting)}
    diverged = f"\n{len(cell.diverged)} diverged" if cell.diverged else ""
    yield {**own, "kind": "note", "n": f"n={len(cell.completed)}" + diverged}
    for place, one in enumerate(cell.completed):
        value = vega.number(one.final(metric))
        if value is not None:
            beside = (place + 1) / (len(cell.completed) + 1)
            run = one.planned.run
            yield {
                **own,
                "kind": "run",
                "value": value,
                "beside": round(beside, 3),
                "seed": run.seed,
                "href": vega.link(run.id),
            }
    if len(values):
        low, high = _ends(values) or (None, None)
        yield {
            **own,
            "kind": "mean",
            "value": vega.number(float(values.mean())),
            "low": vega.number(low),
            "high": vega.number(high),
            "n": f"{len(values)} of {len(cell.results)} runs",
            "opacity": 0.5 if cell.diverged else 1.0,
        }
    if len(values) >= final.BOX_RUNS_MIN:
        yield {**own, "kind": "box", **_box(values)}


def _box(values: Floats) -> Spec:
    """Median, quartiles, and the last values within reach of the quartiles."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    reach = _WHISKER * (high - low)
    inside = values[(values >= low - reach) & (values <= high + reach)]
    numbers = vega.numbers([low, middle, high, inside.min(), inside.max()])
    return dict(zip(("low", "value", "high", "least", "most"), numbers, strict=True))


def _layers(x: Spec, at: Mapping[str, Spec]) -> list[Spec]:
    low, value = ({**x, "field": field} for field in ("low", "value"))
    middle = {"x": value, **at}
    across = {"x": low, "x2": {"field": "high"}, **at}
    whisker = {"x": {**x, "field": "least"}, "x2": {"field": "most"}, **at}
    thin = {"strokeWidth": 0.7, "opacity": 0.7}
    beside = {"field": "beside", "type": "quantitative", "scale": {"domain": [0, 1]}}
    dot = {"type": "circle", "size": 26, "opacity": 0.55, "cursor": "pointer"}
    diamond = {"type": "point", "shape": "diamond", "filled": True, "size": 70, "stroke": "white"}
    run = {"yOffset": beside, "tooltip": _OF_RUN, "href": {"field": "href"}}
    return [
        _layer("box", {"type": "rule", **thin}, whisker),
        _layer("box", {"type": "bar", "height": 20, "filled": False, **thin}, across),
        _layer("box", {"type": "tick", "height": 20, "thickness": 0.7, "opacity": 0.7}, middle),
        _layer("run", dot, {**middle, **run}),
        _layer("mean", {"type": "rule", "strokeWidth": 2}, {**across, "opacity": _as_it_is()}),
        _layer("mean", diamond, {**middle, "opacity": _as_it_is(), "tooltip": _OF_MEAN}),
        vega.note("n", at["y"], "datum.kind === 'note'"),
    ]


def _as_it_is() -> Spec:
    return {"field": "opacity", "type": "quantitative", "scale": None, "legend": None}


def _layer(kind: str, mark: Spec, encoding: Mapping[str, object]) -> Spec:
    return {
        "mark": mark,
        "transform": [{"filter": f"datum.kind === '{kind}'"}],
        "encoding": dict(encoding),
    }
