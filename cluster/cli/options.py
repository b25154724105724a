"""Arguments that several commands share, and the values read from them; imports argparse only."""

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.profile import Profile
    from jobs.store.store import Store

Subparsers = Any  # argparse's class has no public name


class Formatter(argparse.RawDescriptionHelpFormatter):
    """The formatter of help texts folds a sentence to the screen, and keeps lines as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return super()._fill_text(text, width, indent)
        return argparse.HelpFormatter._fill_text(self, text, width, indent)  # noqa: SLF001 - its own


def describe(command: argparse.ArgumentParser, description: str, example: str) -> None:
    """Give a command its description and its example."""
    command.description = description
    command.epilog = f"example:\n  {example}"
    command.formatter_class = Formatter


def add_command(
    commands: Subparsers, name: str, summary: str, description: str, example: str
) -> argparse.ArgumentParser:
    """Add a subcommand to a command."""
    command: argparse.ArgumentParser = commands.add_parser(name, help=summary)
    describe(command, description, example)
    return command


def add_root(command: argparse.ArgumentParser) -> None:
    """Add `--root`, the folder that sweeps live in."""
    command.add_argument(
        "--root",
        type=Path,
        default=Path(os.environ.get("PROBPREC_ROOT", "sweeps")),
        metavar="DIR",
        help="where sweeps live (default: $PROBPREC_ROOT, else ./sweeps)",
    )


def add_images(command: argparse.ArgumentParser) -> None:
    """Add `--images`, the folder that images live in."""
    command.add_argument(
        "--images",
        type=Path,
        default=Path(os.environ.get("PROBPREC_IMAGES", "images")),
        metavar="DIR",
        help="where images live (default: $PROBPREC_IMAGES, else ./images)",
    )


def add_json(command: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    command.add_argument("--json", action="store_true", help="print one JSON object")


def add_spec(command: argparse.ArgumentParser) -> None:
    """Add a spec, and `--set`, which overrides its values."""
    command.add_argument("spec", type=Path, metavar="SPEC", help="the YAML file")
    command.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a value, e.g. --set epochs=2 --set optimizers.SGD.lr=0.1; may be repeated;"
        " what changes runs makes a sweep of its own, e.g. NAME@epochs=2",
    )
    command.add_argument(
        "--name",
        dest="overrides",
        action="append",
        type=lambda text: f"name={json.dumps(text)}",
        metavar="NAME",
        help="the sweep's name (default: the spec's; with --set one that tells what it changes)",
    )


def add_sweep(command: argparse.ArgumentParser) -> None:
    """Add a sweep by its name or folder, and `--json`."""
    command.add_argument("sweep", metavar="SWEEP", help="a sweep's name, or its folder")
    add_root(command)
    add_json(command)


def add_sweeps(command: argparse.ArgumentParser) -> None:
    """Add one sweep or several, by name or folder, and `--json`."""
    command.add_argument(
        "sweep", nargs="+", metavar="SWEEP", help="a sweep's name, or its folder; several: together"
    )
    add_root(command)
    add_json(command)


def add_run(command: argparse.ArgumentParser) -> None:
    """Add a run by its id, and the sweep that it belongs to."""
    command.add_argument("run", metavar="RUN", help="a run's id, or the beginning of it")
    command.add_argument(
        "--of",
        dest="sweep",
        metavar="SWEEP",
        help="its sweep's name or folder (default: the sweep below the root that has it)",
    )
    add_root(command)


def add_only(command: argparse.ArgumentParser) -> None:
    """Add `--only`, which selects runs."""
    command.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="only some runs, by problem, optimizer, role, seed, cell or run,"
        " e.g. --only seed=42..44 --only optimizer=SGD; may be repeated",
    )


def add_on_again(command: argparse.ArgumentParser) -> None:
    """Add `--on`, for runs that were submitted before."""
    command.add_argument("--on", metavar="PROFILE", help="where (default: as the last time)")


def add_out(command: argparse.ArgumentParser) -> None:
    """Add `--out`, the folder that results are written to."""
    command.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write to this folder (default: one in the sweep's own), e.g. of several sweeps, or"
        " of one that is somebody else's",
    )


def positive(text: str) -> int:
    """A whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


def sweep_of(options: argparse.Namespace) -> "Store":
    """The sweep of the arguments, by its folder's path, or by its name below the root."""
    from cluster.commands.sweeps import find

    return find(options.root, options.sweep, options.command)


def sweeps_of(options: argparse.Namespace) -> "list[Store]":
    """The sweeps that are meant, each once."""
    from cluster.commands.sweeps import find

    found = [find(options.root, sweep, options.command) for sweep in options.sweep]
    return list({store.root.resolve(): store for store in found}.values())


def live_sweep_of(options: argparse.Namespace) -> "Store":
    """The sweep of the arguments; Slurm's commands now talk to the cluster that it was submitted to."""
    from cluster.lab import connect

    store = sweep_of(options)
    connect.use_that_of(store)
    return store


def sweep_of_run(options: argparse.Namespace) -> "Store":
    """The sweep of a run; Slurm's commands now talk to the cluster that it was submitted to."""
    if options.sweep:
        return live_sweep_of(options)
    from cluster.commands.selection import find_sweep
    from cluster.lab import connect

    store = find_sweep(options.root, options.run)
    connect.use_that_of(store)
    return store


def profile_again(options: argparse.Namespace) -> "Profile | None":
    """The profile that `--on` names; None: the one of the last submission."""
    from cluster.profile.find import load

    return load(options.on) if options.on else None
