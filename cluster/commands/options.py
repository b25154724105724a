"""Arguments that several commands share; argparse only, so that `--help` is quick."""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

_NO_COMMAND = "the following arguments are required: COMMAND"
_NO_CHOICE = re.compile(r"(argument .*): invalid choice: '(.*)' \(choose from (.*)\)", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """Says what may have been meant where a command, or another choice, is mistyped."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with 2; where a command lacks, the help says more."""
        if message == _NO_COMMAND:
            self.print_help()
            self.exit(2)
        if found := _NO_CHOICE.fullmatch(message):
            from jobs.yaml.mistakes import did_you_mean

            known = re.findall(r"[^\s',]+", found[3])
            near = did_you_mean(found[2], known)
            message = f"{found[1]}: no {found[2]!r}{near} (there are: {', '.join(known)})"
        super().error(message)


class Version(argparse.Action):
    """`--version`; what is installed is looked up only when somebody asks."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """Print it and exit with 0."""
        from importlib import metadata

        sys.stdout.write(f"probprec {metadata.version('probprec')}\n")
        parser.exit(0)


AddParser = Callable[..., argparse.ArgumentParser]


def add_root(command: argparse.ArgumentParser) -> None:
    """Add where the sweeps live."""
    command.add_argument(
        "--root",
        type=Path,
        default=Path(os.environ.get("PROBPREC_ROOT", "sweeps")),
        metavar="DIR",
        help="where sweeps live (default: $PROBPREC_ROOT, else ./sweeps)",
    )


def add_images(command: argparse.ArgumentParser) -> None:
    """Add where the images live."""
    command.add_argument(
        "--images",
        type=Path,
        default=Path(os.environ.get("PROBPREC_IMAGES", "images")),
        metavar="DIR",
        help="where images live (default: $PROBPREC_IMAGES, else ./images)",
    )


def add_datasets(command: argparse.ArgumentParser) -> None:
    """Add where the manifests of data sets live."""
    command.add_argument(
        "--datasets",
        type=Path,
        default=Path(os.environ.get("PROBPREC_DATASETS", "datasets")),
        metavar="DIR",
        help="where manifests live (default: $PROBPREC_DATASETS, else ./datasets)",
    )


def add_json(command: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    command.add_argument("--json", action="store_true", help="print one JSON object")


def positive(text: str) -> int:
    """A whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number
