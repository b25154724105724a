"""The command `collect`."""

import argparse

from cluster.cli.options import add_out, add_sweep, sweep_of

DESCRIPTION = "Turn a sweep's records into tables, and name what is missing or differs."
EXAMPLE = "probprec collect quickstart --strict"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the sweep, and where the tables go."""
    add_sweep(command)
    add_out(command)
    command.add_argument(
        "--strict", action="store_true", help="exit with 1 on any finding, not only on missing runs"
    )


def run(options: argparse.Namespace) -> int:
    """Write the tables."""
    store = sweep_of(options)
    from cluster.commands.collect import collect

    return collect(store, strict=options.strict, out=options.out, as_json=options.json)
