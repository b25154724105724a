"""What an optimizer's epoch costs, as a multiple of the baseline's."""

from collections.abc import Iterator, Mapping, Sequence

from jobs.report import vega
from jobs.report.content import Chart
from jobs.report.vega import Spec
from jobs.results import runtime, style
from jobs.results.selection import baseline_of
from jobs.results.study import Results
from jobs.results.times import Pace, paces
from jobs.text import printable

_CLOCKS = ("wall clock", "CPU time")
_WORDS = vega.tooltip(
    optimizer="optimizer",
    clock="clock",
    ratio="ratio",
    low="interval from",
    high="to",
    pairs="pairs",
)
_ROW_HEIGHT = 38  # of an optimizer's two clocks, in pixels


def draw(results: Results) -> Iterator[Chart]:
    """A chart per problem with pairs of runs; wall clock where it can be compared."""
    if not results.selections:
        return
    base = baseline_of(results.selections)
    columns: dict[str, list[Pace]] = {}
    for one in paces(results.selections, results.found):
        if one.wall or one.cpu:
            columns.setdefault(one.selection.problem, []).append(one)
    for problem, column in columns.items():
        yield Chart(
            name=f"time-{1 + results.problems.index(problem)}",
            title=f"{style.problem_name(problem)}: time per epoch",
            caption=runtime.caption_of(results, column, base),
            spec=_spec(results, column, base),
        )


def _spec(results: Results, column: Sequence[Pace], base: str) -> Spec:
    shown = [one.selection.optimizer for one in column]
    x = vega.position("ratio", printable(f"time per epoch, {base} = 1"))
    color = vega.optimizer_channels(results, shown, channels=("color",))["color"]
    at = {
        "y": vega.row(shown),
        "yOffset": {"field": "clock", "type": "nominal", "scale": {"domain": list(_CLOCKS)}},
        "color": {**color, "legend": None},
    }
    shape = {
        "field": "clock",
        "type": "nominal",
        "scale": {"domain": list(_CLOCKS), "range": ["circle", "diamond"]},
        "legend": {"title": None, "orient": "bottom"},
    }
    return vega.chart(
        [
            {
                "data": {"values": [{"one": 1}]},
                "mark": {"type": "rule", "strokeDash": [4, 3], "color": "black"},
                "encoding": {"x": {**x, "field": "one"}},
            },
            {
                "mark": {"type": "rule", "strokeWidth": 1.6},
                "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}, **at},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
                "encoding": {"x": x, **at, "shape": shape, "tooltip": _WORDS},
            },
            _beside(at),
        ],
        height=_ROW_HEIGHT * len(shown),
        data={"values": [row for one in column for row in _rows(one)]},
    )


def _beside(at: Mapping[str, Spec]) -> Spec:
    """Each ratio with its number of pairs, at the right."""
    note = vega.note("note", at["y"], "true")
    note["encoding"] |= {"yOffset": at["yOffset"]}
    return note


def _rows(one: Pace) -> Iterator[Spec]:
    for clock, found in zip(_CLOCKS, (one.wall, one.cpu), strict=True):
        if found is not None:
            yield {
                "optimizer": printable(one.selection.optimizer),
                "clock": clock,
                "ratio": vega.number(found.ratio),
                "low": vega.number(found.interval.low if found.interval else None),
                "high": vega.number(found.interval.high if found.interval else None),
                "pairs": found.pairs,
                "note": f"{found.ratio:.2f} (n={found.pairs})",
            }
