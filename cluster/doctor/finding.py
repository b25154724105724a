"""A check is one line of the doctor's report; a group makes the lines of one part."""

import subprocess
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Literal

from cluster.slurm.process import SlurmError
from containers.runtime import ContainerError

State = Literal["ok", "problem", "note"]

GROUPS = ("Slurm", "Profile", "Container", "Image", "Data", "Disk and clock", "Node")
"""The parts of the report, in this order."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """A check: its name, the finding, and for a problem what to do."""

    group: str
    name: str
    state: State
    found: str
    advice: str = ""  # a command, or the line to write

    def to_json(self) -> dict[str, str]:
        """The check as `--json` prints it."""
        return asdict(self)


class Group:
    """A group makes the lines of one part of the report."""

    def __init__(self, name: str) -> None:
        self.name = name

    def ok(self, name: str, found: str) -> Check:
        """A check that found things as they should be."""
        return Check(group=self.name, name=name, state="ok", found=found)

    def note(self, name: str, found: str, advice: str = "") -> Check:
        """A finding that is worth knowing, without need to act."""
        return Check(group=self.name, name=name, state="note", found=found, advice=advice)

    def problem(self, name: str, found: str, advice: str) -> Check:
        """A finding that would make runs fail."""
        return Check(group=self.name, name=name, state="problem", found=found, advice=advice)

    def look(self, name: str, looks: Callable[[], Iterable[Check]]) -> list[Check]:
        """The checks of a look; an error of the machine is a check, too, and does not end the report."""
        try:
            return list(looks())
        except (
            OSError,
            SlurmError,
            ContainerError,
            subprocess.SubprocessError,
            ValueError,
        ) as error:
            return [
                self.problem(
                    name, f"could not be looked at: {_said(error)}", "mend that, and look again"
                )
            ]


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
