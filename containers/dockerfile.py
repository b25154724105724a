"""A user's Dockerfile becomes a definition file, by spython's parser and additions to it."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from containers import steps
from containers.definition import RECIPE_HASH, Definition, spaced
from containers.runtime import ContainerError
from containers.spython_adapter import (
    DockerParser,
    SingularityWriter,
    Stage,
    quiet_spython,
    written,
)

_IGNORED_INSTRUCTIONS = {"USER", "EXPOSE", "VOLUME", "STOPSIGNAL", "HEALTHCHECK", "MAINTAINER"}
"""Instructions without effect under Apptainer: the user inside is the calling one, and nothing listens,
or is supervised."""

_UNKNOWN_INSTRUCTIONS = {"ONBUILD", "SHELL"}
"""Instructions that have no equal in a definition file."""

_HEREDOC = re.compile(r"<<-?\s*([\"']?)(\w+)\1")
_WORD = re.compile(r"""(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+""")


def of_dockerfile(file: Path) -> Definition:
    """The definition of a Dockerfile with one stage, or several.

    Raises:
        ContainerError: the file cannot be read, or has an instruction without equal in a definition.
    """
    file = file.resolve()
    try:
        with quiet_spython(file):
            stages: Mapping[str, Stage] = _Parser(str(file)).recipe
    except (OSError, ValueError, LookupError, AttributeError) as error:
        raise ContainerError(f"{file}: not a Dockerfile that can be converted: {error}") from error
    _require_sound(stages, file)
    pinned = all(
        "@sha256:" in stage.fromHeader or stage.fromHeader in stages for stage in stages.values()
    )
    for stage in stages.values():
        stage.labels = [label.split("=", 1) for label in stage.labels]
        stage.install = [*steps.PRELUDE, *stage.install]
    last = list(stages.values())[-1]
    last.labels.append(["org.probprec.recipe", RECIPE_HASH])
    last.labels.append(["org.probprec.pinned", str(pinned).lower()])
    last.install += [f"mkdir -p {steps.FOLDER}", *steps.LABELS]
    copied = [source for stage in stages.values() for source, _ in stage.files]
    return Definition(
        name=file.stem if file.stem != "Dockerfile" else file.parent.name or "image",
        source=file,
        text=spaced(written(SingularityWriter(stages), file)),
        inputs=tuple(file.parent / source for source in copied),
        description=f"from {file.name}",
        pinned=pinned,
    )


class _Parser(DockerParser):  # type: ignore[misc]  # spython ships no types
    """A parser of whole instructions: continued lines, here-documents, quotes."""

    def parse(self) -> object:
        for instruction, text, body in _instructions([str(line) for line in self.lines]):
            if instruction in _UNKNOWN_INSTRUCTIONS:
                raise ValueError(f"{instruction} has no equal in a definition file")
            if instruction == "RUN":
                self._steps(text, body)
            elif body:
                raise ValueError(f"{instruction} with a here-document; write a file beside it")
            elif instruction not in _IGNORED_INSTRUCTIONS:
                line = f"{instruction} {self._named(instruction, text)}"
                read = self._get_mapping(line)
                if read == self._default:
                    raise ValueError(f"{instruction!r} is no instruction of a Dockerfile")
                read(line)
        return self.recipe

    def _named(self, instruction: str, text: str) -> str:
        """The text with a name for its stage, by which spython tells stages apart."""
        begun = [name for name, stage in self.recipe.items() if stage.fromHeader]
        if instruction == "FROM" and begun and not re.search(r"\sAS\s", text, re.IGNORECASE):
            return f"{text} AS stage-{len(begun)}"
        if source := re.match(r"--from=(\S+)(.*)", text):
            name = source[1]
            if name.isdecimal() and int(name) < len(begun):
                name = begun[int(name)]
            if name not in begun:
                raise ValueError(f"{instruction} --from={name}, which is no stage above")
            return f"--from={name}{source[2]}"
        return text

    def parse_env(self, envlist: Sequence[str]) -> list[str]:
        """The variables of `A=1 B="x y"` and of the old `A text`, quotes as they are."""
        text = " ".join(envlist)
        words = _WORD.findall(text)
        if words and "=" not in words[0]:
            name, _, value = text.partition(" ")
            if not value:
                raise ValueError(f"{name} has no value")
            return [f"{name}={steps.quoted(value.strip())}"]
        return list(words)

    def _env(self, line: str) -> None:
        found = self.parse_env([line.removeprefix("ENV ")])
        stage = self.recipe[self.active_layer]
        stage.install += [f"export {one}" for one in found]
        stage.environ += found

    def _label(self, line: str) -> None:
        found = self.parse_env([line.removeprefix("LABEL ")])
        pairs = (one.partition("=") for one in found)
        labels = [
            f"{name.strip(chr(34))}={' '.join(shlex.split(value))}" for name, _, value in pairs
        ]
        self.recipe[self.active_layer].labels += labels

    def _steps(self, text: str, body: list[str]) -> None:
        if text.startswith("--"):
            raise ValueError(f"RUN {text.split(maxsplit=1)[0]} is BuildKit's, and has no equal")
        if text.startswith("["):
            text = shlex.join(json.loads(text))
        if body and _HEREDOC.fullmatch(text):
            text = f"/bin/sh -e {text}"
        self.recipe[self.active_layer].install.append("\n".join([text, *body]))


def _instructions(lines: Sequence[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Each instruction in capitals, its text on one line, and the lines of its here-documents."""
    rest = iter([line.rstrip("\r\n") for line in lines])
    for line in rest:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        while text.endswith("\\"):
            more = next(rest, "").strip()
            if not more.startswith("#"):
                text = f"{text[:-1].rstrip()} {more}"
        instruction, _, text = text.partition(" ")
        body: list[str] = []
        for _, end in _HEREDOC.findall(text):
            for inner in rest:
                body.append(inner)
                if inner.strip() == end:
                    break
            else:
                raise ValueError(f"the here-document {end} has no end")
        yield instruction.upper(), text.strip(), body


def _require_sound(stages: Mapping[str, Stage], file: Path) -> None:
    for stage in stages.values():
        if not stage.fromHeader or not stage.fromHeader.strip():
            raise ContainerError(f"{file}: no FROM line, so it is not a Dockerfile")
        stage.fromHeader = stage.fromHeader.strip()
        for source, _ in stage.files:
            if "*" in source or not (file.parent / source).exists():
                raise ContainerError(
                    f"{file}: copies {source}, which is not in {file.parent}"
                    " (a definition file knows no patterns)"
                )
