"""What a YAML file is, by its keys: a spec, a cluster's profile, or an image's recipe."""

import shlex
from pathlib import Path
from typing import Literal

from jobs.yaml.mistakes import Mistake, SpecError
from jobs.yaml.tree import MapNode, Node, load_yaml

FileKind = Literal["spec", "profile", "recipe"]

_TELLING: dict[FileKind, tuple[str, ...]] = {
    "spec": ("problems", "optimizers", "seeds", "extends"),
    "profile": ("engine",),
    "recipe": ("base",),
}
_USE = {
    "spec": "an experiment's spec: probprec run {file}",
    "profile": "a cluster's profile: probprec run SPEC --on {file}",
    "recipe": "an image's recipe: probprec build {file}",
}


def kind_of(root: Node) -> FileKind | None:
    """What the file is whose tree this is; None: that cannot be told, or it is several at once."""
    if not isinstance(root, MapNode):
        return None
    found = [kind for kind, keys in _TELLING.items() if root.entries.keys() & set(keys)]
    return found[0] if len(found) == 1 else None


def kind_of_file(file: Path) -> FileKind | None:
    """The same of a file, which may be anything."""
    try:
        return kind_of(load_yaml(file))
    except SpecError:
        return None


def described(file: Path) -> str:
    """What a file is, for a person, and what takes it."""
    kind = kind_of_file(file)
    return "a file" if kind is None else _USE[kind].format(file=_typed(file))


def _typed(file: Path) -> str:
    """The path as a shell takes it, and so that `--on` takes it for one."""
    return shlex.quote(f"./{file}" if file.parent == Path() else str(file))


def require_kind(root: Node, expected: FileKind, file: Path) -> None:
    """Refuse a file that is plainly something else than expected.

    Raises:
        SpecError: it is; says what, and what takes it.
    """
    kind = kind_of(root)
    if kind is not None and kind != expected:
        message = f"expected {_USE[expected].partition(':')[0]}, and this is {_USE[kind]}"
        raise SpecError([Mistake.at(root.place, "", message.format(file=_typed(file)))])
