"""The mistakes in a file that a person wrote: position, found text, expected text."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jobs.errors import InputError
from jobs.text import printable


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a file, counted from 1; line 0 means not in a file (`--set epochs`)."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """`file:line:column`."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake in a file, with its position and a message."""

    file: str
    line: int
    column: int
    path: str  # the key's path: "optimizers.SGD.lr"; empty: the file as a whole
    message: str

    @classmethod
    def at(cls, place: Place, path: str, message: str) -> "Mistake":
        """The mistake at `place`."""
        return cls(place.file, place.line, place.column, path, message)

    @property
    def place(self) -> Place:
        """The position of the mistake."""
        return Place(self.file, self.line, self.column)

    def __str__(self) -> str:
        """`file:line:column: path: message`; a label in the path stays on this line."""
        parts = (str(self.place), printable(self.path), self.message)
        return ": ".join(part for part in parts if part)


class SpecError(InputError):
    """All mistakes in a spec, one per line."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes: tuple[Mistake, ...] = tuple(dict.fromkeys(mistakes))
        super().__init__("\n".join(map(str, self.mistakes)))


def in_reading_order(mistakes: Iterable[Mistake], sources: Iterable[str]) -> list[Mistake]:
    """The mistakes in the order in which a reader of the files in `sources` meets them."""
    files = {file: order for order, file in enumerate(sources)}

    def position(mistake: Mistake) -> tuple[int, int, int]:
        return files.get(mistake.file, -1), mistake.line, mistake.column

    return sorted(mistakes, key=position)


def did_you_mean(name: str, names: Iterable[str], cutoff: float = 0.6) -> str:
    """`; did you mean 'x'?` for the nearest of `names`; empty where none is near."""
    by_lower = {known.lower(): known for known in names}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=cutoff)
    return f"; did you mean {by_lower[near[0]]!r}?" if near else ""


def listed(names: Sequence[str], limit: int = 20) -> str:
    """`a, b, c`, cut after `limit` names."""
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")
