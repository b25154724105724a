"""One line of the doctor's report, and how a look at something becomes one."""

import subprocess
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Literal

from cluster.slurm.command import SlurmError
from containers.runtime import ContainerError

State = Literal["ok", "problem", "note"]

GROUPS = ("Slurm", "Profile", "Container", "Image", "Data", "Disk and clock", "Node")
"""The parts of the report, in this order."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """What was looked at, what was found, and for a problem what to do."""

    group: str
    name: str
    state: State
    found: str
    advice: str = ""  # a command, or the line to write

    def to_json(self) -> dict[str, str]:
        """As `--json` prints it."""
        return asdict(self)


class Group:
    """Makes the lines of one part of the report."""

    def __init__(self, name: str) -> None:
        self.name = name

    def ok(self, name: str, found: str) -> Check:
        """As it should be."""
        return Check(group=self.name, name=name, state="ok", found=found)

    def note(self, name: str, found: str, advice: str = "") -> Check:
        """Worth knowing; nothing has to be done."""
        return Check(group=self.name, name=name, state="note", found=found, advice=advice)

    def problem(self, name: str, found: str, advice: str) -> Check:
        """Runs would fail."""
        return Check(group=self.name, name=name, state="problem", found=found, advice=advice)

    def look(self, name: str, looks: Callable[[], Iterable[Check]]) -> list[Check]:
        """What a look finds; an error of the machine's is a line, too, and not the end of the report."""
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
