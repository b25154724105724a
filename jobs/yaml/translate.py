"""From a tree of nodes to a typed model, with every mistake of shape in plain words."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from jobs.yaml.mistakes import Mistake, Place, did_you_mean, listed
from jobs.yaml.tree import ListNode, MapNode, Node, ScalarNode, to_data

Model = TypeVar("Model", bound=BaseModel)
Path = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class Words:
    """What one kind of file calls things."""

    known_keys: Callable[[Path], list[str]]  # beside the unknown key at this path
    expected: Callable[[Path], str]
    hint: Callable[[Path, Node], str]  # what probably was meant: "; write ..."
    listed_key: str  # what the keys of a mapping with listed keys are: "metric"
    is_duration: Callable[[Path], bool]  # whether a duration means something there
    pruned: Callable[[Any, dict[Path, Mistake]], Any]  # the data without parts with a mistake


def validated(model: type[Model], root: MapNode, words: Words) -> tuple[Model, dict[Path, Mistake]]:
    """The typed file and what is wrong with it; parts with a mistake are left out of it."""
    mistakes: dict[Path, Mistake] = {}
    for path, node, message in _meaningless(root, (), words):
        mistakes[path] = Mistake.at(node.place, dotted(path), message)
    data = words.pruned(to_data(root), mistakes)
    try:
        return model.model_validate(data), mistakes
    except ValidationError as error:
        found = _translated(error.errors(include_url=False), root, words)
        mistakes |= {path: mistake for path, mistake in found.items() if path not in mistakes}
        return model.model_validate(words.pruned(data, mistakes)), mistakes


def missing(
    root: MapNode, required: Mapping[str, str | None], mistakes: Mapping[Path, Mistake]
) -> dict[Path, Mistake]:
    """A mistake for each required key (and what is expected there) that is not just misspelt."""
    found: dict[Path, Mistake] = {}
    for key, expected in required.items():
        misspelt = any(f"did you mean {key!r}" in mistake.message for mistake in mistakes.values())
        if key not in root.entries and not misspelt:
            message = f"the key {key!r} is missing; expected {expected}"
            found[(key,)] = Mistake.at(root.place, key, message)
    return found


def dotted(path: Path) -> str:
    """`optimizers.SGD.lr.values[0]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def show(node: Node) -> str:
    """What stands there, for a message."""
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


def _meaningless(node: Node, path: Path, words: Words) -> Iterator[tuple[Path, Node, str]]:
    """The values that mean nothing anywhere in such a file."""
    if isinstance(node, MapNode):
        for key, entry in node.entries.items():
            yield from _meaningless(entry.node, (*path, key), words)
    elif isinstance(node, ListNode):
        for index, item in enumerate(node.items):
            yield from _meaningless(item, (*path, index), words)
    elif isinstance(node.value, float) and not math.isfinite(node.value):
        yield path, node, f"expected a finite number, found {node.value}"
    elif isinstance(node.value, timedelta) and not words.is_duration(path):
        yield path, node, f"found the duration {node.value}; quote it if it is meant as text"


def _translated(errors: list[ErrorDetails], root: MapNode, words: Words) -> dict[Path, Mistake]:
    """One mistake per place: of a union's complaints only the deepest and the best worded count."""
    located = [(*_locate(error["loc"], root), error) for error in errors]
    ancestors = {path[:length] for path, *_ in located for length in range(len(path))}
    found: dict[Path, tuple[int, Mistake]] = {}
    for path, node, key, error in located:
        if path in ancestors:
            continue
        rank, place, message = _worded(path, node, key, error, words)
        if path not in found or rank < found[path][0]:
            found[path] = (rank, Mistake.at(place, dotted(path), message))
    return {path: mistake for path, (_, mistake) in found.items()}


def _locate(loc: Path, root: Node) -> tuple[Path, Node, Place]:
    """The node that pydantic's `loc` names (names of union members skipped) and its key's place."""
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
    path: Path, node: Node, key: Place, error: ErrorDetails, words: Words
) -> tuple[int, Place, str]:
    """The message for one of pydantic's errors, and its rank: lower says more."""
    if error["type"] == "extra_forbidden":
        name, known = str(path[-1]), words.known_keys(path)
        message = f"unknown key {name!r}{did_you_mean(name, known)} (known: {listed(known)})"
        return 0, key, message
    if error["loc"][-1] == "[key]" and error["type"] == "literal_error":
        known = _literals(error)
        near = did_you_mean(str(path[-1]), known)
        message = f"unknown {words.listed_key} {path[-1]!r}{near} (known: {listed(known)})"
        return 0, key, message
    if error["loc"][-1] == "[key]" and error["type"] == "string_pattern_mismatch":
        return 0, key, f"expected {words.expected(path)}, found the key {path[-1]!r}"
    if error["type"] == "value_error":
        return 1, node.place, str(error["ctx"]["error"])
    if error["type"] == "missing" and isinstance(node, MapNode):
        name = str(error["loc"][-1])
        return (
            0,
            node.place,
            f"the key {name!r} is missing; expected {words.expected((*path, name))}",
        )
    value = to_data(node)
    near = did_you_mean(value, _literals(error)) if isinstance(value, str) else ""
    expected = f"expected {words.expected(path)}, found {show(node)}"
    return 2, node.place, expected + (near or words.hint(path, node))


def _literals(error: ErrorDetails) -> list[str]:
    """The texts that pydantic expected one of."""
    return re.findall(r"'([^']*)'", str(error.get("ctx", {}).get("expected", "")))
