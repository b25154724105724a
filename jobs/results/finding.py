"""A finding is what a reader of the numbers must know: with a code, its runs, and what it forbids."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Forbidden = Literal["mean", "comparison", "time"]
"""A mean over the runs of one cell, a comparison of cells, a ratio of their times."""

FORBIDS: Mapping[str, Forbidden | None] = {
    # what lies in a sweep's folder
    "unreadable": None,
    "leftover": None,
    "set_aside": None,
    "stranger": None,
    "misplaced": None,
    "duplicate": None,
    "conflict": "mean",
    "extra_runs": None,
    # how several sweeps go together
    "told_apart": None,
    "shared_runs": None,
    # what was chosen
    "undecided": "comparison",
    "vanished_records": "comparison",
    # where the numbers come from
    "mixed_code": "comparison",
    "mixed_own_code": "comparison",
    "mixed_image": "comparison",
    "mixed_packages": "comparison",
    "mixed_environment": "comparison",
    "mixed_data": "comparison",
    "mixed_splits": "comparison",
    "mixed_hardware": "comparison",
    "mixed_machine": "time",
    "mixed_cell": "mean",
    "dirty_code": None,
    "unverified_data": None,
    # what the numbers are
    "holes": "mean",
    "collapsed": None,
    "exploded": None,
    # how settings and optimizers are compared
    "unequal_seeds": None,
    "incomplete": None,
    "unequal_budgets": None,
    "unequal_training": None,
    "grid_edge": None,
    "same_seeds": None,
    "nothing_selected": "comparison",
}
"""What each finding forbids, by its code; None: nothing, but a reader must know it."""


@dataclass(frozen=True)
class Finding:
    """Something that a reader of the numbers must know."""

    code: str  # of FORBIDS
    text: str  # one line, for a person
    runs: tuple[str, ...] = ()  # ids of the runs that it is about, where it is about runs

    @property
    def forbids(self) -> Forbidden | None:
        """What must not be computed from these runs."""
        return FORBIDS[self.code]

    def __str__(self) -> str:
        """The line for a person."""
        return self.text

    def to_json(self) -> dict[str, Any]:
        """An entry of `ledger.json`."""
        return {
            "code": self.code,
            "text": self.text,
            "forbids": self.forbids,
            "runs": list(self.runs),
        }
