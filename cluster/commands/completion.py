"""The command `completion`: a script by which a shell completes commands, options, files and sweeps."""

import argparse
import sys
from pathlib import Path

import shtab

from cluster.commands import manual
from cluster.commands.arguments import parser

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
"""What completes a sweep: its name, or the path of its folder."""

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
"""How a shell finds what an argument may be; other paths are folders or any files."""


def completion(shell: str) -> int:
    """Print the script for that shell."""
    found = parser()
    for _, command in manual.below(found):
        for action in command._actions:  # noqa: SLF001 - argparse tells it nowhere else
            if (how := _completed(action)) is not None:
                action.complete = how  # type: ignore[attr-defined]  # where shtab looks for it
    sys.stdout.write(f"{shtab.complete(found, shell)}\n")
    return 0


def _completed(action: argparse.Action) -> shtab.CompleteType | None:
    if action.dest in _COMPLETED or action.type is not Path:
        return _COMPLETED.get(action.dest)
    return shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE
