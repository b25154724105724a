"""Choosing some of a sweep's runs on the command line: `--only seed=42 --only optimizer=SGD`."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from jobs.errors import InputError
from jobs.sweep import PlannedRun, Sweep

_KEYS: Mapping[str, Callable[[PlannedRun], str]] = {
    "problem": lambda planned: planned.problem,
    "optimizer": lambda planned: planned.optimizer,
    "role": lambda planned: planned.role,
    "seed": lambda planned: str(planned.run.seed),
    "cell": lambda planned: planned.run.cell,
    "run": lambda planned: planned.run.id,
}
_BY_BEGINNING = {"cell", "run"}


def selection(sweep: Sweep, only: Sequence[str]) -> Callable[[PlannedRun], bool]:
    """Whether a run is chosen: it has, for every key that is named, one of the values.

    Args:
        sweep: whose runs.
        only: `key=value`, with problem, optimizer, role (tuning or evaluation), seed, cell or run;
            the last two by a beginning.
            A value may be a list with commas, seeds a range: `seed=42..44`.

    Raises:
        InputError: an unknown key, a value that no run has, or nothing chosen.
    """
    wanted: dict[str, set[str]] = {}
    for text in only:
        key, equals, values = text.partition("=")
        if key not in _KEYS or not equals:
            raise InputError(f"--only {text}: expected one of {', '.join(_KEYS)}, as in seed=42")
        is_one = any(
            _has(planned, key, values) for planned in sweep.runs
        )  # a label may have commas
        for value in [values] if is_one else values.split(","):
            wanted.setdefault(key, set()).update(_spread(key, value))
    for key, named in wanted.items():
        for value in sorted(named):
            if not any(_has(planned, key, value) for planned in sweep.runs):
                later = "; what follows from a choice is known once it is made"
                hint = later if sweep.undecided and key in {"role", "seed"} else ""
                raise InputError(f"--only {key}={value}: no run of {sweep.name} has it{hint}")

    def is_chosen(planned: PlannedRun) -> bool:
        return all(
            any(_has(planned, key, value) for value in values) for key, values in wanted.items()
        )

    if not any(map(is_chosen, sweep.runs)):
        raise InputError(f"--only {' --only '.join(only)}: no run has all of these")
    return is_chosen


def ranges(seeds: Iterable[int]) -> str:
    """Seeds as `seed=` takes them: `42..44, 50`."""
    return ", ".join(_runs_of(sorted(seeds)))


def _runs_of(numbers: Sequence[int]) -> Iterator[str]:
    first = 0
    for index in range(1, len(numbers) + 1):
        if index == len(numbers) or numbers[index] != numbers[index - 1] + 1:
            start, stop = numbers[first], numbers[index - 1]
            yield str(start) if start == stop else f"{start}..{stop}"
            first = index


def _spread(key: str, value: str) -> list[str]:
    first, dots, last = value.partition("..")
    if key == "seed" and dots and first.isdecimal() and last.isdecimal():
        return [str(seed) for seed in range(int(first), int(last) + 1)]
    return [value]


def _has(planned: PlannedRun, key: str, value: str) -> bool:
    found = _KEYS[key](planned)
    return found.startswith(value) if key in _BY_BEGINNING else found == value
