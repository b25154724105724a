"""The signature of a class's constructor is read from its source, without importing it.

Importing torch takes seconds and a login node may not have it, so the class is looked up the way the
interpreter would: find the top-level package, follow `from x import y as z`, walk up the bases until
one has an `__init__`. If the source does not tell (a compiled module, a name made at run time, a
package that is not here), the signature is None, and mistakes show only on the node.
"""

import ast
import importlib.util
import sys
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from jobs.snapshot import PACKAGES
from jobs.spec import kinds
from jobs.yaml.mistakes import did_you_mean

MAX_STEPS = 30  # re-exports and bases followed for one class


class NoSuchClassError(Exception):
    """The package is here but holds no such module or class; the text names what is near."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a constructor."""

    name: str
    required: bool
    default: Any = None  # if it is a literal; else None, and `written` has its text
    written: str = ""  # the default as the source has it
    kinds: frozenset[str] = frozenset()  # of bool, int, float, str, list; empty: all
    takes_text: bool = False  # by its annotation


@dataclass(frozen=True, slots=True)
class Signature:
    """The parameters of a constructor, besides the model's parameters to optimize."""

    parameters: dict[str, Parameter] = field(default_factory=dict)
    open: bool = False  # it has **kwargs
    first: str = ""  # name of the first: parameters to optimize, or an optimizer to wrap


def signature_of(path: str, folders: tuple[str, ...] = ()) -> Signature | None:
    """The signature of the class `package.module.Class`; None: unknown.

    `folders` are searched as in a training: after Python's own modules and this toolkit's, before
    installed packages.

    Raises:
        NoSuchClassError: the package is here, but not the module or not the class; or the module is
            hidden by one of Python's.
    """
    module_name, _, class_name = path.rpartition(".")
    _require_importable(module_name.partition(".")[0], folders)
    lookup = _Lookup(folders)
    try:
        module = lookup.module(module_name)
        return lookup.constructor(module, class_name) if module else None
    except (_CannotTellError, OSError):
        return None


def _require_importable(name: str, folders: tuple[str, ...]) -> None:
    """Refuse an own module whose name is another module's, which would be imported instead."""
    spec = PathFinder.find_spec(name, list(folders)) if folders else None
    if spec is None or spec.origin is None or not _is_reserved(name):
        return
    whose = "of this toolkit" if name in PACKAGES else "of Python's standard library"
    raise NoSuchClassError(
        f"{spec.origin} has the name of a module {whose}, which is imported in its place; rename it"
    )


def _is_reserved(name: str) -> bool:
    return name in sys.stdlib_module_names or name in PACKAGES


class _CannotTellError(Exception):
    """The source does not tell the signature."""


@dataclass(frozen=True)
class _Module:
    name: str
    is_package: bool
    tree: ast.Module

    def absolute(self, node: ast.ImportFrom) -> str:
        """The module that `from ... import` names."""
        if not node.level:
            return node.module or ""
        parts = self.name.split(".")
        parts = parts[: len(parts) - node.level + self.is_package]
        return ".".join([*parts, *([node.module] if node.module else [])])


class _Lookup:
    """A lookup that follows names through modules, for a bounded number of steps."""

    def __init__(self, folders: tuple[str, ...]) -> None:
        self._folders = list(folders)
        self._steps = 0

    def module(self, name: str) -> _Module | None:
        """The module's source; None if its top-level package is not here."""
        top, *rest = name.split(".")
        is_searched = self._folders and not _is_reserved(top)
        spec = PathFinder.find_spec(top, self._folders) if is_searched else None
        if spec is None or spec.origin is None:
            spec = _installed(top)
        if spec is None:
            return None
        places = [Path(place) for place in spec.submodule_search_locations or ()]
        file = Path(spec.origin) if spec.origin else None
        seen = top
        for part in rest:
            file, places = _submodule(part, places, seen)
            seen += f".{part}"
        if file is None or file.suffix != ".py":
            raise _CannotTellError
        return _Module(name, bool(places), _parsed(file, file.stat().st_mtime_ns))

    def constructor(self, module: _Module, name: str) -> Signature:
        """The signature of class `name` of `module`: its own, or that of its first base."""
        owner, found = self._find(module, name)
        for node in found.body:
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                own = _read(node.args)
                return self._with_base(own, owner, found) if _passes_on(node) else own
        if found.decorator_list or found.keywords or not found.bases:
            raise _CannotTellError  # a dataclass, a metaclass, or object's own constructor
        return self._base(owner, found)

    def _base(self, owner: _Module, found: ast.ClassDef) -> Signature:
        parent, _, base = ast.unparse(found.bases[0]).rpartition(".")
        if not parent:
            return self.constructor(owner, base)
        head, _, rest = parent.partition(".")
        bound = _bindings(owner).get(head)
        if not isinstance(bound, _Import):
            raise _CannotTellError
        module = ".".join(part for part in (bound.module, bound.name, rest) if part)
        return self.constructor(self._present(module), base)

    def _with_base(self, own: Signature, owner: _Module, found: ast.ClassDef) -> Signature:
        """The signature with the base's parameters, which `**kwargs` pass on, as optional ones."""
        try:
            base = self._base(owner, found)
        except (_CannotTellError, IndexError):
            return own
        passed = {name: replace(one, required=False) for name, one in base.parameters.items()}
        return Signature(passed | own.parameters, own.open, own.first)

    def _find(self, module: _Module, name: str) -> tuple[_Module, ast.ClassDef]:
        """The definition of the class that `name` is bound to in `module`."""
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise _CannotTellError
        bindings = _bindings(module)
        match bindings.get(name):
            case ast.ClassDef() as found:
                return module, found
            case _Import(parent, imported) if imported:
                return self._find(self._present(parent), imported)
            case ast.Name(id=other):
                return self._find(module, other)
            case None if not {"*", "__getattr__"} & bindings.keys():
                near = did_you_mean(name, bindings)
                raise NoSuchClassError(f"module {module.name!r} has no class {name!r}{near}")
        raise _CannotTellError

    def _present(self, name: str) -> _Module:
        module = self.module(name)
        if module is None:
            raise _CannotTellError
        return module


