"""Arguments that declare what is compared, of the commands `compare` and `report`; imports argparse only."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.commands.question import Request


def add_question(command: argparse.ArgumentParser) -> None:
    """Add what is compared with what, by which numbers, and what is to be shown."""
    command.add_argument(
        "--baseline",
        metavar="NAME",
        help="what others are compared with (default: SGD, or the first)",
    )
    _add_labels(command, "--optimizer", "an optimizer to compare (default: all); may be repeated")
    _add_labels(command, "--problem", "a problem to compare on (default: all); may be repeated")
    _add_numbers(command)
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


def _add_labels(command: argparse.ArgumentParser, name: str, text: str) -> None:
    command.add_argument(name, action="append", default=[], metavar="NAME", help=text)


def _add_numbers(command: argparse.ArgumentParser) -> None:
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


def request_of(options: argparse.Namespace) -> "Request":
    """What the arguments declare."""
    from cluster.commands.question import Request

    return Request(
        baseline=options.baseline,
        optimizers=options.optimizer,
        problems=options.problem,
        metric=options.metric,
        value=options.value,
        select=options.select,
        claim=options.claim,
        margin=options.margin,
    )
