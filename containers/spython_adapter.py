"""spython parses Dockerfiles and writes definitions; only this module imports spython."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spython.logger import bot
from spython.main.parse.parsers import DockerParser
from spython.main.parse.recipe import Recipe as Stage
from spython.main.parse.writers import DockerWriter, SingularityWriter

from containers.runtime import ContainerError

__all__ = ["DockerParser", "DockerWriter", "SingularityWriter", "Stage", "quiet_spython", "written"]


def written(writer: Any, file: Path) -> str:
    """The text that one of spython's writers writes."""
    with quiet_spython(file):
        return str(writer.convert())


@contextmanager
def quiet_spython(file: Path) -> Iterator[None]:
    """Run spython without its messages; where it would exit, raise a ContainerError."""
    said = io.StringIO()
    before = (bot.errorStream, bot.outputStream, bot.colorize)
    bot.errorStream = bot.outputStream = said
    bot.colorize = False
    try:
        yield
    except SystemExit:
        text = " ".join(said.getvalue().split())
        raise ContainerError(f"{file}: spython cannot convert it: {text}") from None
    finally:
        bot.errorStream, bot.outputStream, bot.colorize = before
