"""The command `cancel`."""

import argparse

from cluster.cli.options import add_sweep, live_sweep_of

DESCRIPTION = "Cancel a sweep's jobs, or those of some runs; nothing that is done is lost."
EXAMPLE = "probprec cancel quickstart 3fa9 81c0"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the sweep, and which of its runs."""
    add_sweep(command)
    command.add_argument("runs", nargs="*", metavar="RUN", help="only these runs")


def run(options: argparse.Namespace) -> int:
    """Cancel the jobs."""
    from cluster.commands.cancel import cancel

    return cancel(live_sweep_of(options), options.runs, as_json=options.json)
