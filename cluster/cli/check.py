"""The command `check`."""

import argparse

from cluster.cli.options import add_json, add_spec

DESCRIPTION = (
    "Read a spec, construct its optimizers, name every mistake, and show the runs it asks for."
)
EXAMPLE = "probprec check configs/experiments/quickstart.yaml"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the spec, and the profile it is checked against."""
    add_spec(command)
    command.add_argument(
        "--on", metavar="PROFILE", help="also look for the data as it would, and say what it costs"
    )
    add_json(command)


def run(options: argparse.Namespace) -> int:
    """Check the spec."""
    from cluster.commands.check import check

    return check(options.spec, options.overrides, on=options.on, as_json=options.json)
