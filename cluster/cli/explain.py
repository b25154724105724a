"""The command `explain`."""

import argparse

from cluster.cli.options import add_json, add_spec

DESCRIPTION = "Show for one run which line of which file gave each of its values."
EXAMPLE = "probprec explain configs/experiments/quickstart.yaml 3fa9"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the spec and the run."""
    add_spec(command)
    command.add_argument("run", metavar="RUN", help="a run's id, or the beginning of it")
    add_json(command)


def run(options: argparse.Namespace) -> int:
    """Explain the run."""
    from cluster.commands.check import explain

    return explain(options.spec, options.run, options.overrides, as_json=options.json)
