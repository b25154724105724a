"""Arguments of the commands about a place: its images, its data, its health, and the lab."""

import argparse
from pathlib import Path

from cluster.commands.options import (
    AddParser,
    add_datasets,
    add_images,
    add_json,
    add_root,
    positive,
)


def add_site_commands(add: AddParser) -> None:
    """Add doctor, build, image, data and lab."""
    _add_doctor(add("doctor", help="look at a cluster: what is there, what is missing, what to do"))
    _add_build(add("build", help="build the image that runs are trained in"))
    _add_image(add("image", help="the images that were built"))
    _add_data(add("data", help="data sets: what they are, byte for byte"))
    _add_lab(add("lab", help="a throw-away Slurm on this machine, to try things"))


def _add_doctor(doctor: argparse.ArgumentParser) -> None:
    doctor.add_argument(
        "--on", metavar="PROFILE", help="a profile's name or file (default: what a cluster has)"
    )
    doctor.add_argument(
        "--node", action="store_true", help="look at a compute node, too, by one tiny job"
    )
    doctor.add_argument(
        "--write", type=Path, metavar="FILE", help="write a profile with what was found"
    )
    add_json(doctor)


def _add_build(build: argparse.ArgumentParser) -> None:
    build.add_argument(
        "recipe",
        type=Path,
        metavar="RECIPE",
        help="a recipe, e.g. configs/images/cpu-debian.yaml; or a Dockerfile",
    )
    build.add_argument(
        "--print",
        dest="show",
        nargs="?",
        const="definition",
        choices=("definition", "dockerfile"),
        help="only show what would be built, as a definition file or a Dockerfile",
    )
    add_images(build)
    add_json(build)


def _add_image(image: argparse.ArgumentParser) -> None:
    commands = image.add_subparsers(dest="action", metavar="COMMAND", required=True)
    for name, summary in (
        ("list", "what was built, when, from what"),
        ("inspect", "one image: its recipe, packages, labels and hashes"),
        ("verify", "compare images with the sha256 written down when they were built"),
        ("prune", "remove what newer builds have replaced and no unfinished sweep uses"),
    ):
        command = commands.add_parser(name, help=summary)
        if name == "inspect":
            command.add_argument("image", metavar="IMAGE", help="its name, file, or sha256")
        if name == "verify":
            command.add_argument(
                "names", nargs="*", metavar="IMAGE", help="name, file or sha256 (default: all)"
            )
        if name == "prune":
            add_root(command)
        add_images(command)
        add_json(command)


def _add_data(data: argparse.ArgumentParser) -> None:
    commands = data.add_subparsers(dest="action", metavar="COMMAND", required=True)
    for name, summary in (
        ("add", "make a manifest of a folder or an archive: each file's sha256"),
        ("list", "the data sets that have a manifest"),
        ("verify", "read every byte again and compare"),
        ("prune", "remove manifests whose originals are gone, and staged sets that nobody reads"),
    ):
        command = commands.add_parser(name, help=summary)
        if name == "add":
            command.add_argument(
                "name", metavar="NAME", help="e.g. mnist, fmnist, cifar10, or a name of your own"
            )
            command.add_argument(
                "source", type=Path, metavar="SOURCE", help="folder, .tar, .tar.zst, .zip, ..."
            )
        if name == "verify":
            command.add_argument("names", nargs="*", metavar="NAME", help="default: all")
        if name == "prune":
            command.add_argument(
                "--scratch", type=Path, metavar="DIR", help="also the staged sets of this scratch"
            )
        add_datasets(command)
        add_json(command)


def _add_lab(lab: argparse.ArgumentParser) -> None:
    commands = lab.add_subparsers(dest="lab", metavar="COMMAND", required=True)
    up = commands.add_parser("up", help="start it")
    up.add_argument("--nodes", type=positive, default=2, metavar="N", help="default: 2")
    up.add_argument(
        "--cpus", type=positive, default=4, metavar="N", help="per node, pretended (default: 4)"
    )
    up.add_argument(
        "--gpus", type=int, default=2, metavar="N", help="per node, pretended (default: 2)"
    )
    up.add_argument("--accounting", action="store_true", help="with slurmdbd, so that sacct works")
    up.add_argument(
        "--max-array-size", type=positive, default=1001, metavar="N", help="default: 1001"
    )
    up.add_argument(
        "--max-submit", type=positive, metavar="N", help="jobs in the queue; needs --accounting"
    )
    commands.add_parser("down", help="stop it, and leave nothing behind")
    status = commands.add_parser("status", help="its daemons and nodes")
    add_json(status)
    execute = commands.add_parser("exec", help="run a command in it: lab exec -- squeue")
    execute.add_argument("arguments", nargs=argparse.REMAINDER, metavar="-- CMD")
    fault = commands.add_parser("fault", help="break something, to see what happens")
    fault.add_argument(
        "name",
        metavar="FAULT",
        help="kill DAEMON [SIGNAL] [with-steps], restart DAEMON, drain NODE, resume NODE,"
        " preempt [SECONDS [NODE...]], requeue JOB, start-now JOB, fill-scratch, free-scratch,"
        " slow SECONDS (scratch; 0: no longer); daemons: slurmctld, slurmdbd, slurmd:node1, ...",
    )
    fault.add_argument("arguments", nargs="*", metavar="WHAT")
    lab.add_argument(
        "--folder", type=Path, metavar="DIR", help="default: $PROBPREC_LAB, else below /tmp"
    )
