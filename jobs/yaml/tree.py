"""Strict YAML: the 1.2 core meaning of scalars, durations, and the position of every key and value.

Built on PyYAML's safe loader with its own resolver table: `1e-3` is a number, `no` and `off` are
text, `0o17` is 15, `03:30:00` is a duration (as Slurm writes it: also `1-03:30:00`). Whatever the
bytes are, the outcome is a tree of nodes or a `SpecError`: duplicate keys, tabs, tags, merge keys,
alias cycles, alias bombs, deep nesting and large files are mistakes with a position.
"""

import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from jobs.yaml.mistakes import Mistake, Place, SpecError

MAX_BYTES = 1_000_000
MAX_NODES = 100_000  # counted after aliases are expanded
MAX_DEPTH = 40
MAX_DIGITS = 40  # of an integer


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """A single value."""

    value: bool | int | float | str | timedelta | None
    place: Place
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class ListNode:
    """A list."""

    items: tuple["Node", ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Entry:
    """A mapping's value and where its key stands."""

    key: Place
    node: "Node"


@dataclass(frozen=True, slots=True)
class MapNode:
    """A mapping; keys are always text."""

    entries: dict[str, Entry]
    place: Place


Node = ScalarNode | ListNode | MapNode


def to_data(node: Node) -> Any:
    """The node as plain Python values."""
    if isinstance(node, MapNode):
        return {key: to_data(entry.node) for key, entry in node.entries.items()}
    if isinstance(node, ListNode):
        return [to_data(item) for item in node.items]
    return node.value


def load_yaml(path: Path) -> Node:
    """The document in the file `path`.

    Raises:
        SpecError: the file cannot be read or is not strict YAML.
    """
    return parse_yaml(read_text(path), Place(str(path), 1, 1))


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        SpecError: the file is missing, unreadable, larger than `MAX_BYTES` or not UTF-8.
    """
    start = Place(str(path), 1, 1)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _error(start, "no such file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise _error(start, f"cannot be read: {reason}") from None
    if len(content) > MAX_BYTES:
        raise _error(start, f"larger than {MAX_BYTES:,} bytes; is this the right file?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig", "replace")
        byte = content[error.start]
        place = _place_of(before, len(before), start)
        raise _error(place, f"byte 0x{byte:02x} is not UTF-8 text") from None


def parse_yaml(text: str, start: Place) -> Node:
    """The document in `text`; nodes lie relative to `start` (line 0: all of them lie at `start`).

    Raises:
        SpecError: the text is not strict YAML.
    """
    loader = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
    except yaml.reader.ReaderError as error:
        place = _place_of(text, error.position, start)
        raise _error(place, f"character U+{error.character:04X} is not allowed") from None
    except yaml.MarkedYAMLError as error:
        place = _place(error.problem_mark or error.context_mark, start)
        raise _error(place, _reworded(error)) from None
    except (ValueError, OverflowError):  # a \U escape beyond Unicode
        place = _place(loader.get_mark(), start) if loader else start
        raise _error(place, "an escape that names no character") from None
    if root is None:
        raise _error(start, "empty")
    return _Converter(start).convert(root)


class _Loader(yaml.SafeLoader):
    """A YAML loader that composes nodes, makes no objects, and refuses tags and deep nesting."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  # PyYAML's own protocol: a fresh table for this class
    _depth = 0
    _count = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML's stubs leave it out
        mark = event.start_mark
        if getattr(event, "tag", None) is not None:
            raise yaml.composer.ComposerError(
                problem=f"the tag {event.tag!r} is not allowed", problem_mark=mark
            )
        self._depth += 1
        self._count += 1
        if self._depth > MAX_DEPTH:
            raise yaml.composer.ComposerError(
                problem=f"nested more than {MAX_DEPTH} levels deep", problem_mark=mark
            )
        if self._count > MAX_NODES:
            raise yaml.composer.ComposerError(
                problem=f"more than {MAX_NODES:,} values", problem_mark=mark
            )
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _duration(text: str) -> timedelta:
    days, _, clock = text.rpartition("-")
    hours, minutes, seconds = (int(part) for part in clock.split(":"))
    return timedelta(days=int(days or 0), hours=hours, minutes=minutes, seconds=seconds)


# tag, what a plain scalar of it looks like, its possible first characters, its value
_RESOLVERS = (
    ("null", r"~|null|Null|NULL|", "~nN\0", lambda _: None),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF", lambda text: text.lower() == "true"),
    ("int", r"[-+]?[0-9]+", "-+0123456789", int),
    ("octal", r"0o[0-7]+", "0", lambda text: int(text, 8)),
    ("hex", r"0x[0-9a-fA-F]+", "0", lambda text: int(text, 16)),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?",
        "-+.0123456789",
        float,
    ),
    ("inf", r"[-+]?\.(inf|Inf|INF)", "-+.", lambda text: float(text.replace(".", ""))),
    ("nan", r"\.(nan|NaN|NAN)", ".", lambda _: float("nan")),
    ("duration", r"([0-9]{1,4}-)?[0-9]{1,3}:[0-5][0-9]:[0-5][0-9]", "0123456789", _duration),
)
_CONSTRUCTORS = {tag: constructor for tag, _, _, constructor in _RESOLVERS}
for _tag, _pattern, _first, _ in _RESOLVERS:
    _Loader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), list(_first))
