"""The parts of a report: a checklist, charts, methods; `page` makes one HTML file of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How well an answer would please a reviewer."""

    GOOD = "good"
    CAUTION = "caution"
    BAD = "bad"


@dataclass(frozen=True, kw_only=True)
class Check:
    """A line of a reviewer's checklist has a question, and how the results answer it."""

    question: str
    level: Level
    answer: str  # one line, with its numbers
    runs: tuple[str, ...] = ()  # ids of the runs that are in the way


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart is a Vega-Lite specification with all its data, and a caption."""

    name: str  # its anchor in the page
    title: str
    caption: str
    spec: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Methods:
    """The methods say how the numbers were made, in sentences to copy."""

    paragraphs: tuple[str, ...]
    references: tuple[str, ...]
    versions: Mapping[str, str]  # by package
