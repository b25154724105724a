"""The parser of the command line: all commands, with the arguments of the one that was typed."""

import argparse
import importlib
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NoReturn, Protocol, cast

from cluster.cli.options import Formatter, describe

COMMANDS: Mapping[str, str] = {
    "init": "write a first spec and an optimizer of your own",
    "check": "validate a spec and show what it asks for",
    "explain": "show which line of a spec gave each value",
    "schema": "print the JSON Schema of a spec, for editors",
    "verify-resume": "check that an interrupted run goes on exactly as it was",
    "run": "run what has no record yet, and wait",
    "submit": "the same without waiting: submit and go home",
    "ls": "show all sweeps: how they stand by their files, their age and size",
    "status": "show how a sweep stands",
    "logs": "show the log of a run",
    "why": "what became of a run, and what to do about it",
    "retry": "submit again what failed, with what it lacked",
    "redo": "run again with today's code; what there is is set aside, not deleted",
    "cancel": "cancel a sweep's jobs, or some runs",
    "collect": "turn a sweep's records into tables",
    "compare": "compare optimizers: how much better, how sure, in a sentence",
    "plot": "draw a sweep's figures",
    "report": "write one page for a reviewer: verdicts, checklist, figures, every run",
    "doctor": "look at a cluster: what is there, what is missing, what to do",
    "build": "build the image that runs are trained in",
    "image": "the images that were built",
    "data": "data sets: what they are, byte for byte",
    "lab": "a throw-away Slurm on this machine, to try things",
    "completion": "print what lets your shell complete what you type",
}
"""Each command and its summary; the module in this room has the command's name."""

_EPILOG = """\
exit codes: 0 done; 1 something is missing or failed; 2 the input is wrong; 130 interrupted
of one command: probprec COMMAND --help

a first sweep, on this machine:
  probprec init                                         a spec and an optimizer of your own
  probprec check configs/experiments/quickstart.yaml    what would run
  probprec run configs/experiments/quickstart.yaml      run it here (where Slurm is: --on local)
  probprec collect quickstart                           records to tables
  probprec plot quickstart                              records to a figure
  probprec compare quickstart                           who is better, by how much, how sure
  probprec report quickstart                            all of it on one page, for a reviewer

on a cluster:
  probprec doctor --on PROFILE                          what is there, what is missing, what to do
  probprec build RECIPE                                 the image that runs are trained in
  probprec submit SPEC --on PROFILE --dry-run           the batch scripts, and what Slurm says
  probprec submit SPEC --on PROFILE                     send it and go home
  probprec status SWEEP --watch                         how it stands
  probprec why RUN                                      what became of a run, and what to do
  probprec retry SWEEP                                  what failed, with more memory or time
"""

_NO_COMMAND = "the following arguments are required: COMMAND"
_NO_CHOICE = re.compile(r"(argument .*): invalid choice: '(.*)' \(choose from (.*)\)", re.DOTALL)


class Command(Protocol):
    """The members of a command's module; they load without what the command needs to run."""

    DESCRIPTION: str
    EXAMPLE: str

    def add_arguments(self, command: argparse.ArgumentParser) -> None:
        """Add the command's arguments, or its subcommands with theirs."""

    def run(self, options: argparse.Namespace) -> int:
        """Run the command; returns the exit code."""
        ...


def load(name: str) -> Command:
    """The module of a command."""
    return cast("Command", importlib.import_module(f"cluster.cli.{name.replace('-', '_')}"))


class Parser(argparse.ArgumentParser):
    """A parser that suggests the nearest names where a command, or another choice, is mistyped."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with 2; where no command was given, print the help as well."""
        if message == _NO_COMMAND:
            self.print_help()
            self.exit(2)
        if found := _NO_CHOICE.fullmatch(message):
            from jobs.yaml.mistakes import did_you_mean

            known = re.findall(r"[^\s',]+", found[3])
            near = did_you_mean(found[2], known)
            message = f"{found[1]}: no {found[2]!r}{near} (there are: {', '.join(known)})"
        super().error(message)


class Version(argparse.Action):
    """The option `--version`: the version is looked up only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """Print the version and exit with 0."""
        from importlib import metadata

        sys.stdout.write(f"probprec {metadata.version('probprec')}\n")
        parser.exit(0)


def parser_for(words: Sequence[str]) -> Parser:
    """The parser with the arguments of the typed command alone: no option before it takes a value."""
    typed = next((word for word in words if not word.startswith("-")), None)
    return parser(() if typed is None else (typed,))


def parser(loaded: Collection[str] = tuple(COMMANDS)) -> Parser:
    """The parser of all commands; only the `loaded` ones have their arguments."""
    found = Parser(
        prog="probprec",
        description="Benchmark deep-learning optimizers: one YAML file in, one table and the figures out.",
        epilog=_EPILOG,
        formatter_class=Formatter,
    )
    found.add_argument("--version", action=Version, help="show the version and exit")
    commands = found.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary)
        if name in loaded:
            module = load(name)
            describe(command, module.DESCRIPTION, module.EXAMPLE)
            module.add_arguments(command)
    return found
