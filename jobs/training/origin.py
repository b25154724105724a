"""The origin of a training's numbers: all that they depend on besides the run.

A checkpoint is resumed only with the same code, data, image, packages and kind of device: otherwise
half of the numbers would have one origin, and half another.
"""

import json
import platform
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from importlib import metadata
from typing import Any

from jobs.snapshot import PACKAGES
from jobs.training import own_code

_MODULES_SHOWN_MAX = 3


@dataclass(frozen=True, kw_only=True)
class InputHashes:
    """Hashes of image and data, which the launcher knows and the training cannot."""

    image: str | None = None  # sha256 of its file; None: this machine's Python
    manifest: str | None = None  # sha256 of the data set's manifest; None: no manifest


NOTHING = InputHashes()


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The code, packages, image, data and device that made a checkpoint or a record."""

    toolkit: Mapping[str, str]  # imported modules of this toolkit: name -> sha256
    own: Mapping[str, str]  # imported modules of the user, and files read by them: name -> sha256
    packages: Mapping[str, str]  # imported packages: name -> version; `python`, too
    image: str | None
    data: str | None
    device: str  # cpu, cuda

    @classmethod
    def now(cls, given: InputHashes, device: str) -> "Origin":
        """The origin of the numbers that this process computes now."""
        return _origin(given, device, own_code.extent())

    def to_json(self) -> dict[str, Any]:
        """The origin as JSON values; `from_json` returns an equal origin."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Origin":
        """Inverse of `to_json`."""
        return cls(**content)

    def changes(self, given: InputHashes, device: str) -> list[str]:
        """The differences of the present from this origin, in words; empty: none.

        Only modules used then are compared: a new module is imported by one that has changed.
        """
        toolkit = _changed(self.toolkit)
        own = _changed(self.own)
        versions = packages()
        lines = [f"your code has changed ({_listed(own)})"] if own else []
        lines += [f"the toolkit has changed ({_listed(toolkit)})"] if toolkit else []
        lines += [
            f"{name} is {versions[name]}, was {version}"
            for name, version in self.packages.items()
            if versions.get(name, version) != version
        ]
        lines += _differs("the image", self.image, given.image)
        lines += _differs("the data", self.data, given.manifest)
        lines += [f"the device is {device}, was {self.device}"] if device != self.device else []
        return lines


@lru_cache(maxsize=8)
def _origin(given: InputHashes, device: str, _extent: tuple[int, int]) -> Origin:
    """The origin now, cached until another module is imported or file read (`_extent`)."""
    return Origin(
        toolkit=own_code.toolkit_modules(),
        own=own_code.modules(),
        packages=packages(),
        image=given.image,
        data=given.manifest,
        device=device,
    )


def _changed(modules: Mapping[str, str]) -> list[str]:
    now = own_code.sha256_now(modules)
    return [name for name, digest in modules.items() if now[name] != digest]


def _differs(what: str, before: str | None, now: str | None) -> list[str]:
    return [] if before == now else [f"{what} is {_short(now)}, was {_short(before)}"]


def _short(digest: str | None) -> str:
    return "none" if digest is None else digest[:12]


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - _MODULES_SHOWN_MAX} more" if len(names) > _MODULES_SHOWN_MAX else ""
    return ", ".join(names[:_MODULES_SHOWN_MAX]) + more


def packages() -> dict[str, str]:
    """The versions of Python and of all installed packages that have been imported, by name."""
    others = (name for name, file in own_code.loaded() if not own_code.is_own(name, file))
    tops = {name.partition(".")[0] for name in others} - set(PACKAGES)
    found = {top: _version(top) for top in sorted(tops) if not top.startswith("_")}
    return {"python": ".".join(platform.python_version_tuple()[:2])} | found


@cache
def _version(package: str) -> str:
    """The version of a package, with the commit if it was installed from a repository."""
    with suppress(metadata.PackageNotFoundError):
        found = metadata.distribution(package)
        installed = json.loads(found.read_text("direct_url.json") or "{}")
        commit = installed.get("vcs_info", {}).get("commit_id", "")
        return f"{found.version} {commit[:12]}".strip()
    return str(getattr(sys.modules.get(package), "__version__", "unknown"))
