"""The commands `data`."""

import argparse
import os
from pathlib import Path

from cluster.cli.options import Subparsers, add_command, add_json

DESCRIPTION = "Know data sets byte for byte."
EXAMPLE = "probprec data list"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the commands `add`, `list`, `verify` and `prune`."""
    commands = command.add_subparsers(dest="action", metavar="COMMAND", required=True)
    add = _add_add(commands)
    list_ = add_command(
        commands,
        "list",
        "the data sets that have a manifest",
        "Show the data sets that have a manifest, and where they lie.",
        "probprec data list --json",
    )
    verify = add_command(
        commands,
        "verify",
        "read every byte again and compare",
        "Read every byte of data sets again and compare; 1 if something is not as it was.",
        "probprec data verify mnist",
    )
    verify.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    prune = add_command(
        commands,
        "prune",
        "remove manifests whose originals are gone, and staged sets that nobody reads",
        "Forget data sets whose originals are gone, and remove staged copies that nobody reads.",
        "probprec data prune --scratch /scratch/me",
    )
    prune.add_argument(
        "--scratch", type=Path, metavar="DIR", help="also the staged sets of this scratch"
    )
    for one in (add, list_, verify, prune):
        _add_datasets(one)
        add_json(one)


def _add_add(commands: Subparsers) -> argparse.ArgumentParser:
    add = add_command(
        commands,
        "add",
        "make a manifest of a folder or an archive: each file's sha256",
        "Write down the hash of each file of a folder or an archive, so that every node can check it.",
        "probprec data add mnist /data/mnist",
    )
    add.add_argument(
        "name", metavar="NAME", help="e.g. mnist, fmnist, cifar10, or a name of your own"
    )
    add.add_argument(
        "source", type=Path, metavar="SOURCE", help="folder, .tar, .tar.zst, .zip, ..."
    )
    return add


def _add_datasets(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--datasets",
        type=Path,
        default=Path(os.environ.get("PROBPREC_DATASETS", "datasets")),
        metavar="DIR",
        help="where manifests live (default: $PROBPREC_DATASETS, else ./datasets)",
    )


def run(options: argparse.Namespace) -> int:
    """Run the command that the second word names."""
    from cluster.commands import data

    if options.action == "add":
        return data.add(options.datasets, options.name, options.source, as_json=options.json)
    if options.action == "list":
        return data.list_(options.datasets, as_json=options.json)
    if options.action == "verify":
        return data.verify(options.datasets, options.names, as_json=options.json)
    return data.prune(options.datasets, options.scratch, as_json=options.json)
