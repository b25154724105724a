"""Signatures without imports: re-exports, bases, annotations, and what cannot be told."""

import sys
from pathlib import Path

import pytest

from jobs.optimizers import OPTIMIZERS
from jobs.spec.hyperparameters import fitted, missing, unknown
from jobs.spec.signature import NoSuchClassError, Parameter, Signature, signature_of


def kinds(path: str) -> dict[str, set[str]]:
    signature = signature_of(path)
    assert signature is not None
    return {name: set(one.kinds) for name, one in signature.parameters.items()}


def test_classes_of_torch() -> None:
    sgd = signature_of("torch.optim.SGD")

    assert sgd is not None
    assert not sgd.open
    assert sgd.parameters["lr"] == Parameter(
        "lr", required=False, default=0.001, written="0.001", kinds=frozenset({"float"})
    )
    assert kinds("torch.optim.AdamW")["betas"] == {"list"}
    assert kinds("torch.optim.LBFGS")["max_iter"] == {"int"}
    assert kinds("torch.optim.SGD")["foreach"] == {"bool"}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_named_optimizer_has_a_signature(name: str) -> None:
    info = OPTIMIZERS[name]

    signature = signature_of(info.path)

    assert signature is not None
    for pinned, value in info.pinned.items():
        assert fitted(value, signature.parameters[pinned]) == value


def test_preconditioners() -> None:
    signature = signature_of("probprec.PreconditionedTunedMomentum")

    assert signature is not None
    assert signature.open
    assert list(missing("a.B", (), signature)) == ["a.B needs the hyperparameter 'lr'"]
    assert signature.parameters["est_rank"].default == 2
    assert unknown("est_rnk", signature) is not None
    assert unknown("nesterov", signature) is None


FILES = {
    "own/__init__.py": "from .inner import Lion as King\nfrom own import inner\n"
    "from missing_pkg import Far\nmade = type('made', (), {})\nOther = King\n",
    "own/inner.py": """
import torch
import torch.optim as opt
from torch import optim
from torch.optim import SGD
try:
    from nowhere import Absent
except ImportError:
    class Absent: ...

if torch:
    class Base:
        def __init__(self, params, from_base=1, needed=None): ...

class Lion(Base):
    def __init__(self, params, lr, a: int | float = 1, b: "bool" = True, *, c=None, d: "x.Y" = 0, **kw):
        super().__init__(params, **kw)

class Alone(Lion): ...
class Orphan(Absent):
    def __init__(self, params, x, **kw):
        super().__init__(params, **kw)
class Sub(torch.optim.SGD): ...
class Sub2(opt.SGD): ...
class Sub3(optim.SGD): ...
class Sub4(SGD): ...
class Plain: ...
class Circle(Circle): ...
def function(): ...
""",
    "own/dynamic.py": "from os.path import *\n",
    "own/lazy.py": "def __getattr__(name): ...\n",
    "own/torn.py": "class (:\n",
    "own/compiled.abi3.so": "",
    "own/space/deep.py": "class Deep:\n    def __init__(self, params, x=2): ...\n",
}


@pytest.fixture
def package(tmp_path: Path) -> tuple[str, ...]:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return (str(tmp_path),)


def names(path: str, folders: tuple[str, ...]) -> list[str] | None:
    signature = signature_of(path, folders)
    return list(signature.parameters) if signature else None


def test_own_packages(package: tuple[str, ...]) -> None:
    sgd = names("torch.optim.SGD", ())

    assert names("own.King", package) == ["from_base", "needed", "lr", "a", "b", "c", "d"]
    assert names("own.Other", package) == names("own.King", package)
    assert names("own.inner.Orphan", package) == ["x"]
    assert names("own.inner.Alone", package) == names("own.King", package)
    for sub in ("Sub", "Sub2", "Sub3", "Sub4"):
        assert names(f"own.inner.{sub}", package) == sgd
    assert names("own.space.deep.Deep", package) == ["x"]
    assert "own" not in sys.modules


