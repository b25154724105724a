"""Performance profiles: on how many problems an optimizer is within so many times the fastest."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jobs.results import style
from jobs.results.study import Results
from jobs.results.style import FigureError
from jobs.results.target_time import reaches
from jobs.statistics.profiles import Profile, performance_profiles
from jobs.statistics.time_to_target import Reach

_REMARK = "time: median epochs to the target · band: seeds drawn again · score: area, of 1"


def draw(results: Results, _: str | None) -> Figure:
    """Draw a line per optimizer over the problems that all of them ran and that have a target.

    Raises:
        FigureError: there are fewer than three such problems.
    """
    runs = _runs(results)
    found = performance_profiles(runs)
    figure, ((panel,),) = style.panels(1, 1, height=2.6 + style.LEGEND_LINE * len(runs))
    panel.set_xlabel("epochs to target, as a multiple of the fastest's")
    panel.set_ylabel(f"share of {len(found.problems)} problems")
    panel.set_ylim(-0.03, 1.03)
    handles = []
    for one in found.profiles:
        color = style.color(results, one.optimizer)
        (line,) = panel.step(
            found.taus,
            one.shares,
            style.line(results, one.optimizer),
            where="post",
            color=color,
            label=style.plain(f"{one.optimizer} ({_score(one)})"),
        )
        handles.append(line)
        if one.band is not None and len(found.profiles) <= style.BANDS_MAX:
            low, high = one.band.low, one.band.high
            panel.fill_between(found.taus, low, high, step="post", color=color, alpha=0.1, lw=0)
    _finish(figure, results, handles, found.relative_to)
    return figure


def _finish(
    figure: Figure, results: Results, handles: list[Line2D], optimizers: tuple[str, ...]
) -> None:
    style.add_legend(figure, figure.axes[0], handles)
    relative = style.plain(f"relative to: {', '.join(optimizers)}")
    style.add_footer(figure, results, results.reported, _REMARK, relative)


def _runs(results: Results) -> dict[str, dict[str, list[Reach]]]:
    """When the runs of each optimizer reach the targets, on problems that all optimizers ran."""
    found: dict[str, dict[str, list[Reach]]] = {}
    for one in results.selections:
        target = results.targets.get(one.problem)
        if target is not None and one.cell is not None and one.cell.results:
            found.setdefault(one.optimizer, {})[one.problem] = list(reaches(one.cell, target))
    if not found:
        raise FigureError("no problem has a target that its runs could reach")
    shared = set.intersection(*(set(own) for own in found.values()))
    return {
        optimizer: {problem: own[problem] for problem in own if problem in shared}
        for optimizer, own in found.items()
    }


def _score(one: Profile) -> str:
    """`score 0.71, 0.60 to 0.80`."""
    text = f"score {one.score:.2f}"
    return f"{text}, {one.band.score_low:.2f} to {one.band.score_high:.2f}" if one.band else text
