"""The command `ls`."""

import argparse

from cluster.cli.options import add_json, add_root

DESCRIPTION = "Show all sweeps below the root by their files alone: states, age and size."
EXAMPLE = "probprec ls --root /scratch/me/sweeps"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the root."""
    add_root(command)
    add_json(command)


def run(options: argparse.Namespace) -> int:
    """List the sweeps."""
    from cluster.commands.sweeps import ls

    return ls(options.root, as_json=options.json)
