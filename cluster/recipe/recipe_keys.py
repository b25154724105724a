"""The keys of an image's recipe, and the words for each in an error."""

from typing import Annotated

from pydantic import AfterValidator, Field

from jobs.yaml.keys import Expected, Path
from jobs.yaml.model_base import A_VARIABLE, Strict, Text, Variable, Word
from jobs.yaml.translate import Form
from jobs.yaml.tree import Node, ScalarNode

A_BASE = "one of {docker: NAME@sha256:...}, {debootstrap: SUITE}, {localimage: PATH}"


def _line(value: str) -> str:
    if "\n" in value or "\r" in value:
        raise ValueError("expected one line, found several")
    return value


def _step(value: str) -> str:
    if any(line.startswith("%") for line in value.splitlines()):
        raise ValueError("a line that begins with % would begin a section of the definition")
    return value.rstrip()


def _inside(value: str) -> str:
    if not value.startswith("/") or any(sign in value for sign in " \t\n"):
        raise ValueError(f"expected an absolute path inside without spaces, found {value!r}")
    return value


Line = Annotated[str, Field(min_length=1), AfterValidator(_line)]
OneLine = Annotated[Text, AfterValidator(_line)]
Step = Annotated[str, Field(min_length=1), AfterValidator(_step)]
Inside = Annotated[str, AfterValidator(_inside)]
Url = Annotated[str, Field(pattern=r"^[a-z+]+://\S+$")]
Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
AptName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+:-]+(=[A-Za-z0-9.+:~-]+)?$")]


class BaseFile(Strict):
    """The base that an image starts from."""

    docker: Word | None = Field(default=None, description="NAME@sha256:DIGEST")
    debootstrap: Word | None = Field(default=None, description="a Debian suite like bookworm")
    mirror: Word | None = Field(default=None, description="the URL of a Debian mirror")
    localimage: Line | None = Field(
        default=None, description="the path of a .sif file or of an unpacked tree"
    )


class RecipeFile(Strict):
    """The keys of a recipe."""

    description: Line | None = Field(default=None, description="a line of text")
    base: BaseFile | None = Field(default=None, description=A_BASE)
    python: Annotated[str, Field(pattern=r"^\d+\.\d+$")] | None = Field(
        default=None, description='a version in quotes like "3.11"'
    )
    apt: list[Annotated[AptName, Expected("the name of a Debian package")]] | None = Field(
        default=None, description="a list of packages like [git]"
    )
    pip: list[Annotated[Line, Expected("a requirement like numpy==2.0")]] | None = Field(
        default=None, description="a list of requirements like [numpy, torch==2.13.0]"
    )
    constraints: Line | None = Field(default=None, description="the path of a constraints file")
    torch: Annotated[str, Field(pattern=r"^(cpu|cu\d+|rocm[\d.]+)$")] | None = Field(
        default=None, description="the build of torch: cpu, or cu126 for CUDA 12.6"
    )
    index: list[Annotated[Url, Expected("a URL")]] | None = Field(
        default=None, description="a list of URLs of package indexes"
    )
    files: (
        dict[Word, Annotated[Inside, Expected("paths without spaces; the one inside absolute")]]
        | None
    ) = Field(default=None, description="a mapping from paths here to paths inside")
    environment: dict[Variable, Annotated[OneLine, Expected(A_VARIABLE)]] | None = Field(
        default=None, description="a mapping from names of variables to text"
    )
    labels: dict[Label, Annotated[OneLine, Expected("a name without spaces, and text")]] | None = (
        Field(default=None, description="a mapping from names without spaces to text")
    )
    toolkit: bool | None = Field(default=None, description="true or false")
    post: list[Annotated[Step, Expected("a shell line")]] | None = Field(
        default=None, description="a list of shell lines"
    )
    pinned: bool | None = Field(default=None, description="true or false")


def _hint(path: Path, node: Node) -> str:
    if isinstance(node, ScalarNode):
        if type(node.value) in {int, float, bool} and path[0] in {
            "python",
            "environment",
            "labels",
        }:
            return "; write it in quotes"
        if path[-1] in {"apt", "pip", "index", "post"} and isinstance(node.value, str):
            return f"; write [{node.value}]"
        if path == ("base",) and isinstance(node.value, str):
            return f"; write {{docker: {node.value}}}"
    return ""


FORM = Form(model=RecipeFile, required=("base",), hint=_hint)
