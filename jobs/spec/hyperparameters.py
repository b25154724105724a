"""Hyperparameters against the signature of their class: names, kinds, and numbers as it takes them."""

from collections.abc import Collection, Iterator

from jobs.canonical import Value
from jobs.regime import placeholders
from jobs.spec.signature import Parameter, Signature
from jobs.yaml.mistakes import did_you_mean, listed

_EXPECTED = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "list": "a list",
}


_QUALIFIED = "hyperparameters."
"""Before the name of a setting whose plain name means something else in a spec."""


def setting_of(name: str, reserved: Collection[str]) -> str:
    """What a spec calls the setting of the hyperparameter `name`."""
    return f"{_QUALIFIED}{name}" if name in reserved else name


def of_setting(name: str) -> str:
    """The hyperparameter that a setting gives; inverse of `setting_of`."""
    return name.removeprefix(_QUALIFIED)


def wrapped(signature: Signature) -> str:
    """The parameter that takes the optimizer to wrap, in the place of parameters; "": none does."""
    first = signature.first
    is_wrapper = ("optim" in first and "param" not in first) or first in {"base", "inner"}
    return first if is_wrapper else ""


def unknown(name: str, signature: Signature | None) -> str | None:
    """What is wrong with the hyperparameter's name; None: nothing."""
    if signature is None or name in signature.parameters or name == wrapped(signature) != "":
        return None
    known = list(signature.parameters)
    near = did_you_mean(name, known, 0.8 if signature.open else 0.6)
    if signature.open and not near:
        return None  # it may be one for **kwargs
    takes = listed(known) or "no hyperparameters"
    return f"unknown hyperparameter {name!r}{near} (it takes {takes})"


def missing(path: str, given: Collection[str], signature: Signature | None) -> Iterator[str]:
    """What the class at `path` needs and is not given, or cannot be."""
    if signature is None:
        return
    for known in signature.parameters.values():
        if known.required and known.name not in given:
            yield f"{path} needs the hyperparameter {known.name!r}"
    wraps = wrapped(signature)
    if wraps and wraps not in given:
        yield (
            f"{path} needs the optimizer that it wraps; write"
            f" hyperparameters: {{{wraps}: {{class: SGD, lr: 0.1}}}}"
        )


def check_references(value: Value) -> None:
    """ValueError for a reference to what there is not."""
    for one in value if isinstance(value, list) else [value]:
        name = placeholders.name_in(one)
        if name is not None and name not in placeholders.NAMES:
            known = ", ".join(f"${{{known}}}" for known in placeholders.NAMES)
            near = did_you_mean(name, placeholders.NAMES)
            raise ValueError(f"no number {one}{near} (known: {known})")


def fitted(value: Value, parameter: Parameter) -> Value:
    """`value` as the parameter takes it: 1 as 1.0 where it wants a float, 2.0 as 2 for an int.

    Raises:
        ValueError: it is of another kind; the text says what was expected.
    """
    kinds = parameter.kinds
    if value is None or not kinds or placeholders.name_in(value):
        return value
    kind = _kind(value)
    if kind == "int" and "int" not in kinds and "float" in kinds:
        return float(value)  # type: ignore[arg-type]  # an int
    if kind == "float" and "float" not in kinds and "int" in kinds and float(value).is_integer():  # type: ignore[arg-type]  # a float
        return int(value)  # type: ignore[arg-type]  # a float
    if kind not in kinds:
        expected = " or ".join(text for name, text in _EXPECTED.items() if name in kinds)
        default = f" (default {parameter.written})" if parameter.written else ""
        raise ValueError(
            f"expected {expected}{default}, found {_shown(value)}{_hint(value, kinds)}"
        )
    if isinstance(value, list) and _all_floats(parameter.default):
        return [float(item) if type(item) is int else item for item in value]
    return value


def _kind(value: Value) -> str:
    for kind, python in (("bool", bool), ("int", int), ("float", float), ("str", str)):
        if isinstance(value, python):
            return kind
    return "list" if isinstance(value, list) else "mapping"


def _all_floats(default: object) -> bool:
    return isinstance(default, tuple | list) and all(isinstance(item, float) for item in default)


def _shown(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"the text {value!r}" if isinstance(value, str) else str(value)


def _hint(value: Value, kinds: frozenset[str]) -> str:
    if isinstance(value, list):
        return f"; to run each of them write {{values: {value}}}"
    if not isinstance(value, str):
        return ""
    if kinds & {"int", "float"}:
        try:
            float(value)
        except ValueError:
            return ""
        return f"; write it without quotes: {value.replace('_', '')}"
    words = {"on": "true", "yes": "true", "off": "false", "no": "false"}
    meant = {"true": "true", "false": "false", **words}.get(value.lower())
    return f"; write {meant}" if "bool" in kinds and meant else ""
