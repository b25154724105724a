"""The command `plot`."""

import argparse

from cluster.cli.options import add_out, add_sweeps, sweeps_of

DESCRIPTION = "Draw a figure of what is there so far, as PNG and PDF, and write its caption."
EXAMPLE = "probprec plot quickstart --figure final --metric test_loss"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the sweeps, which figure, and where it goes."""
    add_sweeps(command)
    add_out(command)
    command.add_argument(
        "--figure",
        choices=(
            "grid",
            "final",
            "compare",
            "target",
            "profile",
            "tuning",
            "runtime",
            "sensitivity",
        ),
        default="grid",
        help="curves of all metrics; final metric per seed; difference to the baseline; share of"
        " runs at the target; performance profiles over problems; what tuning gives after so many settings; time relative to the baseline; final metric against a"
        " hyperparameter (default: grid)",
    )
    command.add_argument(
        "--metric",
        metavar="NAME",
        help="of the figures final, compare and sensitivity, e.g. test_loss (default: the problem's own)",
    )


def run(options: argparse.Namespace) -> int:
    """Draw the figure."""
    stores = sweeps_of(options)
    from cluster.commands.collect import plot

    return plot(
        *stores,
        figure=options.figure,
        metric=options.metric,
        out=options.out,
        as_json=options.json,
    )
