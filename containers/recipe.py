"""A recipe of an image: its base, the packages on top, and the tests of the result."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

BaseKind = Literal["docker", "debootstrap", "localimage"]


@dataclass(frozen=True, kw_only=True)
class Base:
    """The base that an image starts from."""

    kind: BaseKind
    name: str  # NAME@sha256:DIGEST, a Debian suite, or a path relative to the recipe's folder
    mirror: str | None = None  # of a suite; None: the mirror of the machine that builds


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe of an image; relative paths start at the folder of `file`."""

    name: str
    file: Path  # absolute
    description: str = ""
    base: Base
    python: str | None = None  # "3.11": the version of `python3` inside; None: not tested
    apt: tuple[str, ...] = ()
    pip: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()  # lines of a constraints file, without comments
    versions: Mapping[str, str | None] = field(default_factory=dict)
    """The versions of the packages that `pip` names; None: any."""
    torch: str | None = None  # the build: cpu, cu126; None: not tested
    index: tuple[str, ...] = ()  # more package indexes, as URLs
    files: Mapping[str, str] = field(default_factory=dict)  # path here -> path inside
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    toolkit: Path | None = None  # the checkout that is installed, too
    post: tuple[str, ...] = ()  # shell lines after all else
    pinned: bool = True  # False: building it again may give another image

    @property
    def folder(self) -> Path:
        """The folder in which relative paths start."""
        return self.file.parent

    @property
    def venv(self) -> bool:
        """Whether Python packages go into an environment of their own.

        Debian's Python is for Debian's packages; other bases bring the Python to install into.
        """
        return self.base.kind == "debootstrap" and self.python is not None
