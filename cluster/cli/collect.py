"""The command `collect`."""

import argparse

from cluster.cli.options import add_out, add_sweeps, sweeps_of

DESCRIPTION = (
    "Turn the records of a sweep, or of several, into tables; name what is missing or differs."
)
EXAMPLE = "probprec collect quickstart --strict"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the sweeps, and where the tables go."""
    add_sweeps(command)
    add_out(command)
    command.add_argument(
        "--strict", action="store_true", help="exit with 1 on any finding, not only on missing runs"
    )


def run(options: argparse.Namespace) -> int:
    """Write the tables."""
    stores = sweeps_of(options)
    from cluster.commands.collect import collect

    return collect(*stores, strict=options.strict, out=options.out, as_json=options.json)
