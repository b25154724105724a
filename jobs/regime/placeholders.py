"""Hyperparameters that stand for what a training knows: `total_steps: ${steps}`."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

from jobs.canonical import Value
from jobs.sweep import Run

_FORM = re.compile(r"\$\{(.*)\}", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What a hyperparameter may refer to by its name here."""

    steps: int  # of the whole training
    epochs: int
    steps_per_epoch: int
    batch_size: int

    @classmethod
    def of(cls, run: Run, steps_per_epoch: int) -> Self:
        """Those of a run of a problem with so many steps."""
        return cls(
            steps=run.epochs * steps_per_epoch,
            epochs=run.epochs,
            steps_per_epoch=steps_per_epoch,
            batch_size=run.batch_size,
        )


NAMES = tuple(Numbers.__dataclass_fields__)


def name_in(value: object) -> str | None:
    """The name in `${name}`, whether there is such a number or not; None: it is no reference."""
    found = _FORM.fullmatch(value) if isinstance(value, str) else None
    return found[1] if found else None


def all_resolved(values: Mapping[str, Value], numbers: Numbers) -> dict[str, Value]:
    """Hyperparameters with numbers in the place of references."""
    return {name: resolved(value, numbers) for name, value in values.items()}


def resolved(value: Value, numbers: Numbers) -> Value:
    """The value with numbers in the place of references, also inside lists and mappings."""
    if isinstance(value, list):
        return [resolved(one, numbers) for one in value]
    if isinstance(value, Mapping):
        return all_resolved(value, numbers)
    name = name_in(value)
    return asdict(numbers)[name] if name in NAMES else value
