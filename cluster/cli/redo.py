"""The command `redo`."""

import argparse

from cluster.cli.options import add_on_again, add_only, add_sweep, live_sweep_of, profile_again

DESCRIPTION = "Run again what has been run, with today's code; its records are set aside and kept."
EXAMPLE = "probprec redo quickstart --only optimizer=SGD --dry-run"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the sweep, and which of its runs."""
    add_sweep(command)
    add_only(command)
    command.add_argument(
        "--dry-run", action="store_true", help="show what would be set aside; write nothing"
    )
    add_on_again(command)


def run(options: argparse.Namespace) -> int:
    """Set the runs' records aside, and submit the runs."""
    store, profile = live_sweep_of(options), profile_again(options)
    from cluster.commands.redo import redo

    return redo(
        store,
        only=options.only,
        profile=profile,
        dry_run=options.dry_run,
        as_json=options.json,
    )
