"""The kind of a YAML file, by its keys: a spec, a cluster's profile, or an image's recipe."""

import shlex
from pathlib import Path
from typing import Literal

from jobs.yaml.mistakes import Mistake, SpecError
from jobs.yaml.tree import MapNode, Node, load_yaml

FileKind = Literal["spec", "profile", "recipe"]

_KEYS_OF_KIND: dict[FileKind, tuple[str, ...]] = {
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
    """The kind of the file with this tree; None: the keys are of no kind, or of several."""
    if not isinstance(root, MapNode):
        return None
    found = [kind for kind, keys in _KEYS_OF_KIND.items() if root.entries.keys() & set(keys)]
    return found[0] if len(found) == 1 else None


def kind_of_file(file: Path) -> FileKind | None:
    """The kind of a file; None also for a file that is no YAML."""
    try:
        return kind_of(load_yaml(file))
    except SpecError:
        return None


def described(file: Path) -> str:
    """The kind of a file in words, with the command that takes it."""
    kind = kind_of_file(file)
    return "a file" if kind is None else _USE[kind].format(file=_typed(file))


def _typed(file: Path) -> str:
    """The path quoted for a shell; `./` in front, so that `--on` does not take it for a name."""
    return shlex.quote(f"./{file}" if file.parent == Path() else str(file))


def require_kind(root: Node, expected: FileKind, file: Path) -> None:
    """Refuse a file that is plainly of another kind than expected.

    Raises:
        SpecError: the file is of another kind; names it and the command that takes it.
    """
    kind = kind_of(root)
    if kind is not None and kind != expected:
        message = f"expected {_USE[expected].partition(':')[0]}, and this is {_USE[kind]}"
        raise SpecError([Mistake.at(root.place, "", message.format(file=_typed(file)))])
