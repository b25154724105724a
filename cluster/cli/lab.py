"""The commands `lab`."""

import argparse
from pathlib import Path

from cluster.cli.options import Subparsers, add_command, add_json, positive

DESCRIPTION = "Run a Slurm of your own on this machine, to try things out."
EXAMPLE = "probprec lab up"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the commands `up`, `down`, `status`, `exec` and `fault`, and the lab's folder."""
    commands = command.add_subparsers(dest="lab", metavar="COMMAND", required=True)
    _add_up(commands)
    add_command(
        commands,
        "down",
        "stop it, and leave nothing behind",
        "Stop the lab and remove all of it.",
        "probprec lab down",
    )
    status = add_command(
        commands,
        "status",
        "its daemons and nodes",
        "Show the lab's daemons and nodes.",
        "probprec lab status --json",
    )
    add_json(status)
    execute = add_command(
        commands,
        "exec",
        "run a command in it: lab exec -- squeue",
        "Run a command in the lab's Slurm.",
        "probprec lab exec -- squeue",
    )
    execute.add_argument("arguments", nargs=argparse.REMAINDER, metavar="-- CMD")
    _add_fault(commands)
    command.add_argument(
        "--folder", type=Path, metavar="DIR", help="default: $PROBPREC_LAB, else below /tmp"
    )


def _add_up(commands: Subparsers) -> None:
    up = add_command(
        commands,
        "up",
        "start it",
        "Start the lab's daemons and pretended nodes.",
        "probprec lab up --nodes 3",
    )
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


def _add_fault(commands: Subparsers) -> None:
    fault = add_command(
        commands,
        "fault",
        "break something, to see what happens",
        "Break something in the lab, to see what a sweep makes of it.",
        "probprec lab fault drain node1",
    )
    fault.add_argument(
        "name",
        metavar="FAULT",
        help="kill DAEMON [SIGNAL] [with-steps], restart DAEMON, drain NODE, resume NODE,"
        " preempt [SECONDS [NODE...]], requeue JOB, start-now JOB, fill-scratch, free-scratch;"
        " daemons: slurmctld, slurmdbd, slurmd:node1, ...",
    )
    fault.add_argument("arguments", nargs="*", metavar="WHAT")


def run(options: argparse.Namespace) -> int:
    """Run the command that the second word names."""
    from cluster.lab import Settings, command

    if options.lab == "up":
        settings = Settings(
            nodes=options.nodes,
            cpus=options.cpus,
            gpus=options.gpus,
            accounting=options.accounting,
            max_array_size=options.max_array_size,
            max_submit=options.max_submit,
        )
        return command.up(settings, options.folder)
    if options.lab == "down":
        return command.down(options.folder)
    if options.lab == "status":
        return command.status(options.folder, as_json=options.json)
    if options.lab == "exec":
        words = options.arguments
        return command.exec_(options.folder, words[1:] if words[:1] == ["--"] else words)
    return command.fault(options.folder, options.name, options.arguments)
