"""The tree of nodes becomes a typed `Spec`: its required keys, sections and hints are here."""

from jobs.spec.model import Spec
from jobs.yaml.keys import Path
from jobs.yaml.mistakes import Mistake
from jobs.yaml.translate import Form, validated, without_quotes
from jobs.yaml.tree import ListNode, MapNode, Node, ScalarNode

SECTIONS = ("problems", "optimizers")


def read_shape(root: MapNode) -> tuple[Spec, list[Mistake]]:
    """The typed spec and its mistakes; parts with a mistake are left out of the spec."""
    spec, mistakes = validated(_FORM, root)
    return spec, list(mistakes.values())


def _hint(path: Path, node: Node) -> str:
    """A hint how to correct a value of a wrong shape."""
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


_FORM = Form(
    model=Spec,
    required=(*SECTIONS, "seeds"),
    sections=SECTIONS,
    listed_key="metric",
    hint=_hint,
)
