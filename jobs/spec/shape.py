"""From the tree of nodes to the typed `Spec`: what a spec calls things, and what may be left out."""

from typing import Any

from jobs.spec.model import Axis, Draw, Optimizer, Problem, Spec, Tune
from jobs.spec.resources import Resources
from jobs.yaml.mistakes import Mistake
from jobs.yaml.translate import Path, Words, missing, validated, without_quotes
from jobs.yaml.tree import ListNode, MapNode, Node, ScalarNode

REQUIRED = ("problems", "optimizers", "seeds")
SECTIONS = ("problems", "optimizers")

_DESCRIPTIONS = {
    name: field.description
    for model in (Tune, Problem, Optimizer, Axis, Draw, Spec)
    for name, field in model.model_fields.items()
}


def read_shape(root: MapNode) -> tuple[Spec, list[Mistake]]:
    """The typed spec and what is wrong with it; parts with a mistake are left out of it."""
    spec, mistakes = validated(Spec, root, _WORDS)
    required = {key: _DESCRIPTIONS[key] for key in REQUIRED}
    return spec, list((mistakes | missing(root, required, mistakes)).values())


def _in_resources(path: Path) -> bool:
    """Whether the path leads to a key of a `resources:`, or below it."""
    level = path[2:] if path[:1] in (("problems",), ("optimizers",)) else path
    return level[:1] == ("resources",)


def _is_duration(path: Path) -> bool:
    return _in_resources(path) and path[-1] == "time"


def _known_keys(path: Path) -> list[str]:
    if len(path) == 1:
        return list(Spec.model_fields)
    if _in_resources(path):
        return list(Resources.model_fields)
    if len(path) == 3 and path[0] == "problems":
        return list(Problem.model_fields)
    if path[:-1] == ("tune",) or (len(path) == 4 and path[0::2] == ("optimizers", "tune")):
        return list(Tune.model_fields)
    return list((Draw if path[-2] == "random" else Axis).model_fields)


def _expected(path: Path) -> str:
    named = [part for part in path if isinstance(part, str)]
    if _in_resources(path) and named[-1] in Resources.model_fields:
        return str(Resources.model_fields[named[-1]].description)
    return _expected_elsewhere(path)


def _is_hyperparameter(path: Path) -> bool:
    if path[0] != "optimizers":
        return False
    is_named = len(path) == 4 and path[2] == "hyperparameters"
    return is_named or (len(path) == 3 and path[2] not in Optimizer.model_fields)


def _expected_elsewhere(path: Path) -> str:
    if len(path) == 2 and path[0] in SECTIONS:
        settings = "a mapping of its settings" if path[1] != "" else "a label that is not empty"
        return "a name" if isinstance(path[1], int) else settings
    if _is_hyperparameter(path):
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
    if isinstance(node, MapNode) and len(path) == 2 and path[0] in SECTIONS and path[1] != "":
        return "; entries with settings are a mapping, without '[' or '-'"
    if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
        return ""
    if without_quotes(node):
        return without_quotes(node)
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


_WORDS = Words(
    known_keys=_known_keys,
    expected=_expected,
    hint=_hint,
    listed_key="metric",
    is_duration=_is_duration,
    pruned=_pruned,
)
