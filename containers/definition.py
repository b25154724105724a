"""A recipe becomes the definition file that Apptainer and Singularity build from, or a Dockerfile."""

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from containers import steps
from containers.recipe import Recipe
from containers.runtime import ContainerError
from containers.spython_adapter import DockerWriter, SingularityWriter, Stage, written

MIRROR = "@MIRROR@"
RECIPE_HASH = "@RECIPE@"
"""Placeholders are filled in at the build, so that the key does not depend on the machine."""

_SECTION = re.compile(
    r"^(?=%(?:files|labels|post|environment|runscript|startscript|test)\b)", re.MULTILINE
)


@dataclass(frozen=True, kw_only=True)
class Definition:
    """The definition of an image: all that decides about its content."""

    name: str
    source: Path  # the recipe or Dockerfile, absolute
    text: str  # with the two placeholders
    inputs: tuple[Path, ...] = ()  # files and folders that are copied in or built upon, absolute
    description: str = ""
    torch: str | None = None
    pinned: bool = True

    @property
    def folder(self) -> Path:
        """The folder in which relative paths start, and in which the image has to be built."""
        return self.source.parent

    @property
    def needs_mirror(self) -> bool:
        """Whether the machine that builds has to name a Debian mirror."""
        return MIRROR in self.text

    @cached_property
    def key(self) -> str:
        """The sha256 over the text and all files that are copied in.

        Raises:
            ContainerError: one of the files cannot be read.
        """
        found = hashlib.sha256(self.text.encode())
        try:
            for path in self.inputs:
                for file in _files_below(path):
                    found.update(f"\0{file.relative_to(path.parent)}\0".encode())
                    found.update(_content(file))
        except OSError as error:
            raise ContainerError(
                f"{error.filename}: {error.strerror}; {self.source} copies it into the image"
            ) from error
        return found.hexdigest()

    def final(self, mirror: str | None) -> str:
        """The text to build from."""
        return self.text.replace(RECIPE_HASH, self.key).replace(MIRROR, mirror or MIRROR)


def of_recipe(recipe: Recipe) -> Definition:
    """The definition of a recipe."""
    stage = _stage(recipe)
    stage.labels = [
        ["org.probprec.recipe", RECIPE_HASH],
        ["org.probprec.pinned", str(recipe.pinned).lower()],
        *([name, value] for name, value in recipe.labels.items()),
    ]
    forget = [steps.FORGET_LABELS] if recipe.base.kind == "localimage" else []
    stage.install = [*steps.PRELUDE, *forget, *steps.install(recipe), *steps.LABELS]
    stage.test = steps.TEST if recipe.python else None
    text = written(_Definition(stage, recipe), recipe.file)
    return Definition(
        name=recipe.name,
        source=recipe.file,
        text=f"# probprec: build it in the folder of {recipe.file.name}\n{text}",
        inputs=_inputs(recipe),
        description=recipe.description,
        torch=recipe.torch,
        pinned=recipe.pinned,
    )


def dockerfile(recipe: Recipe) -> str:
    """A Dockerfile of the recipe (BuildKit's syntax, for the files that are written by `RUN`).

    Raises:
        ContainerError: Docker cannot pull the recipe's base.
    """
    if recipe.base.kind != "docker":
        raise ContainerError(
            f"{recipe.file}: a Dockerfile starts from an image of a registry, this recipe from"
            f" {recipe.base.kind} {recipe.base.name}; give it `base: {{docker: NAME@sha256:...}}`,"
            " or print the definition"
        )
    stage = _stage(recipe)
    stage.labels = [f"{name}={steps.quoted(value)}" for name, value in recipe.labels.items()]
    install = [*steps.install(recipe), *([steps.TEST] if recipe.python else [])]
    stage.install = [_docker_step(step) for step in install]
    text = written(DockerWriter({recipe.name: stage}), recipe.file)
    return f"# syntax=docker/dockerfile:1\n{text}\n"


def _docker_step(step: str) -> str:
    """A step as `RUN` takes it; several lines that are no single command become a script."""
    if "\n" in step and "\\\n" not in step and "<<" not in step:
        step = f"/bin/sh -e <<'END_OF_STEP'\n{step}\nEND_OF_STEP"
    # spython's writer takes a line with USER in it for an instruction of Docker.
    return f"RUN {step}" if "USER" in step else step


class _Definition(SingularityWriter):  # type: ignore[misc]  # spython ships no types
    """A writer of one stage on any base; spython's own writes `Bootstrap: docker`."""

    def __init__(self, stage: Stage, recipe: Recipe) -> None:
        super().__init__({"final": stage})
        self._recipe = recipe

    def convert(self, runscript: str = "python3", force: bool = False) -> str:
        text: str = super().convert(runscript, force)
        _, _, sections = text.partition("Stage: final\n")
        return "\n".join([*_header(self._recipe), spaced(sections)])


def _header(recipe: Recipe) -> Iterator[str]:
    base = recipe.base
    yield f"Bootstrap: {base.kind}"
    if base.kind == "debootstrap":
        python = ["python3", "python3-venv"] if recipe.python else []
        yield f"OSVersion: {base.name}"
        yield f"MirrorURL: {base.mirror or MIRROR}"
        yield f"Include: {' '.join(dict.fromkeys([*python, *recipe.apt]))}".rstrip()
    else:
        yield f"From: {base.name}"


def _stage(recipe: Recipe) -> Stage:
    """The stage that the definition and the Dockerfile have in common."""
    stage = Stage(str(recipe.file))
    stage.fromHeader = recipe.base.name
    stage.files = [[source, inside] for source, inside in recipe.files.items()]
    if recipe.toolkit:
        where = _relative(recipe.toolkit, recipe.folder)
        inside = f"{steps.FOLDER}/toolkit"
        stage.files += [[f"{where}/{part}", f"{inside}/{part}"] for part in steps.TOOLKIT]
    stage.environ = steps.environment(recipe)
    return stage


def _relative(path: Path, folder: Path) -> str:
    """The relative path, so that a checkout's definition is the same wherever it lies."""
    return os.path.relpath(path, folder)


def _inputs(recipe: Recipe) -> tuple[Path, ...]:
    found = [recipe.folder / source for source in recipe.files]
    if recipe.toolkit:
        found += [recipe.toolkit / part for part in steps.TOOLKIT]
    if recipe.base.kind == "localimage":
        found.append(recipe.folder / recipe.base.name)
    return tuple(path.absolute() for path in found)


def _files_below(path: Path) -> Iterator[Path]:
    """The file itself, or all files and links of a folder in order, without compiled Python."""
    if path.is_symlink() or not path.is_dir():
        yield path
        return
    for child in sorted(path.iterdir()):
        if child.name != "__pycache__":
            yield from _files_below(child)


def _content(file: Path) -> bytes:
    """The content of a file for the key: a hash of its bytes, a link's target, or the kind of file."""
    state = file.lstat()
    if stat.S_ISLNK(state.st_mode):
        return os.fsencode(file.readlink())
    if not stat.S_ISREG(state.st_mode):
        return str(stat.S_IFMT(state.st_mode)).encode()
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").digest()
    return bytes([state.st_mode & 0o111 != 0]) + digest


def spaced(text: str) -> str:
    """The text with an empty line before each section, for readers."""
    return _SECTION.sub("\n", text) + "\n"
