"""Each optimizer's difference to the baseline with its interval, in a row."""

from collections.abc import Iterator, Sequence

from jobs.report import vega
from jobs.report.content import Chart
from jobs.report.vega import Spec
from jobs.results import forest, style
from jobs.results.comparisons import Answer
from jobs.results.sentence import p_text, why_no_difference
from jobs.results.study import Results
from jobs.text import printable


def draw(results: Results, found: Sequence[Answer]) -> Iterator[Chart]:
    """A chart per problem, of what was compared there."""
    columns: dict[str, list[Answer]] = {}
    for one in found:
        columns.setdefault(one.problem, []).append(one)
    for problem, column in columns.items():
        if not any(one.compared for one in column):
            continue
        base = column[0].b.optimizer
        yield Chart(
            name=f"compare-{1 + results.problems.index(problem)}",
            title=f"{style.problem_name(problem)}: differences to {printable(base)}",
            caption=forest.caption_of(results, column),
            spec=_spec(results, column),
        )


def _spec(results: Results, column: Sequence[Answer]) -> Spec:
    shown = [one.a.optimizer for one in column]
    first = column[0]
    what = f"{first.value} {first.metric} less that of {first.b.optimizer}"
    x = vega.position("difference", printable(what.replace("_", " ")))
    color = vega.optimizer_channels(results, shown, channels=("color",))["color"]
    at = {"y": vega.row(shown), "color": {**color, "legend": None}}
    words = vega.tooltip(
        optimizer="optimizer",
        n="n",
        difference="difference",
        low="interval from",
        high="to",
        chance="P(better)",
        p="p",
        adjusted="p by Holm",
        shown="shown",
    )
    return vega.chart(
        [
            {
                "data": {"values": [{"zero": 0}]},
                "mark": {"type": "rule", "strokeDash": [4, 3], "color": "black"},
                "encoding": {"x": {**x, "field": "zero"}},
            },
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}, **at},
            },
            {
                "mark": {"type": "circle", "size": 80, "opacity": 1},
                "encoding": {"x": x, **at, "tooltip": words},
            },
            vega.note("note", at["y"], "true"),
        ],
        height=vega.ROW_HEIGHT * len(shown),
        data={"values": [_row(one) for one in column]},
    )


def _row(one: Answer) -> Spec:
    own: Spec = {"optimizer": printable(one.a.optimizer), "shown": str(one.claim)}
    made = one.compared
    if made is None:
        return {**own, "note": "not compared"}
    n, m = made.comparison.n
    own |= {
        "n": str(n) if n == m else f"{n} and {m}",
        "chance": vega.number(made.comparison.improvement.probability),
        "p": vega.number(made.evidence.p_value),
        "adjusted": vega.number(made.p_adjusted),
        "note": f"p {p_text(made.p_adjusted)}",
    }
    difference = made.comparison.difference
    if difference is None:
        chance = made.comparison.improvement.probability
        why = why_no_difference(made.comparison)
        return own | {"note": f"{why}\nP(better) {chance:.2f}, p {p_text(made.p_adjusted)}"}
    interval = difference.interval()
    return own | {
        "difference": vega.number(difference.estimate),
        "low": vega.number(interval.low),
        "high": vega.number(interval.high),
    }
