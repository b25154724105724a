"""Performance profiles: on how many problems an optimizer is within so many times the fastest."""

from jobs.results import page, style, targets
from jobs.results.captions import caption, origin
from jobs.results.figure_options import FigureOptions
from jobs.results.page import Drawing
from jobs.results.reach_times import reaches
from jobs.results.study import Results
from jobs.results.style import FigureError
from jobs.statistics.profiles import (
    Profile,
    Profiles,
    TooFewProblemsError,
    performance_profiles,
)
from jobs.statistics.time_to_target import Reach

_PANEL_IN = 2.4
_WHAT = (
    "Share of problems on which an optimizer's median epochs to the target on validation data are within"
    " so many times those of the fastest; a run that diverged never gets there. Band: seeds drawn again. Score: area under the line, of 1."
)


def draw(results: Results, _: FigureOptions) -> Drawing:
    """Draw a line per optimizer over the problems that all of them ran and that have a target.

    Raises:
        FigureError: there are fewer than three such problems.
    """
    runs = runs_of(results)
    found = performance_profiles(runs)
    handles = page.lines_of(results, {one.optimizer for one in found.profiles})
    footer = origin(results, results.reported)
    figure, ((panel,),) = page.page(1, 1, _PANEL_IN, handles, footer)
    panel.set_xlabel("epochs to target, as a multiple of the fastest's")
    panel.set_ylabel(f"share of {len(found.problems)} problems")
    panel.set_ylim(-0.03, 1.03)
    for one in found.profiles:
        color = style.color(results, one.optimizer)
        panel.step(
            found.taus,
            one.shares,
            style.line(results, one.optimizer),
            where="post",
            color=color,
        )
        if one.band is not None and len(found.profiles) <= style.BANDS_MAX:
            low, high = one.band.low, one.band.high
            panel.fill_between(found.taus, low, high, step="post", color=color, alpha=0.1, lw=0)
    page.lay_out(figure)
    return Drawing(pages=(figure,), caption=caption_of(results, found))


def caption_of(results: Results, found: Profiles) -> str:
    """The caption of these profiles."""
    chosen = [one for one in results.selections if one.problem in found.problems]
    cells = [one.cell for one in chosen if one.cell is not None]
    what = (_WHAT, f"Relative to: {', '.join(found.relative_to)}.")
    runs = [f"{one.optimizer}: {_score(one)}" for one in found.profiles]
    return caption(results, cells, what, selections=chosen, runs=runs, is_of_all=True)


def runs_of(results: Results) -> dict[str, dict[str, list[Reach]]]:
    """When the runs of each optimizer reach the targets, on problems that all optimizers ran.

    Raises:
        FigureError: no problem has a target.
    """
    found: dict[str, dict[str, list[Reach]]] = {}
    for one in results.selections:
        target = results.targets.get(one.problem)
        if target is not None and one.cell is not None and one.cell.results:
            found.setdefault(one.optimizer, {})[one.problem] = list(
                reaches(one.cell, targets.on(target))
            )
    if not found:
        raise FigureError("no problem has a target that its runs could reach")
    shared = set.intersection(*(set(own) for own in found.values()))
    return {
        optimizer: {problem: own[problem] for problem in own if problem in shared}
        for optimizer, own in found.items()
    }


def profiles_of(results: Results) -> Profiles | None:
    """The profiles of these results; None: there are fewer than three problems with a target."""
    try:
        return performance_profiles(runs_of(results))
    except (FigureError, TooFewProblemsError):
        return None


def _score(one: Profile) -> str:
    """`score 0.71, 0.60 to 0.80`."""
    text = f"score {one.score:.2f}"
    return f"{text}, {one.band.score_low:.2f} to {one.band.score_high:.2f}" if one.band else text
