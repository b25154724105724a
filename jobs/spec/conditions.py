"""The conditions of `when` and `exclude` on a run's values."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from jobs.canonical import Value, canonical
from jobs.yaml.mistakes import Place
from jobs.yaml.tree import ListNode, MapNode, Node


@dataclass(frozen=True)
class Clause:
    """One key and the values it may have."""

    key: str
    values: tuple[Value, ...]
    admitted: frozenset[str]  # the spellings of `values`
    place: Place  # of the key
    places: tuple[Place, ...]  # of each value
    path: str


Condition = tuple[Clause, ...]


def spelling(value: Value) -> str:
    """The spelling of a value: equal for equal values (1 and 1.0), different for 1 and true."""
    return json.dumps(canonical(value))


def read_condition(given: Mapping[str, object] | None, node: Node, path: str) -> Condition:
    """The clauses of a mapping from keys to a value or a list of values."""
    clauses = []
    for key in given or ():
        entry = node.entries[key] if isinstance(node, MapNode) else None
        if entry is None or given is None:
            continue
        found = given[key]
        values = tuple(found) if isinstance(found, list) else (found,)
        places = (
            tuple(item.place for item in entry.node.items)
            if isinstance(entry.node, ListNode)
            else (entry.node.place,)
        )
        admitted = frozenset(map(spelling, values))
        clauses.append(Clause(key, values, admitted, entry.key, places, f"{path}.{key}"))
    return tuple(clauses)


def holds(condition: Condition, spellings: Mapping[str, str]) -> bool:
    """Whether a run has every key, with an admitted value."""
    return all(spellings.get(clause.key) in clause.admitted for clause in condition)
