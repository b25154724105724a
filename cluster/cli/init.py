"""The command `init`."""

import argparse
from pathlib import Path

DESCRIPTION = "Write a commented spec and an optimizer to change, which can be run at once."
EXAMPLE = "probprec init my-study"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the folder, and whether a profile is written there, too."""
    command.add_argument(
        "folder", nargs="?", type=Path, default=Path(), help="where (default: this folder)"
    )
    command.add_argument(
        "--slurm", action="store_true", help="also a profile of the cluster that this is"
    )


def run(options: argparse.Namespace) -> int:
    """Write the files."""
    from cluster.commands.init import init

    return init(options.folder, slurm=options.slurm)
