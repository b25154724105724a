"""The command `run`, and what it shares with `submit`."""

import argparse
from typing import TYPE_CHECKING

from cluster.cli.options import add_json, add_only, add_root, add_spec, positive

if TYPE_CHECKING:
    from cluster.commands.run import Request

DESCRIPTION = "Run what has no record yet, here or on a cluster, and show it until all is over."
EXAMPLE = "probprec run spec.yaml --set epochs=2 --only optimizer=SGD"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the spec, which of its runs, where, and by how many workers."""
    add_spec(command)
    add_root(command)
    command.add_argument(
        "--on",
        metavar="PROFILE",
        help="where: a profile's name (configs/clusters/NAME.yaml) or file, or local, this"
        " machine (default: $PROBPREC_ON; without it local, but where Slurm is there is none)",
    )
    add_only(command)
    command.add_argument(
        "--replace",
        action="store_true",
        help="even if the sweep of that name loses records or running jobs, or is another file's;"
        " records stay on disk and count no more",
    )
    command.add_argument(
        "--workers",
        type=positive,
        metavar="N",
        help="on this machine: runs at a time (default: usable CPUs / threads)",
    )
    command.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        help="CPU threads per run (default: the profile's; on this machine 1)",
    )
    add_json(command)


def request_of(options: argparse.Namespace) -> "Request":
    """The request that these arguments state."""
    from cluster.commands.run import Request

    return Request(
        spec=options.spec,
        overrides=options.overrides,
        root=options.root,
        on=options.on,
        words=options.words,
        only=options.only,
        replace=options.replace,
        workers=options.workers,
        threads=options.threads,
        as_json=options.json,
    )


def run(options: argparse.Namespace) -> int:
    """Submit, and wait for the end."""
    from cluster.commands import run

    return run.run(request_of(options))
