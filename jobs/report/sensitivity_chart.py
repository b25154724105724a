"""The final validation metric of every setting against the hyperparameter that is varied."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jobs.report import sensitivity_layers, vega
from jobs.report.content import Chart
from jobs.report.vega import Spec
from jobs.results import sensitivity, sensitivity_axis, sensitivity_series, style
from jobs.results.cells import Cell, compared, metric_of
from jobs.results.limits import Limits, limits
from jobs.results.reading import is_better_high
from jobs.results.sensitivity_astray import Astray
from jobs.results.sensitivity_axis import Axis
from jobs.results.sensitivity_points import best, diverged_at, moments, running_best
from jobs.results.sensitivity_series import Layout, Series
from jobs.results.study import Results
from jobs.text import printable

_MARK_STEP = 9.0  # pixels, from one row of crosses to the next
_MARKS_MAX = 60.0  # pixels, of all rows
_TRIANGLES = {"exploded": "triangle-up", "collapsed": "triangle-down"}
_ASTRAY_COLOR = "#666666"  # in the legend


def draw(results: Results) -> Iterator[Chart]:
    """A chart per problem, if a hyperparameter has two numbers."""
    cells = [cell for cell in compared(results.cells) if cell.results]
    try:
        name = sensitivity_axis.varied_axis(cells)
    except style.FigureError:
        return
    layout = sensitivity_series.lay(name, cells)
    axis = sensitivity_axis.axis_of(
        name, [cell for cell in cells if cell.optimizer not in layout.levels]
    )
    for problem in dict.fromkeys(cell.problem for cell in cells):
        own = [cell for cell in cells if cell.problem == problem]
        every = [cell for cell in compared(results.cells) if cell.problem == problem]
        yield Chart(
            name=f"sensitivity-{1 + results.problems.index(problem)}",
            title=f"{style.problem_name(problem)}: sensitivity to {printable(name)}",
            caption=sensitivity.caption_of(results, every, layout, None, Astray.of(every)),
            spec=_Panel(
                results, axis, layout, metric_of(own, "valid"), own, Astray.of(every)
            ).spec(),
        )


@dataclass(frozen=True)
class _Panel:
    """A problem's series."""

    results: Results
    axis: Axis
    layout: Layout
    metric: str
    cells: Sequence[Cell]
    astray: Astray

    def spec(self) -> Spec:
        shown = list(dict.fromkeys(cell.optimizer for cell in self.cells))
        rows = [row for one in self.layout.series(self.cells) for row in self._series(one)]
        crosses = list(self._crosses())
        found = self._limits()
        y = vega.position("mean", "", found)
        y["title"] = None
        channels = self._channels(shown)
        room = self._room(crosses)
        is_top = not is_better_high(self.metric)
        return vega.chart(
            sensitivity_layers.layers(
                self._x(0 if is_top else room), y, {**channels, **self._dash()}
            ),
            height=vega.HEIGHT,
            title=vega.heading(f"final {style.words(self.metric)}") | {"offset": 8 + room * is_top},
            data={
                "values": [
                    *rows,
                    *crosses,
                    *self._astray(found),
                    *self._ticks(0 if is_top else room),
                ]
            },
        )

    def _limits(self) -> Limits | None:
        """Of the settings' means and spreads, but of what exploded only if there is nothing else."""
        means, sds = moments(self.cells, self.metric)
        is_tame = np.array([not self.astray.has_exploded(cell) for cell in self.cells])
        if np.isfinite(means[is_tame]).any():
            means, sds = means[is_tame], sds[is_tame]
        return limits(self.metric, means, np.concatenate([means, means - sds, means + sds]))

    def _channels(self, shown: Sequence[str]) -> Mapping[str, Spec]:
        """The channels of optimizers; their one legend tells the marks of what went astray, too."""
        found = vega.optimizer_channels(self.results, shown, channels=("color", "shape"))
        for name, channel in found.items():
            for kind in self.astray.kinds:
                channel["scale"]["domain"].append(kind)
                look = _ASTRAY_COLOR if name == "color" else _TRIANGLES[kind]
                channel["scale"]["range"].append(look)
        return found

    def _astray(self, shown: Limits | None) -> Iterator[Spec]:
        """A triangle around the point of a setting of which runs collapsed or exploded."""
        for one in self.layout.series(self.cells):
            if one.kind == "level" or shown is None:
                continue
            color = style.color(self.results, one.optimizer)
            means, _ = moments(one.cells, self.metric)
            for cell, mean in zip(one.cells, means, strict=True):
                for kind, opacity in self.astray.kinds_of(cell).items():
                    yield {
                        "kind": "astray",
                        "optimizer": kind,  # as the legend calls it
                        "of": printable(one.optimizer),
                        "setting": printable(cell.setting),
                        "at": vega.number(self.axis.at(cell)),
                        "mean": vega.number(float(np.clip(mean, shown.low, shown.high))),
                        "color": color,
                        "shape": _TRIANGLES[kind],
                        "opacity": opacity,
                        "n": f"{'all' if opacity == 1 else 'some'} completed runs {kind}",
                    }

    def _x(self, room: float) -> Spec:
        """The axis, with ticks at its numbers; `room` is for crosses above their labels."""
        low, high = self.axis.ends
        inner = min([low, *self.axis.apart.values()])
        ticks: Spec = {"labelPadding": 3 + room, "tickCount": 5}
        if self.axis.is_log:
            ticks["values"] = sensitivity_axis.log_ticks(low, high)
            ticks["format"] = "~g"
        return {
            "field": "at",
            "type": "quantitative",
            "title": printable(self.axis.name),
            "scale": {
                "type": "log" if self.axis.is_log else "linear",
                "domain": vega.numbers([inner, high]),
                "padding": 12,
                "nice": False,
                **({} if self.axis.is_log else {"zero": False}),
            },
            "axis": ticks,
        }

    def _dash(self) -> Mapping[str, Spec]:
        """By the second axis' value; where there is none, by optimizer, as in the other charts."""
        if self.layout.second is None:
            return {"strokeDash": {"field": "dash", "type": "nominal", "scale": None}}
        exact = list(self.layout.values)
        legend = {
            "title": printable(self.layout.second),
            "orient": "bottom",
            "symbolType": "stroke",
        }
        return {
            "strokeDash": {
                "field": "second",
                "type": "nominal",
                "scale": {
                    "domain": [printable(self.layout.values[one]) for one in exact],
                    "range": [vega.dash(self.layout.dash(one)) for one in exact],
                },
                "legend": legend,
            }
        }

    def _ticks(self, room: float) -> Iterator[Spec]:
        """The words of what is no number on the axis."""
        for word, place in self.axis.apart.items():
            yield {
                "kind": "tick",
                "at": vega.number(place),
                "word": printable(word),
                "y": vega.HEIGHT + 11 + room,
            }

    def _series(self, one: Series) -> Iterator[Spec]:
        if one.kind == "level":
            level = best(moments(one.cells, self.metric)[0], self.metric)
            text = f"best of {len(one.cells)} settings"
            yield {
                "kind": "level",
                "optimizer": printable(one.optimizer),
                "setting": text,
                "mean": vega.number(level),
            }
            return
        cells = sorted(one.cells, key=self.axis.at)
        means, sds = moments(cells, self.metric)
        is_on = np.array([not self.axis.is_apart(cell) for cell in cells])
        running = np.full(len(cells), np.nan)
        running[is_on] = running_best(means[is_on], self.metric)
        for at, cell in enumerate(cells):
            yield {
                **self._point(cell, one, float(means[at]), float(sds[at])),
                "best": vega.number(float(running[at])) if one.kind == "scatter" else None,
                "is_on": bool(is_on[at]),
            }

    def _point(self, cell: Cell, one: Series, mean: float, sd: float) -> Spec:
        completed = cell.completed
        has_bar = len(completed) > 1 and one.kind == "line"
        link = vega.link(completed[0].planned.run.id) if len(completed) == 1 else None
        count = f"{len(completed)} of {len(cell.results)} runs" if cell.diverged else ""
        return {
            "kind": one.kind,
            "optimizer": printable(cell.optimizer),
            "setting": printable(cell.setting),
            "second": printable(self.layout.values.get(one.value, "")),
            "at": vega.number(self.axis.at(cell)),
            "mean": vega.number(mean),
            "low": vega.number(mean - sd) if has_bar else None,
            "high": vega.number(mean + sd) if has_bar else None,
            "n": count or f"n={len(completed)}",
            "chosen": bool(cell.chosen),
            "dash": vega.dash(style.line(self.results, one.optimizer)),
            **({"href": link} if link else {}),
        }

    def _crosses(self) -> Iterator[Spec]:
        """Where runs diverged, beyond the bad end of the axis, a row per optimizer."""
        marked = {
            cell.optimizer: None
            for cell in self.cells
            if cell.diverged and cell.optimizer not in self.layout.levels
        }
        step = min(_MARK_STEP, _MARKS_MAX / max(len(marked), 1))
        for row, optimizer in enumerate(marked):
            own = [cell for cell in self.cells if cell.optimizer == optimizer]
            away = (row + 0.8) * step
            for place, is_partly in diverged_at(own, self.axis).items():
                yield {
                    "kind": "cross",
                    "optimizer": printable(optimizer),
                    "at": vega.number(place),
                    "y": vega.HEIGHT + away if is_better_high(self.metric) else -away,
                    "opacity": 0.45 if is_partly else 1.0,
                    "n": "some runs diverged" if is_partly else "all runs diverged",
                }

    def _room(self, crosses: Sequence[Spec]) -> float:
        places = [abs(one["y"] - vega.HEIGHT * is_better_high(self.metric)) for one in crosses]
        return max(places, default=0.0) + (_MARK_STEP / 2 if places else 0.0)
