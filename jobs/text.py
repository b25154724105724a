"""Text by users and other programs (labels, paths, messages), and how values are shown."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

_NAME_KEYS = ("class", "name")  # in a setting with settings of its own


def printable(text: str) -> str:
    r"""The text on one line: characters that cannot be printed are escaped (`\n`, `\x1b`)."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def printable_lines(text: str) -> str:
    """The text line by line, each line made `printable`."""
    return "\n".join(map(printable, text.split("\n")))


def spelled(value: object, *, exact: bool = False) -> str:
    """A setting's value for a person: `0.1129`, `cosine(warmup=0.1)`, `AdamW(lr=0.01)`.

    Args:
        value: Any value that a spec may give.
        exact: Whether numbers are shown with all digits; else with four.
    """
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        return repr(value) if exact else f"{value:.4g}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(spelled(one, exact=exact) for one in value)}]"
    if not isinstance(value, Mapping):
        return str(value)
    called = next((key for key in _NAME_KEYS if isinstance(value.get(key), str)), None)
    inner = ", ".join(
        f"{key}={spelled(one, exact=exact)}" for key, one in value.items() if key != called
    )
    if called is None:
        return f"{{{inner}}}"
    name = _without_torch(value[called])
    return f"{name}({inner})" if inner else name


def described(setting: Mapping[str, object], *, exact: bool = False) -> str:
    """A setting for a person: `lr=0.1, batch_size=32`; `exact`: with all digits."""
    return ", ".join(f"{key}={spelled(value, exact=exact)}" for key, value in setting.items())


def _without_torch(path: str) -> str:
    """The name of an optimizer or scheduler class of torch; of another class, its whole path."""
    package, _, name = path.rpartition(".")
    return name if package in ("torch.optim", "torch.optim.lr_scheduler") else path


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
