"""Vega-Lite: colours as in the figures, numbers that JSON has, panels as wide as the page gives them.

What others wrote (labels of optimizers and settings) is always a value in the data, never the name of a
field, a format or an expression.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jobs.results import style
from jobs.results.limits import Limits
from jobs.results.reading import Floats
from jobs.results.study import Results
from jobs.text import printable

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
"""Of the version that `vl_convert` bundles."""

POINTS_MAX = 200
"""Of a line; of more, every so many is left out."""

HEIGHT = 240  # of a panel, in pixels
ROW_HEIGHT = 30  # of an optimizer's row
_DIGITS = 6  # significant ones of a number
_LABEL_WIDTH_MAX = 130  # of an optimizer's name, in pixels; the tooltip has all of it
_DASHES: Mapping[style.LineStyle, Sequence[float]] = {
    "-": [1, 0],
    "--": [5, 3],
    ":": [1.5, 2],
    "-.": [6, 2, 1.5, 2],
}
_SHAPES = {"o": "circle", "s": "square", "^": "triangle-up", "D": "diamond"}
_WHEEL = "wheel![event.ctrlKey || event.metaKey]"
CROSS = "M-1,-1L1,1M-1,1L1,-1"
"""The shape of a run that diverged."""

_CONFIG = {
    "axis": {
        "gridColor": "#e6e6e6",
        "titleFontWeight": "normal",
        "labelLimit": _LABEL_WIDTH_MAX,
        "labelSeparation": 6,
    },
    "legend": {"labelLimit": _LABEL_WIDTH_MAX, "symbolStrokeWidth": 2},
    "view": {"stroke": None},
    "font": "sans-serif",
}

Spec = dict[str, Any]
"""Of Vega-Lite, or a part of it."""


def chart(layers: Sequence[Spec], **more: object) -> Spec:
    """A panel, as wide as its place in the page, of these layers."""
    return {
        "$schema": SCHEMA,
        "width": "container",
        "autosize": {"type": "fit-x", "contains": "padding"},
        "config": _CONFIG,
        **more,
        "layer": list(layers),
    }


def optimizer_channels(
    results: Results, shown: Sequence[str], *, channels: Sequence[str]
) -> Mapping[str, Spec]:
    """The channels (`color`, `strokeDash`, `shape`) that tell optimizers apart, as the figures do.

    The field is `optimizer`; a click on its legend leaves the others pale (`chosen`).
    """
    look = {
        "color": [style.color(results, one) for one in shown],
        "strokeDash": [dash(style.line(results, one)) for one in shown],
        "shape": [_SHAPES[style.marker(results, one)] for one in shown],
    }
    legend: Spec = {"title": None, "orient": "bottom", "columns": 2, "symbolOpacity": 1}
    if "shape" not in channels:
        legend |= {"symbolType": "stroke", "symbolSize": 300}  # twice as long as a dash and a gap
    return {
        channel: {
            "field": "optimizer",
            "type": "nominal",
            "scale": {"domain": [printable(one) for one in shown], "range": look[channel]},
            "legend": legend,
        }
        for channel in channels
    }


def dash(line: style.LineStyle) -> Sequence[float]:
    """A line style of the figures."""
    return _DASHES[line]


def heading(text: str | Spec) -> Spec:
    """What stands above the axis at the left: there it needs no room beside it."""
    return {"text": text, "anchor": "start", "fontSize": 11, "fontWeight": "normal", "offset": 8}


def chosen() -> Spec:
    """The parameter that a click on the legend sets."""
    return {
        "name": "chosen",
        "select": {"type": "point", "fields": ["optimizer"]},
        "bind": "legend",
    }


def pale(opacity: float) -> Spec:
    """The opacity of a mark, and less of it where the legend has another optimizer chosen."""
    return {
        "condition": {"param": "chosen", "value": opacity},
        "value": opacity / 8,
    }


def zoom() -> Spec:
    """The parameter that lets a panel be dragged, and zoomed with the wheel and a key; else the page scrolls."""
    select = {"type": "interval", "zoom": _WHEEL}
    return {"name": "view", "select": select, "bind": "scales"}


def tooltip(**titles: str) -> list[Spec]:
    """What is shown of a mark: fields with their titles; numbers as they are in the data."""
    return [{"field": field, "title": title} for field, title in titles.items()]


def position(field: str, title: str, limits: Limits | None = None, **more: object) -> Spec:
    """A place on an axis by a number."""
    scale: Spec = {"zero": False, "nice": False}
    if limits is not None:
        scale["domain"] = numbers([limits.low, limits.high])
        scale["type"] = "log" if limits.is_log else "linear"
    else:
        scale["padding"] = 10
    return {
        "field": field,
        "type": "quantitative",
        "title": title,
        "scale": scale,
        "axis": {"tickCount": 5},
        **more,
    }


def row(shown: Sequence[str]) -> Spec:
    """The row of an optimizer."""
    return {
        "field": "optimizer",
        "type": "nominal",
        "title": None,
        "sort": [printable(one) for one in shown],
        "axis": {"ticks": False, "domain": False, "grid": False},
    }


def note(field: str, y: Spec, which: str) -> Spec:
    """What is said of rows at their right, where no mark is."""
    return {
        "mark": {
            "type": "text",
            "align": "left",
            "baseline": "middle",
            "dx": 6,
            "fontSize": 10,
            "lineBreak": "\n",
            "color": "#555555",
        },
        "transform": [{"filter": which}],
        "encoding": {"x": {"value": {"expr": "width"}}, "y": y, "text": {"field": field}},
    }


def link(run: str) -> str:
    """Where the page has a run."""
    return f"#run-{run}"


def numbers(values: Sequence[float] | Floats) -> list[float | None]:
    """The values as JSON has them: short, and null where there is none."""
    return [float(f"{one:.{_DIGITS}g}") if np.isfinite(one) else None for one in values]


def number(value: float | None) -> float | None:
    """A value as JSON has it."""
    return None if value is None else numbers([value])[0]


def thinned(length: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Which of so many points are drawn: equal steps, the first and the last one kept."""
    step = -(-(length - 1) // (POINTS_MAX - 1)) if length > POINTS_MAX else 1
    kept = np.arange(0, length, step)
    return kept if not length or kept[-1] == length - 1 else np.append(kept, length - 1)
