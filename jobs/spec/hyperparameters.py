"""Hyperparameters are checked against their class's signature, and fitted to its types."""

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


_SETTING_PREFIX = "hyperparameters."
"""Prefix of a hyperparameter's setting if its plain name is another key of a spec."""


def setting_of(name: str, reserved: Collection[str]) -> str:
    """The name of the setting of the hyperparameter `name`."""
    return f"{_SETTING_PREFIX}{name}" if name in reserved else name


def of_setting(name: str) -> str:
    """The name of a setting's hyperparameter; inverse of `setting_of`."""
    return name.removeprefix(_SETTING_PREFIX)


def wrapped(signature: Signature) -> str:
    """The constructor's first parameter if it takes an optimizer to wrap; else ""."""
    first = signature.first
    is_wrapper = ("optim" in first and "param" not in first) or first in {"base", "inner"}
    return first if is_wrapper else ""


def unknown(name: str, signature: Signature | None) -> str | None:
    """The mistake in the hyperparameter's name, in words; None: no mistake."""
    if signature is None or name in signature.parameters or name == wrapped(signature) != "":
        return None
    known = list(signature.parameters)
    near = did_you_mean(name, known, 0.8 if signature.open else 0.6)
    if signature.open and not near:
        return None  # **kwargs may take it
    takes = listed(known) or "no hyperparameters"
    return f"unknown hyperparameter {name!r}{near} (it takes {takes})"


def missing(path: str, given: Collection[str], signature: Signature | None) -> Iterator[str]:
    """Messages for the hyperparameters that the class at `path` requires and that are not given."""
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
    """Refuse (ValueError) a `${name}` that names no number of a training."""
    for one in value if isinstance(value, list) else [value]:
        name = placeholders.name_in(one)
        if name is not None and name not in placeholders.NAMES:
            known = ", ".join(f"${{{known}}}" for known in placeholders.NAMES)
            near = did_you_mean(name, placeholders.NAMES)
            raise ValueError(f"no number {one}{near} (known: {known})")


def fitted(value: Value, parameter: Parameter) -> Value:
    """The value as the parameter takes it: 1 as 1.0 for a float, 2.0 as 2 for an int.

    Raises:
        ValueError: the value is of another kind; the text says what was expected.
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
