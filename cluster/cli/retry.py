"""The command `retry`."""

import argparse

from cluster.cli.options import add_on_again, add_sweep, live_sweep_of, profile_again

DESCRIPTION = (
    "Submit again what failed or was lost, with more memory or time where that was lacking."
)
EXAMPLE = "probprec retry quickstart --class oom --mem x2"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the sweep, which of its failures, and what resources they get."""
    add_sweep(command)
    command.add_argument(
        "--failed", action="store_true", help="all that failed, also what will fail again"
    )
    command.add_argument(
        "--class",
        dest="classes",
        action="append",
        default=[],
        metavar="CLASS",
        help="only failures of this class, e.g. oom; may be repeated",
    )
    command.add_argument(
        "--run", dest="runs", action="append", default=[], metavar="RUN", help="only this run"
    )
    command.add_argument("--mem", metavar="M", help="memory: x2, +2G or 8G (default: the policy's)")
    command.add_argument("--time", metavar="T", help="time: x2, +50%%, +01:00:00 or 04:00:00")
    command.add_argument(
        "--exclude-bad-nodes", action="store_true", help="not on nodes that fail what others pass"
    )
    add_on_again(command)


def run(options: argparse.Namespace) -> int:
    """Submit the failures again."""
    store, profile = live_sweep_of(options), profile_again(options)
    from cluster.commands.retry import Which, retry

    return retry(
        store,
        which=Which(failed=options.failed, classes=options.classes, runs=options.runs),
        mem=options.mem,
        time=options.time,
        exclude_bad_nodes=options.exclude_bad_nodes,
        profile=profile,
        as_json=options.json,
    )
