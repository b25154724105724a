"""The command `verify-resume`."""

import argparse

from cluster.cli.options import add_json, add_spec

DESCRIPTION = "Train some runs in one go and with interruptions, and compare them bit for bit."
EXAMPLE = "probprec verify-resume spec.yaml --run 3fa9"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the spec, and which of its runs."""
    add_spec(command)
    command.add_argument("--run", metavar="RUN", help="only this run (default: one of each kind)")
    add_json(command)


def run(options: argparse.Namespace) -> int:
    """Train the runs with and without interruptions, and compare."""
    from cluster.commands.verify_resume import verify

    return verify(options.spec, options.overrides, run=options.run, as_json=options.json)
