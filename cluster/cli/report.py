"""The command `report`."""

import argparse
from pathlib import Path

from cluster.cli.options import add_sweeps, sweeps_of
from cluster.cli.question import add_question, request_of

DESCRIPTION = "Write one HTML file that convinces a reviewer: verdicts, a checklist, figures, tables, every run."
EXAMPLE = "probprec report quickstart -o report.html"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the sweeps, what is compared, and where the report goes."""
    add_sweeps(command)
    command.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="FILE",
        help="write to this file (default: report.html in the sweep's own folder), e.g. of several"
        " sweeps, or of one that is somebody else's",
    )
    add_question(command)


def run(options: argparse.Namespace) -> int:
    """Write the report."""
    stores = sweeps_of(options)
    from cluster.commands.report import report

    return report(stores, request_of(options), out=options.out, as_json=options.json)
