"""The layers of a sensitivity chart: levels, lines, running bests, points, marks, words of the axis."""

from collections.abc import Mapping

from jobs.report import vega
from jobs.report.vega import Spec

_RAW = {"field": "y", "type": "quantitative", "scale": None, "axis": None}
"""A place in pixels, beyond the axis."""

_WORD = {"type": "text", "fontSize": 10, "clip": False}  # else zooming clips it

_WORDS = vega.tooltip(
    optimizer="optimizer",
    setting="setting",
    n="of",
    mean="mean",
    low="mean less sd",
    high="mean and sd",
)


def layers(x: Spec, y: Spec, channels: Mapping[str, Spec]) -> list[Spec]:
    """All layers, the lowest first; rows of data have a `kind` each.

    Args:
        x: of a row's `at`.
        y: of a row's `mean`.
        channels: `color`, `shape` and `strokeDash`.
    """
    at: Spec = {"x": x, "y": y}
    color: Spec = {"color": channels["color"], "opacity": vega.pale(1.0)}
    series: Spec = {**color, "detail": [{"field": "second"}, {"field": "is_on"}]}
    line: Spec = {"type": "line", "strokeWidth": 1.5, "clip": True}
    level = {"type": "rule", "strokeDash": [4, 3], "strokeWidth": 1.5}
    dashed: Spec = {**at, **series, "strokeDash": channels["strokeDash"]}
    best: Spec = {"x": x, "y": {**y, "field": "best"}, **series}
    bar: Spec = {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, **color}
    point: Spec = {"shape": channels["shape"], "tooltip": _WORDS, "href": {"field": "href"}}
    dot = {"type": "point", "filled": True, "size": 40, "clip": True}
    ring = {"type": "point", "size": 160, "clip": True}
    word = {"x": x, "y": _RAW, "text": {"field": "word"}}
    return [
        _layer("datum.kind === 'level'", level, {"y": y, **color, "tooltip": _WORDS})
        | {"params": [vega.chosen()]},
        _layer("datum.kind === 'line' && datum.is_on", line, dashed) | {"params": [vega.zoom()]},
        _layer("isValid(datum.best)", {**line, "interpolate": "step-after"}, best),
        _layer("isValid(datum.low)", {"type": "rule", "clip": True}, bar),
        _layer("datum.kind === 'line' || datum.kind === 'scatter'", dot, {**at, **color, **point}),
        _layer("datum.chosen", ring, {**at, **color}),
        _astray(at),
        _crosses(x, channels["color"]),
        _layer("datum.kind === 'tick'", _WORD, word),
    ]


def _astray(at: Spec) -> Spec:
    """Triangles around points."""
    raw = {"type": "nominal", "scale": None}
    encoding = {
        **at,
        "stroke": {"field": "color", **raw},
        "shape": {"field": "shape", **raw},
        "strokeOpacity": {"field": "opacity", "type": "quantitative", "scale": None},
        "opacity": vega.pale(1.0),
        "tooltip": vega.tooltip(of="optimizer", setting="setting", n="of"),
    }
    mark = {"type": "point", "filled": False, "size": 170, "strokeWidth": 1.2, "clip": False}
    return _layer("datum.kind === 'astray'", mark, encoding)


def _crosses(x: Spec, color: Spec) -> Spec:
    mark = {"type": "point", "shape": vega.CROSS, "size": 18, "strokeWidth": 1.4, "clip": False}
    opacity = {"field": "opacity", "type": "quantitative", "scale": None, "legend": None}
    words = vega.tooltip(optimizer="optimizer", n="of")
    encoding = {"x": x, "y": _RAW, "color": color, "opacity": opacity, "tooltip": words}
    return _layer("datum.kind === 'cross'", mark, encoding)


def _layer(which: str, mark: Spec, encoding: Mapping[str, object]) -> Spec:
    return {"mark": mark, "transform": [{"filter": which}], "encoding": dict(encoding)}
