"""Standard output may be closed, full, or of an encoding that lacks characters."""

import codecs
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

_ASCII = {"±": "+-", "━": "=", "…": "..."}
"""Our own characters in an encoding that lacks them; Python escapes all others."""


def prepare() -> None:
    """Make standard output and error take any text; a closed one drops it."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # as after `>&-`
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115 - until the end
    codecs.register_error("plain", _plain)
    if getattr(sys.stdout, "errors", "") == "strict" and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="plain")


def print_json(content: Mapping[str, Any]) -> None:
    """Print the one JSON object of `--json`."""
    sys.stdout.write(f"{json.dumps(content, indent=1)}\n")


def print_errors(error: Exception, text: str) -> None:
    """Print an error as one JSON object: all mistakes of a file, or the text as it is."""
    from dataclasses import asdict

    mistakes = [asdict(mistake) for mistake in getattr(error, "mistakes", ())]
    content = {"schema": 1, "errors": mistakes or [{"message": text}]}
    with suppress(OSError):  # standard output itself may be full
        print_json(content)


def drop_rest() -> None:
    """Drop text that standard output cannot write, so that Python does not report it again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    escaped = (_ASCII.get(one) or one.encode("ascii", "backslashreplace").decode() for one in text)
    return "".join(escaped), error.end