# PyYAML looks the empty scalar up under the empty string.
_Loader.add_implicit_resolver("null", re.compile("^$"), [""])


class _Converter:
    """The conversion of PyYAML's graph of nodes into a tree of this module's nodes."""

    def __init__(self, start: Place) -> None:
        self._start = start
        self._count = 0
        self._open: set[int] = set()  # the nodes that contain the present one

    def convert(self, node: yaml.Node) -> Node:
        place = _place(node.start_mark, self._start)
        self._count += 1
        if self._count > MAX_NODES:
            raise _error(place, f"more than {MAX_NODES:,} values after expanding the aliases")
        if isinstance(node, yaml.ScalarNode):
            return ScalarNode(self._scalar(node, place), place, quoted=node.style is not None)
        if id(node) in self._open:
            raise _error(place, "an anchor that contains itself")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return ListNode(tuple(self.convert(item) for item in node.value), place)
            return MapNode(self._entries(node), place)
        finally:
            self._open.discard(id(node))

    def _entries(self, node: yaml.Node) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        for key_node, value_node in node.value:
            place = _place(key_node.start_mark, self._start)
            if not isinstance(key_node, yaml.ScalarNode):
                raise _error(place, "a key must be text, found a list or a mapping")
            key = self._scalar(key_node, place)
            if not isinstance(key, str):
                raise _error(place, f"a key must be text; write '{key_node.value}' in quotes")
            if key == "<<" and key_node.style is None:
                raise _error(place, "merge keys (<<) are not YAML 1.2; use `extends` or repeat it")
            if key in entries:
                first = entries[key].key
                raise _error(place, f"the key {key!r} is here twice; first in line {first.line}")
            entries[key] = Entry(place, self.convert(value_node))
        return entries

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> Any:
        constructor = _CONSTRUCTORS.get(node.tag) if node.style is None else None
        if constructor is None:
            if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in node.value):
                raise _error(place, "text with a NUL or half of a surrogate pair")
            return node.value
        if node.tag in ("int", "octal", "hex") and len(node.value) > MAX_DIGITS:
            raise _error(place, f"an integer of more than {MAX_DIGITS} digits")
        return constructor(node.value)


def _error(place: Place, message: str) -> SpecError:
    return SpecError([Mistake.at(place, "", message)])


def _place(mark: yaml.Mark | None, start: Place) -> Place:
    if not start.line or mark is None:
        return start
    return Place(start.file, mark.line + 1, mark.column + 1)


def _place_of(text: str, position: int, start: Place) -> Place:
    if not start.line:
        return start
    lines = text[:position].split("\n")
    return Place(start.file, len(lines), len(lines[-1]) + 1)


# PyYAML's message -> a message with a remedy; {line}: where the construct begins
_REWORDED = (
    ("'\\t'", "a tab; YAML is indented and separated by spaces"),
    (
        "mapping values are not allowed",
        "unexpected ':'; is the line indented too far? (text with ': ' in it needs quotes)",
    ),
    ("could not find expected ':'", "expected ':' after the key before this"),
    ("expected <block end>", "the indentation does not fit the lines above"),
    ("expected ',' or ']'", "expected ',' or ']'; the list opened in line {line} is not closed"),
    (
        "expected ',' or '}'",
        "expected ',' or '}}'; the mapping opened in line {line} is not closed",
    ),
    ("unexpected end of stream", "the quote opened in line {line} is not closed"),
    ("second occurrence", "an anchor of this name was given before"),
    ("but found another document", "more than one document in a file"),
    ("cannot start any token", "a text that begins with this character needs quotes"),
)


def _reworded(error: yaml.MarkedYAMLError) -> str:
    problem = str(error.problem or error.context)
    line = error.context_mark.line + 1 if error.context_mark else 0
    for theirs, ours in _REWORDED:
        if theirs in problem:
            return ours.format(line=line)
    return problem
