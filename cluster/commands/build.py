"""The command `probprec build` builds an image from a recipe or a Dockerfile, once."""

import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Self

from rich.console import Console
from rich.status import Status
from rich.text import Text

from cluster.terminal.exit_codes import DONE
from cluster.terminal.output import print_json
from cluster.terminal.plain import PlainConsole, plain
from containers import build as building
from containers import definition as definitions
from containers import settings
from containers.definition import Definition
from containers.images import Image
from jobs.errors import InputError
from jobs.units import megabytes

SCHEMA = 1

_STAGES = (
    ("test", re.compile("Running testscript")),
    ("squash", re.compile("Creating SIF file")),
    ("files", re.compile("Copying .* to ")),
    ("pip", re.compile(r"^\+ .*\bpip3? install|^Collecting |^Installing collected")),
    ("apt", re.compile(r"^\+ apt(-get)?\b")),
    (
        "bootstrap",
        re.compile(r"Starting build|^I: (Retrieving|Unpacking|Configuring)|Copying blob"),
    ),
)
"""The stage of a build, by patterns for the runtime's lines."""

_SILENCE_S = 30.0
"""A stage that says nothing for this long gets another line in a log."""


def build(recipe: Path, images: Path, *, show: str | None, as_json: bool) -> int:
    """Build an image, unless it is built already.

    Args:
        recipe: a recipe's YAML file, or a Dockerfile.
        images: the folder that images live in.
        show: only print what would be built: "definition" or "dockerfile".
        as_json: print one JSON object; all else goes to stderr.

    Raises:
        InputError: the recipe has mistakes: all of them.
        ContainerError: there is no runtime, or the build failed.
        OSError: the folder cannot be written to.
    """
    console = PlainConsole(stderr=as_json, soft_wrap=True)
    if show is not None:
        return _show(recipe, show, as_json=as_json)
    definition = definition_of(recipe)
    found = building.built(definition, images)
    image = found or _build(definition, images, console)
    if as_json:
        content = {**image.meta, "path": str(image.path), "already": found is not None}
        print_json({**content, "schema": SCHEMA})
    else:
        _say(image, already=found is not None)
    return DONE


def definition_of(recipe: Path) -> Definition:
    """The definition that a recipe or a Dockerfile gives.

    Raises:
        InputError: mistakes in the recipe: all of them.
        ContainerError: a Dockerfile that cannot be converted.
    """
    if recipe.suffix in {".yaml", ".yml"}:
        from cluster.recipe.recipe_file import read_recipe

        return definitions.of_recipe(read_recipe(recipe))
    from containers.dockerfile import of_dockerfile

    return of_dockerfile(recipe)


def _show(recipe: Path, show: str, *, as_json: bool) -> int:
    if show == "dockerfile":
        if recipe.suffix not in {".yaml", ".yml"}:
            raise InputError(f"{recipe} is a Dockerfile already")
        from cluster.recipe.recipe_file import read_recipe

        text = definitions.dockerfile(read_recipe(recipe))
    else:
        definition = definition_of(recipe)
        text = definition.final(settings.apt_mirror() if definition.needs_mirror else None)
    if as_json:
        print_json({"schema": SCHEMA, show: text})
    else:
        sys.stdout.write(text)
    return DONE


def _build(definition: Definition, images: Path, console: Console) -> Image:
    progress = _Progress(definition.name, console)
    with _ended_by_signals(), progress:
        return building.build(
            definition,
            images,
            on_line=progress.line,
            on_tick=progress.tick,
            on_wait=progress.wait_for_another,
        )


class _Progress:
    """The progress of a build, on a terminal one line: the stage, the time, and the runtime's last line.

    In a log each stage is a line, and a silent stage gets one now and then.
    """

    def __init__(self, name: str, console: Console) -> None:
        self._name, self._console = name, console
        self._started = self._told = time.monotonic()
        self._stage = self._said = ""
        self._size = 0
        self._status = Status(self._text(), console=console)

    def __enter__(self) -> Self:
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def line(self, line: str) -> None:
        """Show a line that the runtime said."""
        stage = next((name for name, said in _STAGES if said.search(line)), self._stage)
        if stage != self._stage:
            self._stage, self._said = stage, ""
            self._tell()
        self._said = line.strip() or self._said
        self._status.update(self._text())

    def tick(self, size: int) -> None:
        """Show the image's size while the runtime says nothing."""
        self._size = size
        self._status.update(self._text())
        if time.monotonic() - self._told >= _SILENCE_S:
            self._tell()

    def _tell(self) -> None:
        self._told = time.monotonic()
        if not self._console.is_terminal:
            self._console.print(self._text())

    def wait_for_another(self) -> None:
        """Show that another process builds this image."""
        text = f"{self._name} is being built by somebody else; waiting for it"
        self._console.print(plain(text, "yellow"))

    def _text(self) -> Text:
        seconds = time.monotonic() - self._started
        grown = f", {megabytes(self._size)}" if self._stage == "squash" and self._size else ""
        head = f"{self._name}: {self._stage or 'begin'} ({seconds:.0f} s{grown})"
        room = max(0, self._console.width - len(head) - 6)
        return plain(f"{head}  ") + plain(self._said[:room], "dim")


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Within this context SIGTERM and SIGHUP end a build as Ctrl-C does: nothing of it is left."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {one: signal.signal(one, interrupt) for one in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _say(image: Image, *, already: bool) -> None:
    console = PlainConsole(soft_wrap=True)
    how = "is there already" if already else f"built in {image.meta['seconds']:.0f} s"
    console.print(plain(f"{image.path}: {how}, {megabytes(image.meta['size'])}"))
    console.print(plain(f"sha256 {image.sha256}", "dim"))
    if not image.meta["pinned"]:
        console.print(plain("not pinned: building it again may give another image", "yellow"))
    console.print(plain(f"next: write `image: {image.path}` in the profile", "dim"))
