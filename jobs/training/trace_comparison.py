"""Compare the traces of two trainings of one run, and name the first difference.

`jobs.training.trace` writes the lines. The standard library is enough to compare them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_VALUES_NAMED_MAX = 3  # of those that differ
_LACKS = object()


@dataclass(frozen=True, kw_only=True)
class Line:
    """The state of a training at a boundary between two steps, or right after a resume."""

    epoch: int
    index: int  # of the step within the epoch
    step: int
    resumed: bool
    loss: float | None  # of the last step; None: this process has taken no step
    state: Mapping[str, Any]  # the values in a checkpoint, or their hashes, by name
    attributes: Mapping[str, Any]  # other attributes of the optimizer that are plain values


def compare(straight: Sequence[Line], pieces: Sequence[Line]) -> str | None:
    """The first difference of an uninterrupted training and one in pieces; None: no difference."""
    expected = {(line.epoch, line.index): line for line in straight}
    resumed_at, lost = None, ""
    for line in pieces:
        at = expected.get((line.epoch, line.index))
        if at is None:
            return f"after step {line.step} only the interrupted training goes on"
        names = _differing(at.state, line.state)
        if line.resumed:
            resumed_at = line.step
            lost = _listed(_differing(at.attributes, line.attributes))
            if names:
                return (
                    f"resumed at step {resumed_at}, but not to what was saved: {_listed(names)}:"
                    " does load_state_dict() not bring back what state_dict() gave?"
                )
            continue
        if names or not _is_same_loss(at, line):
            return _explain(at, line, names, resumed_at, lost)
    return None


def _explain(at: Line, line: Line, names: Sequence[str], resumed_at: int | None, lost: str) -> str:
    """The meaning of the first difference after a step, in words."""
    step = line.step
    is_same_loss = _is_same_loss(at, line)
    loss = f"the loss of step {step} differs: {at.loss!r} or {line.loss!r}"
    if resumed_at is None:
        what = f"after step {step} there differ {_listed(names)}" if is_same_loss else loss
        return (
            f"even without an interruption two trainings are not the same: {what}:"
            " randomness that does not come from the run's seed?"
        )
    since = f"resumed at step {resumed_at} to exactly what was saved, but"
    if not is_same_loss:
        return f"{since} {loss}: state outside state_dict(), of the problem or its model?"
    hint = f" These attributes of it were not restored: {lost}." if lost else ""
    return (
        f"{since} after step {step} there differ {_listed(names)}:"
        f" does the optimizer keep state outside state_dict()?{hint}"
    )


def _is_same_loss(at: Line, line: Line) -> bool:
    """Whether both lines have the same last loss; a process without a step yet has none."""
    return line.loss is None or repr(at.loss) == repr(line.loss)  # NaN is NaN


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The names of values that differ, or that only one of the two has."""
    names = dict.fromkeys([*one, *other])
    return [name for name in names if one.get(name, _LACKS) != other.get(name, _LACKS)]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _VALUES_NAMED_MAX} more" if len(names) > _VALUES_NAMED_MAX else ""
    return ", ".join(names[:_VALUES_NAMED_MAX]) + more
