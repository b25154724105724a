"""The options of a figure say what it shows."""

from collections.abc import Mapping
from dataclasses import dataclass

from jobs.results.reading import Unit


@dataclass(frozen=True, kw_only=True)
class FigureOptions:
    """What a figure is to show; each takes some of these, as `jobs.results.figures` says."""

    metric: str | None = None  # None: the problem's own
    valid: bool = False  # validation data instead of test data
    test: bool = False  # test data instead of validation data
    zoom: bool = False  # the last half of the budget
    x: Unit = "epochs"
    every: bool = False  # setting, and not the selected one alone

    @property
    def given(self) -> Mapping[str, str]:
        """What is not as by default: options, and what is told of them in the name of a file."""
        words = {
            "metric": self.metric or "",
            "valid": "valid" if self.valid else "",
            "test": "test" if self.test else "",
            "zoom": "zoom" if self.zoom else "",
            "x": "" if self.x == "epochs" else self.x,
            "all": "all" if self.every else "",
        }
        return {option: word for option, word in words.items() if word}

    def stem(self, figure: str) -> str:
        """The name of the figure's files, without its ending: `grid_zoom`."""
        return "_".join((figure, *self.given.values()))


DEFAULTS = FigureOptions()
"""The options of a figure where none is given."""
