"""The command `compare`."""

import argparse

from cluster.cli.options import add_sweeps, sweeps_of

DESCRIPTION = (
    "Compare optimizers with a baseline: how much better, how sure, in a sentence for a paper;"
    " 0 if every comparison shows what is claimed, else 1."
)
EXAMPLE = "probprec compare quickstart --baseline SGD"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the sweeps, what is compared, what is to be shown, and how it is printed."""
    add_sweeps(command)
    _add_compared(command)
    command.add_argument(
        "--claim",
        choices=("superior", "equivalent", "noninferior"),
        default="superior",
        help="what is to be shown (default: superior)",
    )
    command.add_argument(
        "--margin",
        type=float,
        metavar="X",
        help="of equivalent and noninferior: the difference that would not matter",
    )
    command.add_argument("--strict", action="store_true", help="exit with 1 on any finding, too")
    command.add_argument("--latex", action="store_true", help="print a table for a paper instead")


def _add_compared(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--baseline",
        metavar="NAME",
        help="what others are compared with (default: SGD, or the first)",
    )
    _add_labels(command, "--optimizer", "an optimizer to compare (default: all); may be repeated")
    _add_labels(command, "--problem", "a problem to compare on (default: all); may be repeated")
    command.add_argument(
        "--metric",
        metavar="NAME",
        help="e.g. test_loss (default: test_accuracy, or where there is none test_loss)",
    )
    command.add_argument(
        "--value",
        choices=("final", "at_best_valid"),
        default="final",
        help="after the last epoch, or when the validation metric was best (default: final)",
    )
    command.add_argument(
        "--select",
        choices=("final", "best", "most"),
        default="final",
        help="an optimizer's setting: by its final or best validation metric, or that with the most"
        " runs (default: final)",
    )


def _add_labels(command: argparse.ArgumentParser, name: str, text: str) -> None:
    command.add_argument(name, action="append", default=[], metavar="NAME", help=text)


def run(options: argparse.Namespace) -> int:
    """Compare, and say what is shown."""
    stores = sweeps_of(options)
    from cluster.commands.compare import Request, compare

    request = Request(
        baseline=options.baseline,
        optimizers=options.optimizer,
        problems=options.problem,
        metric=options.metric,
        value=options.value,
        select=options.select,
        claim=options.claim,
        margin=options.margin,
        strict=options.strict,
        as_json=options.json,
        as_latex=options.latex,
    )
    return compare(stores, request)
