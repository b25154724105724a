"""A spec's files and the command line's overrides are merged into one tree.

`extends` merges down to the settings of a problem or an optimizer and to the keys of `resources`; a
setting's own value (a number, a list, an axis, a condition) replaces the inherited one as a whole.
`name` and `description` belong to the file they stand in and are not inherited.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jobs.resources import EXCLUSIVE
from jobs.sweep import OVERRIDES
from jobs.yaml.mistakes import Mistake, Place, SpecError
from jobs.yaml.tree import (
    MAX_DEPTH,
    Entry,
    ListNode,
    MapNode,
    Node,
    ScalarNode,
    parse_yaml,
    read_text,
)

MERGED_LEVELS = 3  # the spec > problems, optimizers > one of them
SECTION_LEVEL = 2
RESOURCES = "resources"
NOT_INHERITED = ("name", "description", "extends")
OVERRIDDEN_BELOW = {"epochs": "problems", "batch_size": "problems", "samples": "optimizers"}
"""Keys whose override at the top holds for all entries: `--set` removes them from each entry."""


@dataclass(frozen=True)
class Tree:
    """The merged spec and its sources."""

    root: MapNode
    sources: dict[str, str]  # file -> text, the spec's own file first; "--set" -> the overrides


def read_tree(path: Path, overrides: Sequence[str]) -> Tree:
    """The spec in `path` with all that it extends, then the `key.path=value` overrides.

    Raises:
        SpecError: a file or an override cannot be read.
    """
    sources: dict[str, str] = {}
    root = _read(path, sources, ())
    mistakes: list[Mistake] = []
    for override in overrides:
        try:
            root = _override(root, override)
        except SpecError as error:
            mistakes += error.mistakes
    if mistakes:
        raise SpecError(mistakes)
    if overrides:
        sources[OVERRIDES] = "\n".join(overrides)
    return Tree(root, sources)


def _read(path: Path, sources: dict[str, str], children: tuple[str, ...]) -> MapNode:
    """The tree of one file, laid over those it extends."""
    text = read_text(path)
    sources[str(path)] = text
    start = Place(str(path), 1, 1)
    root = parse_yaml(text, start)
    if not isinstance(root, MapNode):
        message = "expected a mapping with the keys problems, optimizers and seeds"
        raise SpecError([Mistake.at(root.place, "", message)])
    base: MapNode | None = None
    mistakes: list[Mistake] = []
    for node in _extended(root):
        parent = path.parent / str(node.value)
        try:
            if real_path(parent) in (real_path(path), *children):
                raise _problem(node, "extends", f"{node.value} extends this file in turn")
            if not os.path.isfile(parent):  # noqa: PTH113  # unlike Path, never raises
                raise _problem(node, "extends", f"no such file: {parent}")
            found = _read(parent, sources, (real_path(path), *children))
        except SpecError as error:
            mistakes += error.mistakes
            continue
        base = found if base is None else _merge(base, found, MERGED_LEVELS)
    if mistakes:
        raise SpecError(mistakes)
    if base is None:
        return root
    entries = {key: entry for key, entry in base.entries.items() if key not in NOT_INHERITED}
    return _merge(replace(base, entries=entries), root, MERGED_LEVELS)


def real_path(path: Path) -> str:
    """The absolute path without links; for any text, unlike `Path.resolve`."""
    return os.path.realpath(os.path.expanduser(path))  # noqa: PTH111  # ~nobody raises in Path


def _extended(root: MapNode) -> list[ScalarNode]:
    """The file names under `extends`."""
    entry = root.entries.get("extends")
    if entry is None:
        return []
    items = entry.node.items if isinstance(entry.node, ListNode) else (entry.node,)
    names = [item for item in items if isinstance(item, ScalarNode) and isinstance(item.value, str)]
    if len(names) < len(items) or "\0" in "".join(str(name.value) for name in names):
        raise _problem(entry.node, "extends", "expected the name of a file, or a list of them")
    return names


def _merge(base: MapNode, over: MapNode, levels: int) -> MapNode:
    entries = dict(base.entries)
    for key, entry in over.entries.items():
        below = entries.get(key)
        if (
            below is None
            or not isinstance(below.node, MapNode)
            or not isinstance(entry.node, MapNode)
        ):
            entries[key] = entry
        elif key == RESOURCES and levels != SECTION_LEVEL:
            entries[key] = Entry(entry.key, _merge_resources(below.node, entry.node))
        elif levels > 1:
            entries[key] = Entry(entry.key, _merge(below.node, entry.node, levels - 1))
        else:
            entries[key] = entry
    return MapNode(entries, over.place)


def _merge_resources(base: MapNode, over: MapNode) -> MapNode:
    """Merge resources key by key; `mem` removes an inherited `mem_per_cpu`, and so on."""
    taken_back = {EXCLUSIVE.get(key) for key in over.entries}
    kept = {key: entry for key, entry in base.entries.items() if key not in taken_back}
    return MapNode({**kept, **over.entries}, over.place)


def _override(root: MapNode, override: str) -> MapNode:
    """The tree `root` with `key.path=value` set."""
    path, equals, text = override.partition("=")
    path = path.strip()
    place = Place(f"--set {path or override}")
    if not equals or not all(path.split(".")) or path.count(".") > MAX_DEPTH:
        message = f"found {override!r}, expected key=value or key.path=value"
        raise SpecError([Mistake.at(place, "", message)])
    value = parse_yaml(text, place) if text.strip() else ScalarNode(None, place)
    root = _set(root, path.split("."), value, place)
    if path in OVERRIDDEN_BELOW:
        root = _clear_below(root, path)
    return root


def _set(node: Node, keys: list[str], value: Node, place: Place) -> MapNode:
    """The `node` with the value under `keys` set; a list of names becomes a mapping."""
    if isinstance(node, ScalarNode):  # `SGD:` without settings, or a value that gets settings
        node = MapNode({}, place)
    if isinstance(node, ListNode):
        node = _named(node, place)
    # A label may hold dots (torch.optim.SGD): the longest key that is there wins.
    length = next((n for n in range(len(keys), 0, -1) if ".".join(keys[:n]) in node.entries), 1)
    key, rest = ".".join(keys[:length]), keys[length:]
    inner = node.entries.get(key)
    if rest:
        below = inner.node if inner else MapNode({}, place)
        if key == RESOURCES and isinstance(below, MapNode):
            below = _merge_resources(below, MapNode({rest[0]: Entry(place, value)}, below.place))
        value = _set(below, rest, value, place)
    return replace(node, entries={**node.entries, key: Entry(place, value)})


def _named(node: ListNode, place: Place) -> MapNode:
    entries = {}
    for item in node.items:
        if not isinstance(item, ScalarNode) or not isinstance(item.value, str):
            message = "cannot set a part of a list; set the whole list"
            raise SpecError([Mistake.at(place, "", message)])
        entries[item.value] = Entry(item.place, ScalarNode(None, item.place))
    return MapNode(entries, node.place)


def _clear_below(root: MapNode, key: str) -> MapNode:
    """The tree `root` without `key` in any problem (or optimizer)."""
    section = OVERRIDDEN_BELOW[key]
    entry = root.entries.get(section)
    if entry is None or not isinstance(entry.node, MapNode):
        return root
    inner = {label: _without(found, key) for label, found in entry.node.entries.items()}
    cleared = replace(entry, node=replace(entry.node, entries=inner))
    return replace(root, entries={**root.entries, section: cleared})


def _without(entry: Entry, key: str) -> Entry:
    if not isinstance(entry.node, MapNode):
        return entry
    kept = {name: found for name, found in entry.node.entries.items() if name != key}
    return replace(entry, node=replace(entry.node, entries=kept))


def _problem(node: Node, path: str, message: str) -> SpecError:
    return SpecError([Mistake.at(node.place, path, message)])
