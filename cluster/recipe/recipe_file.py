"""An image's recipe as a person writes it is strict YAML; every mistake has its position."""

import re
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import get_args

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from cluster.recipe.recipe_keys import A_BASE, FORM, BaseFile, RecipeFile
from containers.recipe import Base, BaseKind, Recipe
from jobs.snapshot import ROOT
from jobs.yaml.file_kind import require_kind
from jobs.yaml.mistakes import Mistake, Place, SpecError
from jobs.yaml.translate import dotted, validated
from jobs.yaml.tree import ListNode, MapNode, Node, load_yaml

CONSTRAINTS = ROOT / "constraints.txt"
"""The file of this checkout's package versions."""

_DIGEST = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
_COMMIT = re.compile(r"@[0-9a-f]{40}\b|sha256=[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def read_recipe(file: FilePath) -> Recipe:
    """The recipe in a file, named like the file.

    Raises:
        SpecError: the file has mistakes: all of them.
    """
    root = load_yaml(file)
    if not isinstance(root, MapNode):
        message = "expected a mapping with the key base"
        raise SpecError([Mistake.at(root.place, "", message)])
    require_kind(root, "recipe", file)
    given, found = validated(FORM, root)
    mistakes = [*found.values()]
    reading = _RecipeReader(root, given, file.absolute())
    mistakes += reading.mistakes()
    if mistakes:
        raise SpecError(sorted(mistakes, key=lambda one: (one.line, one.column)))
    return reading.recipe()


class _RecipeReader:
    """A reader of the keys of one recipe, which depend on each other."""

    def __init__(self, root: MapNode, given: RecipeFile, file: FilePath) -> None:
        self._root, self._given, self._file = root, given, file
        self._pinned = given.pinned is not False
        self._constraints = file.parent / given.constraints if given.constraints else CONSTRAINTS
        self._lines, self._known = _constraints(self._constraints)

    def mistakes(self) -> Iterator[Mistake]:
        """The mistakes beyond those in each key's own form."""
        if not _NAME.fullmatch(self._file.stem):
            message = "an image is called as its recipe is; use letters, digits, '.', '_' and '-'"
            yield Mistake.at(self._root.place, "", message)
        if self._given.constraints and not self._constraints.is_file():
            yield self._at(f"no such file: {self._constraints}", "constraints")
        yield from self._base()
        for index, requirement in enumerate(self._given.pip or []):
            wrong = self._requirement(requirement)
            if wrong:
                yield self._at(wrong, "pip", index)
        if self._given.pip and "python" not in self._root.entries:
            message = 'the key `python` is missing: the version that packages are for, like "3.11"'
            yield self._at(message, "pip")
        if self._given.torch and "python" not in self._root.entries:
            message = (
                'the key `python` is missing: only an image with Python is tested, like "3.11"'
            )
            yield self._at(message, "torch")
        for source in self._given.files or {}:
            if not (self._file.parent / source).exists():
                message = f"no such file or folder: {self._file.parent / source}"
                yield self._at(message, "files", source)

    def _base(self) -> Iterator[Mistake]:
        base = self._given.base
        if base is None:
            return
        kinds = [kind for kind in get_args(BaseKind) if getattr(base, kind) is not None]
        if len(kinds) != 1:
            found = f"both {' and '.join(kinds)}" if kinds else "none of them"
            yield self._at(f"expected {A_BASE}, found {found}", "base")
        if base.docker and self._pinned and not _DIGEST.fullmatch(base.docker):
            name = base.docker.partition("@")[0]
            message = (
                f"{base.docker!r} may be another image tomorrow; write {name}@sha256:DIGEST"
                f" (`skopeo inspect docker://{name}` and `docker buildx imagetools inspect {name}`"
                " print it), or say `pinned: false`"
            )
            yield self._at(message, "base", "docker")
        if base.mirror and not base.debootstrap:
            yield self._at("a mirror goes with debootstrap only", "base", "mirror")
        if base.localimage and not (self._file.parent / base.localimage).exists():
            message = f"no such file or folder: {self._file.parent / base.localimage}"
            yield self._at(message, "base", "localimage")

    def _requirement(self, text: str) -> str | None:
        """The mistakes of one requirement."""
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            reason = str(error).splitlines()[0]
            return f"{text!r} is no requirement like numpy==2.0 or name @ URL: {reason}"
        if not self._pinned:
            return None
        if requirement.url:
            moves = not _COMMIT.search(requirement.url)
            return (
                f"{text!r} may be other code tomorrow; name a commit or sha256" if moves else None
            )
        own, known = _pin(requirement), self._known.get(canonicalize_name(requirement.name))
        if own is None and known is None:
            return (
                f"{requirement.name} has no version; write {requirement.name}==VERSION,"
                f" add it to {self._constraints}, or say `pinned: false`"
            )
        if known and known not in requirement.specifier:
            return f"{text!r} contradicts {self._constraints}, which has {known}"
        return None

    def _at(self, message: str, *path: str | int) -> Mistake:
        """The mistake at the key or item that a path names, or at the innermost one that exists."""
        node: Node = self._root
        place: Place = self._root.place
        for part in path:
            if isinstance(node, MapNode) and part in node.entries:
                entry = node.entries[str(part)]
                node = entry.node
                place = entry.key if isinstance(node, MapNode) else node.place
            elif isinstance(node, ListNode) and isinstance(part, int):
                node = node.items[part]
                place = node.place
        return Mistake.at(place, dotted(path), message)

    def recipe(self) -> Recipe:
        """The recipe, if it has no mistakes."""
        given = self._given
        base = given.base or BaseFile()
        kind: BaseKind = next(one for one in get_args(BaseKind) if getattr(base, one) is not None)
        return Recipe(
            name=self._file.stem,
            file=self._file,
            description=given.description or "",
            base=Base(kind=kind, name=getattr(base, kind), mirror=base.mirror),
            python=given.python,
            apt=tuple(given.apt or ()),
            pip=tuple(given.pip or ()),
            constraints=self._lines if self._pinned else (),
            versions={
                canonicalize_name(one.name): (
                    _pin(one) or self._known.get(canonicalize_name(one.name))
                    if self._pinned
                    else None
                )
                for one in map(Requirement, given.pip or [])
            },
            torch=given.torch,
            index=tuple(given.index or ()),
            files=given.files or {},
            environment=given.environment or {},
            labels=given.labels or {},
            toolkit=CONSTRAINTS.parent if given.toolkit else None,
            post=tuple(given.post or ()),
            pinned=self._pinned,
        )


def _constraints(file: FilePath) -> tuple[tuple[str, ...], dict[str, str]]:
    """The lines of a constraints file, and the versions in it; both empty if it does not exist."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return (), {}
    lines = [line.partition(" #")[0].strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    known: dict[str, str] = {}
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue  # pip will report it
        version = _pin(requirement)
        if version is not None:
            known[canonicalize_name(requirement.name)] = version
    return tuple(lines), known


def _pin(requirement: Requirement) -> str | None:
    """The version that a requirement pins; None: it allows several."""
    exact = [one.version for one in requirement.specifier if one.operator in {"==", "==="}]
    return next((version for version in exact if "*" not in version), None)
