"""What a submission holds for each of its runs, and for the files that it sealed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jobs.sweep import Run

Unstaged = Literal["fail", "in_place"]
"""Where scratch is missing or full: fail, or read the data where it lies."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A run that an array task is to attempt."""

    run: Run
    fence: int  # its newest fence when it was submitted; another one: somebody else has it

    def to_json(self) -> dict[str, Any]:
        """As a submission holds it."""
        return {"id": self.run.id, "fence": self.fence, "run": self.run.to_json()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Entry":
        """Inverse of `to_json`."""
        return cls(run=Run.from_json(content["run"]), fence=content["fence"])


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """A file or folder, and the hash of what it held when it was submitted."""

    path: Path
    sha256: str  # of an image: its file's; of a data set: its manifest's

    def to_json(self) -> dict[str, str]:
        """As a submission and a record hold it."""
        return {"path": str(self.path), "sha256": self.sha256}

    @classmethod
    def from_json(cls, content: Mapping[str, str]) -> "Sealed":
        """Inverse of `to_json`."""
        return cls(path=Path(content["path"]), sha256=content["sha256"])