@dataclass(frozen=True)
class _Import:
    """`name` of `module`; without a name the module itself."""

    module: str
    name: str = ""


def _bindings(module: _Module) -> dict[str, _Import | ast.AST]:
    """The meanings of a module's names, as far as its top-level statements tell."""
    bindings: dict[str, _Import | ast.AST] = {}
    for node in _statements(module.tree):
        match node:
            case ast.ClassDef() | ast.FunctionDef():
                bindings.setdefault(node.name, node)
            case ast.ImportFrom():
                for alias in node.names:
                    imported = _Import(module.absolute(node), alias.name)
                    bindings.setdefault(alias.asname or alias.name, imported)
            case ast.Import():
                for alias in node.names:
                    bound = alias.asname or alias.name.partition(".")[0]
                    bindings.setdefault(bound, _Import(alias.name if alias.asname else bound))
            case ast.Assign(targets=[ast.Name(id=target)]):
                bindings.setdefault(target, node.value)
            case _:
                pass
    return bindings


def _installed(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None


def _submodule(name: str, places: list[Path], parent: str) -> tuple[Path | None, list[Path]]:
    for place in places:
        package = place / name
        if (package / "__init__.py").is_file():
            return package / "__init__.py", [package]
        if (place / f"{name}.py").is_file():
            return place / f"{name}.py", []
        if package.is_dir() or any(place.glob(f"{name}.*")):
            return None, [package]  # a namespace package, or compiled
    names = {file.stem for place in places if place.is_dir() for file in place.iterdir()}
    raise NoSuchClassError(f"{parent!r} has no module {name!r}{did_you_mean(name, sorted(names))}")


@lru_cache(maxsize=256)
def _parsed(file: Path, _modified: int) -> ast.Module:
    try:
        return ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError) as error:
        raise _CannotTellError from error


def _statements(tree: ast.Module) -> list[ast.stmt]:
    """The module's top-level statements, including those below `if` and `try`."""
    found: list[ast.stmt] = []
    waiting: list[ast.stmt] = list(reversed(tree.body))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If | ast.Try):
            handlers = [
                inner for handler in getattr(node, "handlers", ()) for inner in handler.body
            ]
            waiting += reversed([*node.body, *handlers, *node.orelse])
        else:
            found.append(node)
    return found


def _read(arguments: ast.arguments) -> Signature:
    positional = [*arguments.posonlyargs, *arguments.args]
    none: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    pairs = [*zip(positional, [*none, *arguments.defaults], strict=True)][2:]  # self, params
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    parameters = {
        argument.arg: _parameter(argument.arg, argument.annotation, default)
        for argument, default in pairs
    }
    first = positional[1].arg if len(positional) > 1 else ""
    return Signature(parameters, arguments.kwarg is not None, first)


def _passes_on(constructor: ast.FunctionDef) -> bool:
    """Whether the constructor calls `super().__init__(..., **kwargs)`."""
    return any(
        isinstance(node, ast.Call)
        and ast.unparse(node.func) == "super().__init__"
        and any(keyword.arg is None for keyword in node.keywords)
        for node in ast.walk(constructor)
    )


def _parameter(name: str, annotation: ast.expr | None, default: ast.expr | None) -> Parameter:
    try:
        value = ast.literal_eval(default) if default else None
    except (ValueError, TypeError, SyntaxError):
        value = None
    admitted = kinds.annotated(annotation) if annotation else kinds.like(value)
    return Parameter(
        name,
        required=default is None,
        default=value,
        written=ast.unparse(default) if default else "",
        kinds=admitted or frozenset(),
        takes_text=annotation is not None and kinds.mentions_text(annotation),
    )
