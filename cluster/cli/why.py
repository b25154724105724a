"""The command `why`."""

import argparse

from cluster.cli.options import add_json, add_run, sweep_of_run

DESCRIPTION = (
    "Show what became of a run, attempt by attempt, with the evidence and what to do about it."
)
EXAMPLE = "probprec why 3fa9 --of quickstart"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the run."""
    add_run(command)
    add_json(command)


def run(options: argparse.Namespace) -> int:
    """Show what became of the run."""
    from cluster.commands.why import why

    return why(sweep_of_run(options), options.run, as_json=options.json)
