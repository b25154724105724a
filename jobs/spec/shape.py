"""From the tree of nodes to the typed `Spec`, with every mistake of shape in plain words."""

import math
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from jobs.spec.mistakes import Mistake, Place, did_you_mean, listed
from jobs.spec.model import Axis, Draw, Optimizer, Problem, Spec
from jobs.spec.yaml12 import ListNode, MapNode, Node, ScalarNode, to_data

REQUIRED = ("problems", "optimizers", "seeds")
SECTIONS = ("problems", "optimizers")
Path = tuple[str | int, ...]

_DESCRIPTIONS = {
    name: field.description
    for model in (Problem, Optimizer, Axis, Draw, Spec)
    for name, field in model.model_fields.items()
}


def read_shape(root: MapNode) -> tuple[Spec, list[Mistake]]:
    """The typed spec and what is wrong with it; parts with a mistake are left out of it."""
    mistakes: dict[Path, Mistake] = {}
    for path, node, message in _meaningless(root, ()):
        mistakes[path] = Mistake.at(node.place, dotted(path), message)
    data = _pruned(to_data(root), mistakes)
    try:
        spec = Spec.model_validate(data)
    except ValidationError as error:
        found = _translated(error.errors(include_url=False), root)
        mistakes |= {path: mistake for path, mistake in found.items() if path not in mistakes}
        spec = Spec.model_validate(_pruned(data, mistakes))
    missing = [key for key in REQUIRED if key not in root.entries]
    for key in missing:
        if not any(f"did you mean {key!r}" in mistake.message for mistake in mistakes.values()):
            message = f"the key {key!r} is missing; expected {_DESCRIPTIONS[key]}"
            mistakes[(key,)] = Mistake.at(root.place, key, message)
    return spec, list(mistakes.values())


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


def _meaningless(node: Node, path: Path) -> Iterator[tuple[Path, Node, str]]:
    """The values that mean nothing anywhere in a spec."""
    if isinstance(node, MapNode):
        for key, entry in node.entries.items():
            yield from _meaningless(entry.node, (*path, key))
    elif isinstance(node, ListNode):
        for index, item in enumerate(node.items):
            yield from _meaningless(item, (*path, index))
    elif isinstance(node.value, float) and not math.isfinite(node.value):
        yield path, node, f"expected a finite number, found {node.value}"
    elif isinstance(node.value, timedelta):
        yield path, node, f"found the duration {node.value}; quote it if it is meant as text"


def _translated(errors: list[ErrorDetails], root: MapNode) -> dict[Path, Mistake]:
    """One mistake per place: of a union's complaints only the deepest and the best worded count."""
    located = [(*_locate(error["loc"], root), error) for error in errors]
    ancestors = {path[:length] for path, *_ in located for length in range(len(path))}
    found: dict[Path, tuple[int, Mistake]] = {}
    for path, node, key, error in located:
        if path in ancestors:
            continue
        rank, place, message = _worded(path, node, key, error)
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


def _worded(path: Path, node: Node, key: Place, error: ErrorDetails) -> tuple[int, Place, str]:
    """The message for one of pydantic's errors, and its rank: lower says more."""
    if error["type"] == "extra_forbidden":
        return 0, key, _unknown_key(path)
    if error["loc"][-1] == "[key]" and error["type"] == "literal_error":
        known = "known: test_accuracy, test_loss"
        return 0, key, f"unknown metric {path[-1]!r}{_nearest(path[-1], error)} ({known})"
    if error["type"] == "value_error":
        return 1, node.place, str(error["ctx"]["error"])
    hint = _nearest(to_data(node), error) or _hint(path, node)
    return 2, node.place, f"expected {_expected(path)}, found {show(node)}{hint}"


def _nearest(value: object, error: ErrorDetails) -> str:
    """The nearest of the literals that pydantic expected."""
    known = re.findall(r"'([^']*)'", str(error.get("ctx", {}).get("expected", "")))
    return did_you_mean(value, known) if isinstance(value, str) else ""


def _unknown_key(path: Path) -> str:
    name = str(path[-1])
    known = _known_keys(path)
    return f"unknown key {name!r}{did_you_mean(name, known)} (known: {listed(known)})"


def _known_keys(path: Path) -> list[str]:
    if len(path) == 1:
        return list(Spec.model_fields)
    if len(path) == 3 and path[0] == "problems":
        return list(Problem.model_fields)
    return list((Draw if path[-2] == "random" else Axis).model_fields)


def _expected(path: Path) -> str:
    if len(path) == 2 and path[0] in SECTIONS:
        return "a name" if isinstance(path[1], int) else "a mapping of its settings"
    if len(path) == 3 and path[0] == "optimizers" and path[2] not in Optimizer.model_fields:
        return "a value, or an axis like {values: [...]}"
    if path[0] == "exclude" and len(path) == 2:
        return "a mapping like {optimizer: SGD, seed: [44, 45]}"
    if "when" in path[:-1] or (path[0] == "exclude" and len(path) > 2):
        return "a value or a list of values"
    if "target" in path[:-1]:
        return "a number"
    named = [part for part in path if isinstance(part, str) and part in _DESCRIPTIONS]
    return str(_DESCRIPTIONS[named[-1]]) if named else "something else"


def _hint(path: Path, node: Node) -> str:
    """What probably was meant."""
    if isinstance(node, ListNode) and path[-1] in ("epochs", "batch_size", "init") and node.items:
        return "; to run each of them write {values: [...]}"
    if isinstance(node, MapNode) and len(path) == 2 and path[0] in SECTIONS:
        return "; entries with settings are a mapping, without '[' or '-'"
    if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
        return ""
    if node.quoted and node.value.strip().isdigit():
        return "; write it without quotes"
    if path[-1] in (*SECTIONS, "code", "values", "choice", "zip"):
        return f"; write [{node.value}]"
    return ""


def _pruned(data: Any, mistakes: dict[Path, Mistake]) -> Any:
    """`data` without the parts that hold a mistake: one problem, one optimizer, or a whole key."""
    data = dict(data)
    for path in mistakes:
        section = data.get(path[0]) if path else None
        if len(path) > 1 and path[0] in SECTIONS and isinstance(section, dict):
            kept = {label: found for label, found in section.items() if label != path[1]}
            data[path[0]] = kept
            if not kept:
                del data[path[0]]
        elif path:
            data.pop(path[0], None)
    return data
