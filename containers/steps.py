"""A recipe becomes shell steps of a build.

Each step stands alone, so that it can be a line of %post or a `RUN` of a Dockerfile.
"""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from containers.recipe import Recipe

FOLDER = "/.probprec"
"""The folder in an image for the files that it was made from, and the test."""

PACKAGES = f"{FOLDER}/packages.txt"
VENV = "/opt/venv"
MOUNT = "/mnt"
"""The folder, which any base has, that the settings of the building user are bound to."""

SETTINGS = f"{MOUNT}/probprec"

PRELUDE = (
    "set -e",
    "umask 022",
    "# the package indexes and proxies of whoever builds; nothing of it stays in the image",
    f"if [ -e {SETTINGS}/environment ]; then . {SETTINGS}/environment; fi",
)

LABELS = (
    'labels="${APPTAINER_LABELS:-$SINGULARITY_LABELS}"',
    'echo "org.probprec.built $(date -u +%Y-%m-%dT%H:%M:%SZ)" >>"$labels"',
    f"if [ -e {PACKAGES} ]; then",
    f'  echo "org.probprec.packages $(sha256sum {PACKAGES} | cut -c1-64)" >>"$labels"',
    "fi",
)
"""The step that writes the labels which are known only during the build."""

FORGET_LABELS = "rm -f /.singularity.d/labels.json"
"""The step that removes the labels of the base image, which the runtime would not overwrite."""

TEST = f"python3 {FOLDER}/test.py"

TOOLKIT = (
    *("pyproject.toml", "README.md", "LICENSE", "probprec_command.py"),
    *("probprec", "cluster", "containers", "jobs"),
)
"""The parts of a checkout that are installed."""

_END = "END_OF_FILE"


def install(recipe: Recipe) -> Iterator[str]:
    """The steps between the base and the finished image."""
    yield f"mkdir -p {FOLDER}"
    if recipe.apt and recipe.base.kind != "debootstrap":  # debootstrap installs them itself
        yield _apt(recipe)
    if recipe.python:
        yield _write(f"{FOLDER}/constraints.txt", recipe.constraints)
        yield _write(f"{FOLDER}/expected.json", _expected(recipe))
        yield _write(f"{FOLDER}/test.py", _test_lines())
    if recipe.venv:
        yield f"python3 -m venv {VENV}"
        yield f'export PATH="{VENV}/bin:$PATH"'
    if recipe.pip:
        yield _pip(recipe, [shlex.quote(one) for one in recipe.pip])
    if recipe.toolkit:
        yield f"{_pip(recipe, ['--no-deps', f'{FOLDER}/toolkit'])} && rm -rf {FOLDER}/toolkit"
    yield from recipe.post
    if recipe.python:
        yield f"python3 -m pip freeze --all >{PACKAGES}"
    yield "find /var/lib/apt/lists /var/cache/apt -type f -delete 2>/dev/null || true"


def environment(recipe: Recipe) -> list[str]:
    """The lines `NAME="value"`, for %environment and ENV alike."""
    own = {name: quoted(value) for name, value in recipe.environment.items()}
    if recipe.venv:
        own = {"PATH": f'"{VENV}/bin:$PATH"'} | own
    return [f"{name}={value}" for name, value in own.items()]


def quoted(text: str) -> str:
    """The literal text in double quotes, the only ones that a Dockerfile and a shell both know."""
    return '"' + re.sub(r'([\\"$`])', r"\\\1", text) + '"'


def _apt(recipe: Recipe) -> str:
    names = " ".join(recipe.apt)
    return (
        "export DEBIAN_FRONTEND=noninteractive && apt-get -qq update"
        f" && apt-get -qq install -y --no-install-recommends {names}"
    )


def _pip(recipe: Recipe, what: list[str]) -> str:
    constraints = f"{FOLDER}/constraints.txt"
    # pip may write into the Python of the base, as no other user has this image. PIP_CONSTRAINT, unlike
    # an option, also reaches the environment that a package is built in; set here, it replaces any other.
    words = [f"PIP_BREAK_SYSTEM_PACKAGES=1 PIP_CONSTRAINT={constraints} python3 -m pip install"]
    words += ["--no-cache-dir --disable-pip-version-check"]
    words += [f"--extra-index-url {shlex.quote(url)}" for url in recipe.index]
    return " \\\n    ".join([*words, *what])


def _write(path: str, lines: tuple[str, ...] | list[str]) -> str:
    return "\n".join([f"cat >{path} <<'{_END}'", *lines, _END])


def _expected(recipe: Recipe) -> list[str]:
    content = {
        "python": recipe.python,
        "distributions": dict(recipe.versions),
        "torch": recipe.torch,
        "toolkit": recipe.toolkit is not None,
    }
    return json.dumps(content, indent=1).splitlines()


def _test_lines() -> list[str]:
    text = Path(__file__).with_name("selftest.py").read_text()
    return [line for line in text.splitlines() if line]
