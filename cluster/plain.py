"""Text that others wrote, for the screen: never markup, an emoji's code or a terminal's command."""

from rich.text import Text

from jobs.text import printable


def plain(text: object, style: str = "") -> Text:
    """The text for rich's tables and consoles, letter for letter and on one line."""
    return Text(printable(str(text)), style=style)
