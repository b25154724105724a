"""The curves of a training, in the form of a record's `curves`."""

import math
from collections.abc import Mapping
from typing import Any, Self

from jobs.errors import InputError


class Curves:
    """The curves of a record."""

    def __init__(self) -> None:
        self._epochs: dict[str, list[float]] = {}
        self._series: dict[str, dict[str, list[Any]]] = {
            "minibatch_loss": {"step": [], "value": []},
            "learning_rate": {"step": [], "value": []},
        }
        self._log: dict[str, dict[str, list[Any]]] = {}

    def add_epoch(self, row: Mapping[str, float]) -> None:
        """Append one evaluation's metrics."""
        for metric, value in row.items():
            self._epochs.setdefault(metric, []).append(value)

    def add_minibatch_loss(self, step: int, value: float) -> None:
        """Append the loss of the minibatch of `step`, before its update."""
        _append(self._series["minibatch_loss"], step, value)

    def see_learning_rate(self, step: int, value: float | list[float | None] | None) -> None:
        """Append the step size at `step`, or those of several groups; only changes are kept."""
        _append_change(self._series["learning_rate"], step, value)

    def add_log(self, step: int, entries: Mapping[str, Any]) -> None:
        """Append the optimizer's own log: numbers, and lists, arrays and tensors of numbers.

        Only changes are kept. Raises InputError for any other value.
        """
        if not isinstance(entries, Mapping):
            raise InputError(f"get_log() has to give a dict, it gives {type(entries).__name__}")
        for name, value in entries.items():
            series = self._log.setdefault(str(name), {"step": [], "value": []})
            try:
                _append_change(series, step, value)
            except TypeError as error:
                raise InputError(f"get_log()[{name!r}] holds {error}") from None

    def cut(self, step: int) -> None:
        """Remove everything from `step` on."""
        for series in (*self._series.values(), *self._log.values()):
            keep = sum(1 for known in series["step"] if known < step)
            del series["step"][keep:], series["value"][keep:]

    def to_json(self) -> dict[str, Any]:
        """The record's `curves`."""
        return {**self._epochs, **self._series, "optimizer": self._log}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`; new values are appended to the given lists."""
        curves = cls()
        curves._log = content["optimizer"]
        curves._series = {name: content[name] for name in curves._series}
        series = {*curves._series, "optimizer"}
        curves._epochs = {name: found for name, found in content.items() if name not in series}
        return curves


def _append(series: dict[str, list[Any]], step: int, value: Any) -> None:
    series["step"].append(step)
    series["value"].append(value)


def _append_change(series: dict[str, list[Any]], step: int, value: Any) -> None:
    known = _finite(value)
    if not series["value"] or series["value"][-1] != known:
        _append(series, step, known)


def _finite(value: Any) -> Any:
    """Numbers, and lists of numbers, as JSON can hold them: null for a value that is not finite."""
    if callable(getattr(value, "tolist", None)):  # an array, a tensor, or one of their scalars
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, int | float):
        return value if math.isfinite(value) else None
    if value is None:
        return None
    raise TypeError(
        f"a {type(value).__name__}; what can be kept are numbers, and lists, arrays and tensors of them"
    )
