"""The command `completion`: a script by which a shell completes commands, options, files and sweeps."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import shtab

from cluster.terminal.exit_codes import DONE

_SWEEPS = {
    "bash": """\
_probprec_sweeps() {
  case $1 in
    */*) compgen -d -- "$1" ;;
    *) (cd -- "${PROBPREC_ROOT:-sweeps}" >/dev/null 2>&1 && compgen -d -- "$1") ;;
  esac
}""",
    "zsh": """\
_probprec_sweeps() {
  compadd "$@" -- ${PROBPREC_ROOT:-sweeps}/*(N/:t) || _files -/
}""",
}
"""Shell functions that complete a sweep by its name, or by the path of its folder."""

_YAML = shtab.glob("*.yaml", "*.yml")
_COMPLETED: dict[str, shtab.CompleteType] = {
    "spec": _YAML,
    "on": _YAML,
    "folder": shtab.DIRECTORY,
    "sweep": {
        "bash": "_probprec_sweeps",
        "zsh": "_probprec_sweeps",
        "tcsh": "d",
        "preamble": _SWEEPS,
    },
}
"""How a shell completes an argument; other paths are folders or any files."""


def completion(parser: argparse.ArgumentParser, shell: str) -> int:
    """Print the script that completes what this parser takes, for that shell."""
    for action in _actions(parser):
        if (how := _completed(action)) is not None:
            action.complete = how  # type: ignore[attr-defined]  # where shtab looks for it
    sys.stdout.write(f"{shtab.complete(parser, shell)}\n")
    return DONE


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The arguments of a parser and of all commands below it."""
    for action in parser._actions:  # noqa: SLF001 - argparse tells it nowhere else
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for command in action.choices.values():
                yield from _actions(command)


def _completed(action: argparse.Action) -> shtab.CompleteType | None:
    if action.dest in _COMPLETED or action.type is not Path:
        return _COMPLETED.get(action.dest)
    return shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE
