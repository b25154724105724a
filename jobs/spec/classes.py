"""A hyperparameter may be a class: for an optimizer that is built around another optimizer."""

from collections.abc import Mapping
from dataclasses import dataclass

from jobs.canonical import Value
from jobs.optimizers import OPTIMIZERS
from jobs.regime.values import CLASS
from jobs.spec import hyperparameters
from jobs.spec.context import Context
from jobs.spec.model import Axis, OfClass
from jobs.spec.signature import NoSuchClassError, Parameter, Signature, signature_of
from jobs.yaml.mistakes import Place
from jobs.yaml.tree import MapNode, Node


def plain(value: Axis | OfClass | Value) -> Axis | Value:
    """A typed setting as the plain value that a run has."""
    if isinstance(value, OfClass):
        return {CLASS: value.class_, **(value.model_extra or {})}
    return value


def is_class(value: object) -> bool:
    """Whether a plain value is a class, with hyperparameters of its own."""
    return isinstance(value, dict) and CLASS in value


@dataclass(frozen=True)
class ClassReader:
    """A reader of the classes among the values of one optimizer's settings."""

    context: Context
    signature: Signature | None  # of the optimizer

    def read(self, name: str, value: Value, node: Node | None, place: Place, path: str) -> Value:
        """The value; a class gets its dotted path and fitted hyperparameters of its own.

        A text is a class if the parameter takes an optimizer, by its name and annotation, and the
        class exists.
        """
        if isinstance(value, dict) and is_class(value):
            return self.of_class(value, node, place, path)
        parameter = self.signature.parameters.get(name) if self.signature else None
        if isinstance(value, str) and self._may_be_class(name, parameter):
            return self._named(value)
        return value

    def wraps(self, name: str) -> bool:
        """Whether the class is built around the optimizer that `name` gives."""
        return self.signature is not None and hyperparameters.wrapped(self.signature) == name

    def _may_be_class(self, name: str, parameter: Parameter | None) -> bool:
        is_for_text = parameter is not None and (parameter.kinds or parameter.takes_text)
        return self.wraps(name) or ("optim" in name and not is_for_text)

    def _named(self, text: str) -> Value:
        """The class that a text names; the text itself if no such class is known."""
        info = OPTIMIZERS.get(text)
        dotted = info.path if info else text.replace(":", ".")
        parts = dotted.split(".")
        if len(parts) < 2 or not all(part.isidentifier() for part in parts):
            return text
        try:
            is_class = signature_of(dotted, self.context.folders) is not None
        except NoSuchClassError:
            is_class = False
        pinned = dict(info.pinned) if info else {}
        return {CLASS: dotted, **pinned} if is_class else text

    def of_class(
        self, value: Mapping[str, Value], node: Node | None, place: Place, path: str
    ) -> dict[str, Value]:
        """A mapping with a class, by its dotted path and with fitted hyperparameters."""
        settings = dict(value)
        name = str(settings.pop(CLASS))
        info = OPTIMIZERS.get(name)
        dotted, found = info.path if info else "", True
        if info is None:
            dotted, found = self.context.look_up(name, list(OPTIMIZERS), place, path)
        signature, found = self.context.signature(dotted, place, path) if found else (None, False)
        settings = {**(info.pinned if info else {}), **settings}
        if found:
            settings = self.fitted(settings, signature, node, place, path)
        return {CLASS: dotted, **settings}

    def fitted(
        self,
        settings: Mapping[str, Value],
        signature: Signature | None,
        node: Node | None,
        place: Place,
        path: str,
    ) -> dict[str, Value]:
        """Hyperparameters as a class of that signature takes them; mistakes are noted at their keys."""
        fitted = dict(settings)
        for key, given in settings.items():
            wrong = hyperparameters.unknown(key, signature)
            try:
                hyperparameters.check_references(given)
                if signature is not None and key in signature.parameters:
                    fitted[key] = hyperparameters.fitted(given, signature.parameters[key])
            except ValueError as error:
                wrong = str(error)
            if wrong:
                self.context.add(_place(node, key) or place, f"{path}.{key}", wrong)
        return fitted


def _place(node: Node | None, key: str) -> Place | None:
    """The place of the value of `key`."""
    if isinstance(node, MapNode) and key in node.entries:
        return node.entries[key].node.place
    return None
