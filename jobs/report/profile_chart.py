"""On how many problems an optimizer is within so many times the fastest."""

from collections.abc import Iterator

import numpy as np

from jobs.report import vega
from jobs.report.content import Chart
from jobs.report.vega import Spec
from jobs.results import profile_figure, style
from jobs.results.study import Results
from jobs.statistics.profiles import Profile, Profiles
from jobs.text import printable

_WORDS = vega.tooltip(
    optimizer="optimizer",
    ratio="from a multiple of",
    share="share of problems",
    low="interval from",
    high="to",
    score="score",
)


def draw(results: Results) -> Iterator[Chart]:
    """A chart of all problems that have a target, if there are three."""
    found = profile_figure.profiles_of(results)
    if found is not None:
        yield Chart(
            name="profile",
            title=f"Performance profiles over {len(found.problems)} problems",
            caption=profile_figure.caption_of(results, found),
            spec=_spec(results, found),
        )


def _spec(results: Results, found: Profiles) -> Spec:
    shown = [one.optimizer for one in found.profiles]
    channels = vega.optimizer_channels(results, shown, channels=("color", "strokeDash"))
    x = vega.position("ratio", "epochs to target, as a multiple of the fastest's")
    domain = {"scale": {"domain": [0, 1]}, "axis": {"format": "%", "tickCount": 5}}
    at: Spec = {"x": x, "y": {"field": "share", "type": "quantitative", "title": None, **domain}}
    steps = {"interpolate": "step-after", "clip": True}
    band: Spec = {
        "mark": {"type": "area", **steps},
        "encoding": {
            "x": x,
            "y": {**at["y"], "field": "low"},
            "y2": {"field": "high"},
            "color": channels["color"],
            "opacity": vega.pale(0.1),
        },
    }
    line = {"mark": {"type": "line", "strokeWidth": 2, **steps}}
    point = {"mark": {"type": "point", "size": 90, "opacity": 0, "filled": True}}
    return vega.chart(
        [
            *([band] if len(shown) <= style.BANDS_MAX else []),
            {
                **line,
                "encoding": {**at, **channels, "opacity": vega.pale(1.0)},
                "params": [vega.chosen(), vega.zoom()],
            },
            {**point, "encoding": {**at, "tooltip": _WORDS}},
        ],
        height=vega.HEIGHT,
        title=vega.heading(f"share of {len(found.problems)} problems"),
        data={"values": [row for one in found.profiles for row in _rows(one, found)]},
    )


def _rows(one: Profile, found: Profiles) -> Iterator[Spec]:
    """Where the profile or its band steps, and its end."""
    parts = [one.shares, *((one.band.low, one.band.high) if one.band else ())]
    steps = np.any([np.diff(part, prepend=-1.0) != 0 for part in parts], axis=0)
    steps[-1] = True
    for at in np.flatnonzero(steps):
        yield {
            "optimizer": printable(one.optimizer),
            "ratio": vega.number(float(found.taus[at])),
            "share": vega.number(float(one.shares[at])),
            "low": vega.number(float(one.band.low[at]) if one.band else None),
            "high": vega.number(float(one.band.high[at]) if one.band else None),
            "score": vega.number(one.score),
        }
