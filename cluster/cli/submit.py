"""The command `submit`."""

import argparse

from cluster.cli import run as run_command

DESCRIPTION = "Send what has no record yet and is not under way; it goes on when you log out."
EXAMPLE = "probprec submit spec.yaml --on mycluster --dry-run"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `run`, and `--dry-run`."""
    run_command.add_arguments(command)
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="show the batch scripts and what Slurm says of them; send nothing",
    )


def run(options: argparse.Namespace) -> int:
    """Submit, or show what would be submitted."""
    from cluster.commands.run import dry_run, submit

    request = run_command.request_of(options)
    return dry_run(request) if options.dry_run else submit(request)
