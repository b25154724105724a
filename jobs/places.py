"""Paths in a profile or a spec: `~`, `$NAME` and `${NAME}` are expanded, once."""

import os
import pwd
import re

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})", re.ASCII)


def expanded(text: str) -> str:
    """The path with its `~`, `~user` and variables replaced; their values are not expanded again.

    `$USER` is the user of this process, even if the variable is missing or another user's.

    Raises:
        ValueError: a variable is not set here, there is no such user, or the text is no path.
    """
    if not text.isprintable():
        raise ValueError(f"expected a path, found {text!r}: it holds what cannot be seen")
    unset = [match[0] for match in _VARIABLE.finditer(text) if _value(match) is None]
    if unset:
        raise ValueError(f"{', '.join(dict.fromkeys(unset))} in {text!r} is not set here")
    head, slash, rest = text.partition("/")
    if head.startswith("~"):
        home = os.path.expanduser(head)  # noqa: PTH111 - Path raises for ~nobody
        if home == head:
            raise ValueError(f"{head} in {text!r} is no user's home here")
    else:
        home = _VARIABLE.sub(lambda match: _value(match) or "", head)
    return home + slash + _VARIABLE.sub(lambda match: _value(match) or "", rest)


def _value(match: "re.Match[str]") -> str | None:
    name = match[1] or match[2]
    return _user() if name == "USER" else os.environ.get(name)


def _user() -> str | None:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # on some nodes users have no names
        return os.environ.get("USER")
