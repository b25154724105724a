"""A hyperparameter may refer to a number that only the training knows: `total_steps: ${steps}`."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

from jobs.canonical import Value
from jobs.sweep import Run

_REFERENCE = re.compile(r"\$\{(.*)\}", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """The numbers of a training that a hyperparameter may refer to, by these names."""

    steps: int  # of the whole training
    epochs: int
    steps_per_epoch: int
    batch_size: int

    @classmethod
    def of(cls, run: Run, steps_per_epoch: int) -> Self:
        """The numbers of a run whose problem has so many steps per epoch."""
        return cls(
            steps=run.epochs * steps_per_epoch,
            epochs=run.epochs,
            steps_per_epoch=steps_per_epoch,
            batch_size=run.batch_size,
        )


NAMES = tuple(Numbers.__dataclass_fields__)


def name_in(value: object) -> str | None:
    """The name in `${name}`, known or not; None: the value is no reference."""
    found = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    return found[1] if found else None


def all_resolved(values: Mapping[str, Value], numbers: Numbers) -> dict[str, Value]:
    """The hyperparameters with numbers in the place of references."""
    return {name: resolved(value, numbers) for name, value in values.items()}


def resolved(value: Value, numbers: Numbers) -> Value:
    """The value with numbers in the place of references, also inside lists and mappings."""
    if isinstance(value, list):
        return [resolved(one, numbers) for one in value]
    if isinstance(value, Mapping):
        return all_resolved(value, numbers)
    name = name_in(value)
    return asdict(numbers)[name] if name in NAMES else value
