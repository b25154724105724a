"""The command `doctor`."""

import argparse
from pathlib import Path

from cluster.cli.options import add_json

DESCRIPTION = (
    "Look at a cluster before anything is sent: what is there, what is missing, what to do."
)
EXAMPLE = "probprec doctor --on mycluster --node"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the profile, whether to look at a node, and where to write a proposed profile."""
    command.add_argument(
        "--on", metavar="PROFILE", help="a profile's name or file (default: what a cluster has)"
    )
    command.add_argument(
        "--node", action="store_true", help="look at a compute node, too, by one tiny job"
    )
    command.add_argument(
        "--write", type=Path, metavar="FILE", help="write a profile with what was found"
    )
    add_json(command)


def run(options: argparse.Namespace) -> int:
    """Look at the cluster."""
    from cluster.doctor.command import doctor

    return doctor(options.on, node=options.node, write=options.write, as_json=options.json)
