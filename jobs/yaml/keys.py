"""The model of a file answers questions about a path in it: known keys, expected values, types."""

import types
from collections.abc import Iterator
from dataclasses import dataclass
from inspect import get_annotations, isclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Expected:
    """A note on a type that says in words which item or value is expected."""

    text: str


DURATION = object()
"""A note on a type that admits durations."""


@dataclass(frozen=True)
class _Kind:
    """One of the types that a value may have, and the notes on it."""

    type: Any
    notes: tuple[Any, ...] = ()
    description: str | None = None  # of the field that it is the value of

    @property
    def expected(self) -> str | None:
        """The expected value, in words."""
        own = (note.text for note in self.notes if isinstance(note, Expected))
        return self.description or next(own, None)


def known_keys(model: type[BaseModel], path: Path) -> list[str]:
    """The known keys of the mapping with an unknown key at this path."""
    for kind in _at(model, path[:-1]):
        if _is_model(kind.type) and kind.type.model_config.get("extra") == "forbid":
            return list(kind.type.model_fields)
    return []


def expected(model: type[BaseModel], path: Path, *, of_key: bool = False) -> str:
    """The value expected at this path, in words, by the innermost part of it with a text."""
    steps = [_at(model, path[:length]) for length in range(1, len(path) + 1)]
    if of_key:
        steps.append(tuple(_keys(_at(model, path[:-1]))))
    texts = (kind.expected for kinds in reversed(steps) for kind in kinds)
    return next(filter(None, texts), "something else")


def is_duration(model: type[BaseModel], path: Path) -> bool:
    """Whether a duration is admitted at this path."""
    return any(DURATION in kind.notes for kind in _at(model, path))


def _at(model: type[BaseModel], path: Path) -> tuple[_Kind, ...]:
    """The types that the value at this path may have; empty for an unknown path."""
    kinds: tuple[_Kind, ...] = (_Kind(model),)
    for part in path:
        kinds = tuple(below for kind in kinds for below in _below(kind, part))
    return kinds


def _below(kind: _Kind, part: str | int) -> Iterator[_Kind]:
    """The types of the value below a key, or at an index, of a value of this type."""
    inner = get_args(kind.type)
    if kind.type is Any:
        yield kind
    elif _is_model(kind.type):
        yield from _of_field(kind.type, str(part))
    elif get_origin(kind.type) is dict and isinstance(part, str):
        yield from _members(inner[1])
    elif get_origin(kind.type) in (list, tuple) and isinstance(part, int):
        yield from _members(inner[0])


def _of_field(model: type[BaseModel], name: str) -> Iterator[_Kind]:
    for key, field in model.model_fields.items():
        if (field.alias or key) == name:
            yield from _members(field.annotation, tuple(field.metadata), field.description)
            return
    extra = get_annotations(model).get("__pydantic_extra__")
    if extra is not None:
        yield from _members(get_args(extra)[1])


def _members(
    annotation: Any, notes: tuple[Any, ...] = (), description: str | None = None
) -> Iterator[_Kind]:
    """The member types of an annotation, if it is a union."""
    if get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        yield from _members(annotation, (*notes, *more), description)
    elif get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _members(member, notes, description)
    else:
        yield _Kind(annotation, notes, description)


def _keys(kinds: tuple[_Kind, ...]) -> Iterator[_Kind]:
    """The types of the keys of mappings."""
    for kind in kinds:
        if get_origin(kind.type) is dict:
            yield from _members(get_args(kind.type)[0])


def _is_model(kind: Any) -> bool:
    return isclass(kind) and issubclass(kind, BaseModel)
