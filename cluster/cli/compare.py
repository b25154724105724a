"""The command `compare`."""

import argparse

from cluster.cli.options import add_sweeps, sweeps_of
from cluster.cli.question import add_question, request_of

DESCRIPTION = (
    "Compare optimizers with a baseline: how much better, how sure, in a sentence for a paper;"
    " 0 if every comparison shows what is claimed, else 1."
)
EXAMPLE = "probprec compare quickstart --baseline SGD"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the sweeps, what is compared, what is to be shown, and how it is printed."""
    add_sweeps(command)
    add_question(command)
    command.add_argument("--strict", action="store_true", help="exit with 1 on any finding, too")
    command.add_argument("--latex", action="store_true", help="print a table for a paper instead")


def run(options: argparse.Namespace) -> int:
    """Compare, and say what is shown."""
    stores = sweeps_of(options)
    from cluster.commands.compare import compare

    return compare(
        stores,
        request_of(options),
        strict=options.strict,
        as_json=options.json,
        as_latex=options.latex,
    )
