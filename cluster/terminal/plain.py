"""Foreign text is printed letter for letter: never as markup, an emoji's code or a terminal's command.

Labels, settings, paths, messages of logs and of Slurm come to a screen through this module.
"""

import shlex
from typing import Any

from rich.console import Console
from rich.text import Text

from jobs.text import printable, printable_lines

_WIDTH_COLUMNS = 80  # of a terminal that does not know its width


class PlainConsole(Console):
    """The console of every command: strings, those in tables too, are printed letter for letter."""

    def __init__(
        self, *, stderr: bool = False, soft_wrap: bool = False, width: int | None = None
    ) -> None:
        super().__init__(
            stderr=stderr,
            soft_wrap=soft_wrap,
            width=width,
            markup=False,
            emoji=False,
            highlight=False,
        )
        if self.width < 1:  # COLUMNS=0, as some terminals set it
            self.width = _WIDTH_COLUMNS

    def render_str(self, text: str, **options: Any) -> Text:
        """The string as rich prints it; control characters are spelled out, save for new lines."""
        return super().render_str(printable_lines(text), **options)


def plain(text: object, style: str = "") -> Text:
    """The text for rich's tables and consoles, letter for letter and on one line."""
    return Text(printable(str(text)), style=style)


def command(*words: object) -> str:
    """A command of probprec to copy into a shell: `probprec status 'my sweeps/x' --watch`."""
    return shlex.join(["probprec", *map(str, words)])


def to_copy(text: str, style: str = "") -> Text:
    """A line with a command to copy; new lines within its quotes belong to the command, and stay."""
    return Text(printable_lines(text), style=style)
