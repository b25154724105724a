"""The seeds of a spec are written as `42` or `42..51`."""

import re

MAX_SEED = 2**32 - 1
_MAX_SEEDS = 100_000


def parse_seeds(value: object) -> tuple[int, ...]:
    """The seeds of `42` or `"42..51"` (both ends included).

    Raises:
        ValueError: the value is neither, or runs backwards, or out of bounds.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        first = last = value
    else:
        match = re.fullmatch(r"(\d{1,10})\s*\.\.\s*(\d{1,10})", str(value))
        if match is None:
            raise ValueError(
                f"expected seeds like 42 or 42..51, found {value!r}{_hint(str(value))}"
            )
        first, last = int(match[1]), int(match[2])
    if not 0 <= first <= MAX_SEED or not 0 <= last <= MAX_SEED:
        raise ValueError(f"expected seeds from 0 to {MAX_SEED}, found {value}")
    if last < first:
        raise ValueError(f"the range {value} runs backwards; write {last}..{first}")
    if last - first >= _MAX_SEEDS:
        raise ValueError(f"the range {value} holds more than {_MAX_SEEDS:,} seeds")
    return tuple(range(first, last + 1))


def _hint(text: str) -> str:
    if text.strip().isdigit():
        return "; write it without quotes"
    match = re.fullmatch(r"(\d+)\s*(?:-|:|\.\.\.|to|,)\s*(\d+)", text.strip())
    return f"; a range is written {match[1]}..{match[2]}" if match else ""
