"""Text that others wrote: labels, paths, messages."""


def printable(text: str) -> str:
    r"""The text on one line: what moves a cursor, or has no shape, is spelled out (`\n`, `\x1b`)."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def printable_lines(text: str) -> str:
    """The text with its lines, each of them as `printable` has it."""
    return "\n".join(map(printable, text.split("\n")))