@pytest.mark.parametrize(
    "path",
    [
        "own.Far",
        "own.made",
        "own.inner.Plain",
        "own.inner.Circle",
        "own.inner.function",
        "own.dynamic.Thing",
        "own.lazy.Thing",
        "own.torn.Thing",
        "own.compiled.Thing",
        "own.space.Thing",
        "no_such_package.Thing",
        "sys.Thing",
        "itertools.count",
        "a" * 300 + ".Thing",
    ],
)
def test_what_cannot_be_told(package: tuple[str, ...], path: str) -> None:
    assert signature_of(path, package) is None


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("own.Kong", "module 'own' has no class 'Kong'; did you mean 'King'?"),
        ("own.inner.lion", "module 'own.inner' has no class 'lion'; did you mean 'Lion'?"),
        ("own.iner.Lion", "'own' has no module 'iner'; did you mean 'inner'?"),
        ("torch.optim.Nope", "module 'torch.optim' has no class 'Nope'"),
    ],
)
def test_what_is_not_there(package: tuple[str, ...], path: str, message: str) -> None:
    with pytest.raises(NoSuchClassError) as caught:
        signature_of(path, package)
    assert str(caught.value) == message


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "fresh.py"
    file.write_text("class A:\n    def __init__(self, params, x=1): ...\n")
    assert names("fresh.A", (str(tmp_path),)) == ["x"]

    file.write_text("class A:\n    def __init__(self, params, longer=1): ...\n")
    assert names("fresh.A", (str(tmp_path),)) == ["longer"]


@pytest.mark.parametrize(
    ("value", "admitted", "expected"),
    [
        (1, {"float"}, 1.0),
        (2.0, {"int"}, 2),
        (1, {"int", "float"}, 1),
        (None, {"float"}, None),
        ("x", set(), "x"),
        ({"a": 1}, set(), {"a": 1}),
        ("x", {"str", "float"}, "x"),
        ([1, 2], {"list"}, [1, 2]),
    ],
)
def test_values_are_fitted(value: object, admitted: set[str], expected: object) -> None:
    parameter = Parameter("x", required=True, kinds=frozenset(admitted))

    found = fitted(value, parameter)  # type: ignore[arg-type]  # any JSON

    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "admitted", "message"),
    [
        (True, {"float"}, "expected a number, found true"),
        ("5", {"int"}, "expected a whole number, found the text '5'; write it without quotes: 5"),
        (2.5, {"int"}, "expected a whole number, found 2.5"),
        ({"a": 1}, {"float"}, "expected a number, found {'a': 1}"),
        (3, {"str", "bool"}, "expected true or false or text, found 3"),
    ],
)
def test_values_of_another_kind(value: object, admitted: set[str], message: str) -> None:
    parameter = Parameter("x", required=True, kinds=frozenset(admitted))

    with pytest.raises(ValueError, match="expected") as caught:
        fitted(value, parameter)  # type: ignore[arg-type]  # any JSON
    assert str(caught.value) == message


def test_without_a_signature_everything_goes() -> None:
    assert unknown("x", None) is None
    assert list(missing("a.B", (), None)) == []
    assert unknown("x", Signature()) == "unknown hyperparameter 'x' (it takes no hyperparameters)"


@pytest.mark.parametrize(
    ("name", "whose"),
    [
        ("random", "of Python's standard library"),
        ("types", "of Python's standard library"),
        ("jobs", "of this toolkit"),
    ],
)
def test_an_own_module_that_another_one_hides_is_refused(
    tmp_path: Path, name: str, whose: str
) -> None:
    """A training would import the other one."""
    file = tmp_path / f"{name}.py"
    file.write_text("class Mine:\n    pass\n")
    with pytest.raises(NoSuchClassError, match=f"{file} has the name of a module {whose}"):
        signature_of(f"{name}.Mine", (str(tmp_path),))


def test_a_module_of_that_name_beside_an_own_one_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("class Random:\n    pass\n")
    (tmp_path / "my_opt.py").write_text(
        "import random\n\n\nclass Mine:\n    def __init__(self, params, lr=0.1):\n        pass\n"
    )
    found = signature_of("my_opt.Mine", (str(tmp_path),))

    assert found is not None
    assert set(found.parameters) == {"lr"}
