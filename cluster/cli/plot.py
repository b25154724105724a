"""The command `plot`."""

import argparse

from cluster.cli.options import add_out, add_sweeps, sweeps_of

DESCRIPTION = "Draw a figure of what is there so far, as PNG and PDF, and write its caption."
EXAMPLE = "probprec plot quickstart --figure final --metric test_loss"

_FIGURES = {
    "grid": "curves of all metrics",
    "final": "final metric of every run",
    "compare": "difference to the baseline",
    "seeds": "final metric, with a line per seed",
    "target": "share of runs at the target",
    "profile": "performance profiles over problems",
    "tuning": "what tuning gives after so many settings",
    "runtime": "time relative to the baseline",
    "sensitivity": "final metric against a hyperparameter",
    "trace": "what a Preconditioner says of itself: step size, curvatures, estimates",
}


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the sweeps, which figure, what it shows, and where it goes."""
    add_sweeps(command)
    add_out(command)
    command.add_argument(
        "--figure",
        choices=tuple(_FIGURES),
        default="grid",
        help="; ".join(f"{name}: {what}" for name, what in _FIGURES.items()) + " (default: grid)",
    )
    command.add_argument(
        "--metric",
        metavar="NAME",
        help="of the figures final, compare, seeds and sensitivity, e.g. test_loss (default: the"
        " problem's own)",
    )
    command.add_argument(
        "--valid", action="store_true", help="of grid: validation data instead of test data"
    )
    command.add_argument(
        "--test",
        action="store_true",
        help="of target: test data instead of validation data, as in DeepOBS",
    )
    command.add_argument(
        "--zoom", action="store_true", help="of grid: the last half of the epochs alone"
    )
    command.add_argument(
        "--x",
        choices=("epochs", "steps", "seconds"),
        default="epochs",
        help="of grid and target: what the curves are drawn over; seconds of training only where the runs'"
        " times can be compared (default: epochs)",
    )
    command.add_argument(
        "--all", action="store_true", help="of final: every setting, not the selected one alone"
    )
    command.add_argument(
        "--latex", action="store_true", help="a PGF for LaTeX, too; needs pdflatex"
    )


def run(options: argparse.Namespace) -> int:
    """Draw the figure."""
    stores = sweeps_of(options)
    from cluster.commands.collect import plot
    from jobs.results.figure_options import FigureOptions

    figure_options = FigureOptions(
        metric=options.metric,
        valid=options.valid,
        test=options.test,
        zoom=options.zoom,
        x=options.x,
        every=options.all,
    )
    return plot(
        *stores,
        figure=options.figure,
        options=figure_options,
        for_latex=options.latex,
        out=options.out,
        as_json=options.json,
    )
