"""The kinds of values that a parameter admits, read from its annotation or its default."""

import ast

_KINDS = {"tuple": "list", "Tuple": "list", "list": "list", "List": "list", "Sequence": "list"}
_KINDS |= {"bool": "bool", "int": "int", "float": "float", "str": "str"}
_NEVER_WRITTEN = ("Tensor", "None")


def like(default: object) -> frozenset[str] | None:
    """The kinds that may replace the default of a parameter without annotation; None: all."""
    if isinstance(default, bool):
        return frozenset({"bool"})
    if isinstance(default, int | float):
        return frozenset({"int", "float"})
    if isinstance(default, tuple | list):
        return frozenset({"list"})
    return frozenset({"str"}) if isinstance(default, str) else None


def annotated(annotation: ast.expr) -> frozenset[str] | None:
    """The kinds that an annotation admits; None: all."""
    match annotation:
        case ast.BinOp(op=ast.BitOr()):
            return _union([annotation.left, annotation.right])
        case ast.Subscript(value=head, slice=inner):
            if _last(head) in ("Union", "Optional"):
                return _union(inner.elts if isinstance(inner, ast.Tuple) else [inner])
            return annotated(head)
        case ast.Constant(value=str(text)) if text.isidentifier():
            return _named(text)
        case ast.Constant(value=None) | ast.Name() | ast.Attribute():
            return _named(_last(annotation))
    return None


def mentions_text(annotation: ast.expr) -> bool:
    """Whether `str` is part of an annotation."""
    return any(isinstance(node, ast.Name) and node.id == "str" for node in ast.walk(annotation))


def _named(name: str) -> frozenset[str] | None:
    if name in _NEVER_WRITTEN:
        return frozenset()
    return frozenset({_KINDS[name]}) if name in _KINDS else None


def _last(expression: ast.expr) -> str:
    return ast.unparse(expression).rpartition(".")[2]


def _union(members: list[ast.expr]) -> frozenset[str] | None:
    kinds: frozenset[str] = frozenset()
    for member in members:
        found = annotated(member)
        if found is None:
            return None
        kinds |= found
    return kinds
