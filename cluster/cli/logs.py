"""The command `logs`."""

import argparse

from cluster.cli.options import add_run, sweep_of_run

DESCRIPTION = "Print the log of a run's newest attempt."
EXAMPLE = "probprec logs 3fa9 --follow"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the run, and whether to follow its log."""
    add_run(command)
    command.add_argument(
        "-f", "--follow", action="store_true", help="go on as it grows, over all attempts"
    )


def run(options: argparse.Namespace) -> int:
    """Print the log."""
    from cluster.commands.logs import logs

    return logs(sweep_of_run(options), options.run, follow=options.follow)
