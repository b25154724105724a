"""The command `status`."""

import argparse

from cluster.cli.options import add_sweep, live_sweep_of

DESCRIPTION = "Show how a sweep stands, why runs wait or failed, and what to type next."
EXAMPLE = "probprec status quickstart --watch"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the sweep, and whether to watch it."""
    add_sweep(command)
    command.add_argument("--watch", action="store_true", help="look again until all is over")


def run(options: argparse.Namespace) -> int:
    """Show how the sweep stands."""
    store = live_sweep_of(options)
    from cluster.commands.status import status

    return status(store, watch=options.watch, as_json=options.json)
