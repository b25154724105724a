"""A tree of nodes is translated into a typed model, with every mistake of shape in plain words."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from jobs.yaml.keys import Path, expected, is_duration, known_keys
from jobs.yaml.mistakes import Mistake, Place, did_you_mean, listed
from jobs.yaml.tree import ListNode, MapNode, Node, ScalarNode, to_data

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Form(Generic[Model]):
    """The form of one kind of file: its model, its required keys, and hints for mistakes."""

    model: type[Model]
    required: tuple[str, ...]  # keys
    sections: tuple[str, ...] = ()  # keys of mappings whose entries are validated one by one
    listed_key: str = "key"  # name for keys that come from a fixed list: "metric"
    hint: Callable[[Path, Node], str]  # how to correct a value: "; write ..."


def validated(form: Form[Model], root: MapNode) -> tuple[Model, dict[Path, Mistake]]:
    """The typed file and its mistakes; parts with a mistake are left out of the file."""
    mistakes: dict[Path, Mistake] = {}
    for path, node, message in _meaningless(root, (), form.model):
        mistakes[path] = Mistake.at(node.place, dotted(path), message)
    data = _pruned(to_data(root), mistakes, form.sections)
    try:
        given = form.model.model_validate(data)
    except ValidationError as error:
        found = _translated(error.errors(include_url=False), root, form)
        mistakes |= {path: mistake for path, mistake in found.items() if path not in mistakes}
        given = form.model.model_validate(_pruned(data, mistakes, form.sections))
    return given, mistakes | _missing(form, root, mistakes)


def _pruned(data: Any, mistakes: Iterable[Path], sections: tuple[str, ...]) -> Any:
    """The data without the parts that hold a mistake: an entry of a section, or a whole key."""
    data = dict(data)
    for path in mistakes:
        section = data.get(path[0]) if path else None
        if len(path) > 1 and path[0] in sections and isinstance(section, dict):
            kept = {label: found for label, found in section.items() if label != path[1]}
            data[path[0]] = kept
            if not kept:
                del data[path[0]]
        elif path:
            data.pop(path[0], None)
    return data


def _missing(
    form: Form[Model], root: MapNode, mistakes: Mapping[Path, Mistake]
) -> dict[Path, Mistake]:
    """A mistake for each required key that is not just misspelt."""
    found: dict[Path, Mistake] = {}
    for key in form.required:
        misspelt = any(f"did you mean {key!r}" in mistake.message for mistake in mistakes.values())
        if key not in root.entries and not misspelt:
            message = f"the key {key!r} is missing; expected {expected(form.model, (key,))}"
            found[(key,)] = Mistake.at(root.place, key, message)
    return found


def dotted(path: Path) -> str:
    """The path in words: `optimizers.SGD.lr.values[0]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def show(node: Node) -> str:
    """The node's content, for a message."""
    if isinstance(node, MapNode):
        return f"a mapping with the keys {listed(list(node.entries), 5)}" if node.entries else "{}"
    if isinstance(node, ListNode):
        return f"a list of {len(node.items)}" if node.items else "an empty list"
    value = node.value
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        text = value if len(value) <= 60 else value[:57] + "..."
        return f"the text {text!r}"
    return str(value)


def without_quotes(node: Node) -> str:
    """The hint for a number in quotes."""
    if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
        return ""
    is_number = node.quoted and node.value.strip().isdigit()
    return "; write it without quotes" if is_number else ""


def _meaningless(
    node: Node, path: Path, model: type[BaseModel]
) -> Iterator[tuple[Path, Node, str]]:
    """Path, node and message of each value that has no meaning in such a file."""
    if isinstance(node, MapNode):
        for key, entry in node.entries.items():
            yield from _meaningless(entry.node, (*path, key), model)
    elif isinstance(node, ListNode):
        for index, item in enumerate(node.items):
            yield from _meaningless(item, (*path, index), model)
    elif isinstance(node.value, float) and not math.isfinite(node.value):
        yield path, node, f"expected a finite number, found {node.value}"
    elif isinstance(node.value, timedelta) and not is_duration(model, path):
        yield path, node, f"found the duration {node.value}; quote it if it is meant as text"


def _translated(
    errors: list[ErrorDetails], root: MapNode, form: Form[Model]
) -> dict[Path, Mistake]:
    """One mistake per place; of a union's errors only the deepest and best worded is kept."""
    located = [(*_locate(error["loc"], root), error) for error in errors]
    ancestors = {path[:length] for path, *_ in located for length in range(len(path))}
    found: dict[Path, tuple[int, Mistake]] = {}
    for path, node, key, error in located:
        if path in ancestors:
            continue
        rank, place, message = _worded(path, node, key, error, form)
        if path not in found or rank < found[path][0]:
            found[path] = (rank, Mistake.at(place, dotted(path), message))
    return {path: mistake for path, (_, mistake) in found.items()}


def _locate(loc: Path, root: Node) -> tuple[Path, Node, Place]:
    """Path, node, and place of its key, for pydantic's `loc` (names of union members skipped)."""
    path: list[str | int] = []
    node, key = root, root.place
    for part in loc:
        if isinstance(node, MapNode) and part in node.entries:
            entry = node.entries[str(part)]
            node, key = entry.node, entry.key
        elif isinstance(node, ListNode) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
            key = node.place
        else:
            continue
        path.append(part)
    return tuple(path), node, key


def _worded(
    path: Path, node: Node, key: Place, error: ErrorDetails, form: Form[Model]
) -> tuple[int, Place, str]:
    """Rank (lower: more specific), place and message for one of pydantic's errors."""
    if error["type"] == "extra_forbidden":
        name, known = str(path[-1]), known_keys(form.model, path)
        message = f"unknown key {name!r}{did_you_mean(name, known)} (known: {listed(known)})"
        return 0, key, message
    if error["loc"][-1] == "[key]" and error["type"] == "literal_error":
        known = _literals(error)
        near = did_you_mean(str(path[-1]), known)
        message = f"unknown {form.listed_key} {path[-1]!r}{near} (known: {listed(known)})"
        return 0, key, message
    if error["loc"][-1] == "[key]" and error["type"] == "string_pattern_mismatch":
        return 0, key, f"expected {expected(form.model, path)}, found the key {path[-1]!r}"
    if error["type"] == "value_error":
        return 1, node.place, str(error["ctx"]["error"])
    if error["type"] == "missing" and isinstance(node, MapNode):
        name = str(error["loc"][-1])
        wanted = expected(form.model, (*path, name))
        return 0, node.place, f"the key {name!r} is missing; expected {wanted}"
    value = to_data(node)
    near = did_you_mean(value, _literals(error)) if isinstance(value, str) else ""
    wanted = expected(form.model, path, of_key=error["loc"][-1] == "[key]")
    message = f"expected {wanted}, found {show(node)}"
    return 2, node.place, message + (near or form.hint(path, node))


def _literals(error: ErrorDetails) -> list[str]:
    """The texts of which pydantic expected one."""
    return re.findall(r"'([^']*)'", str(error.get("ctx", {}).get("expected", "")))
