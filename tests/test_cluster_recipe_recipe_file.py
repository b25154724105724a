"""Recipes as people write them: what they say, and every mistake at once with its position."""

from pathlib import Path

import pytest

from cluster.recipe.recipe_file import CONSTRAINTS, read_recipe
from containers.recipe import Base
from jobs.spec import SpecError

DIGEST = "sha256:" + "0123456789abcdef" * 4

FULL = f"""\
description: all of it
base: {{docker: python:3.11@{DIGEST}}}
python: "3.11"
apt: [git, zip=3.0-13]
pip: [numpy, 'six==1.17.0', 'a @ https://a.example/a.zip#sha256={"0" * 64}']
constraints: pins.txt
torch: cu126
index: [https://packages.example/simple]
files: {{a.txt: /opt/a.txt}}
environment: {{LEVEL: 3, TEXT: 'a b'}}
labels: {{org.example.who: me}}
toolkit: true
post: [echo one, "if true; then\\n  echo two\\nfi\\n"]
"""


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    (folder / "a.txt").write_text("a")
    (folder / "pins.txt").write_text("# pins\nNumPy==2.4.6\nother>=1 # any\n")
    file = folder / name
    file.write_text(text)
    return file


def mistakes_of(folder: Path, text: str, name: str = "mine.yaml") -> list[str]:
    file = write(folder, text, name)
    with pytest.raises(SpecError) as caught:
        read_recipe(file)
    return [str(mistake).removeprefix(f"{file}:") for mistake in caught.value.mistakes]


def test_a_full_recipe(tmp_path: Path) -> None:
    found = read_recipe(write(tmp_path, FULL))

    assert (found.name, found.file) == ("mine", tmp_path / "mine.yaml")
    assert found.description == "all of it"
    assert found.base == Base(kind="docker", name=f"python:3.11@{DIGEST}")
    assert found.python == "3.11"
    assert found.apt == ("git", "zip=3.0-13")
    assert found.pip[:2] == ("numpy", "six==1.17.0")
    assert found.constraints == ("NumPy==2.4.6", "other>=1")
    assert found.versions == {"numpy": "2.4.6", "six": "1.17.0", "a": None}
    assert (found.torch, found.pinned) == ("cu126", True)
    assert found.index == ("https://packages.example/simple",)
    assert found.files == {"a.txt": "/opt/a.txt"}
    assert found.environment == {"LEVEL": "3", "TEXT": "a b"}
    assert found.labels == {"org.example.who": "me"}
    assert found.toolkit == CONSTRAINTS.parent
    assert found.post == ("echo one", "if true; then\n  echo two\nfi")


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("debootstrap: bookworm", Base(kind="debootstrap", name="bookworm")),
        (
            "debootstrap: sid, mirror: http://a.example",
            Base(kind="debootstrap", name="sid", mirror="http://a.example"),
        ),
        ("localimage: a.txt", Base(kind="localimage", name="a.txt")),
    ],
)
def test_the_other_bases(tmp_path: Path, text: str, base: Base) -> None:
    assert read_recipe(write(tmp_path, f"base: {{{text}}}\n")).base == base


def test_without_pins_it_says_so(tmp_path: Path) -> None:
    text = "base: {docker: 'ubuntu:16.04'}\npython: '3.5'\npip: [numpy]\npinned: false\n"

    found = read_recipe(write(tmp_path, text))

    assert not found.pinned
    assert found.versions == {"numpy": None}
    assert found.constraints == ()


MANY = """\
descripton: typo
base: {docker: 'python:3.11', mirror: http://a.example}
python: 3.11
apt: git
pip: [numpy, nowhere, 'numpy==1.0', '=broken', 'b @ https://b.example/main.zip']
constraints: pins.txt
torch: cuda12
index: [packages.example]
files: {missing.txt: /opt/a, a.txt: opt}
environment: {A B: x, C: true}
labels: {a b: x}
toolkit: 'yes'
post: ['%post']
"""

MANY_EXPECTED = [
    "1:1: descripton: unknown key 'descripton'; did you mean 'description'? (known: description, base",
    (
        "2:16: base.docker: 'python:3.11' may be another image tomorrow; write "
        "python:3.11@sha256:DIGEST (`skopeo inspect docker://python:3.11` and"
    ),
    "2:39: base.mirror: a mirror goes with debootstrap only",
    '3:9: python: expected a version in quotes like "3.11", found 3.11; write it in quotes',
    "4:6: apt: expected a list of packages like [git], found the text 'git'; write [git]",
    "5:14: pip[1]: nowhere has no version; write nowhere==VERSION, add it to ",
    "5:23: pip[2]: 'numpy==1.0' contradicts ",
    "5:37: pip[3]: '=broken' is no requirement like numpy==2.0 or name @ URL",
    "5:48: pip[4]: 'b @ https://b.example/main.zip' may be other code tomorrow; name a commit",
    "7:8: torch: expected the build of torch: cpu, or cu126 for CUDA 12.6, found the text 'cuda12'",
    "8:9: index[0]: expected a URL, found the text 'packages.example'",
    "9:37: files.a.txt: expected an absolute path inside without spaces, found 'opt'",
    "10:15: environment.A B: expected a variable's name of letters, digits and '_', and text, found",
    "10:26: environment.C: expected a variable's name of letters, digits and '_', and text, found true",
    "11:10: labels.a b: expected a name without spaces, and text, found the key 'a b'",
    "12:10: toolkit: expected true or false, found the text 'yes'",
    "13:8: post[0]: a line that begins with % would begin a section of the definition",
]


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    said = mistakes_of(tmp_path, MANY)

    for found, beginning in zip(said, MANY_EXPECTED, strict=True):
        assert found.startswith(beginning), found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1: empty"),
        ("- docker\n", "1:1: expected a mapping with the key base"),
        (
            "python: '3.11'\n",
            "1:1: base: the key 'base' is missing; expected one of {docker: NAME@",
        ),
        (
            "base: bookworm\n",
            (
                "1:7: base: expected one of {docker: NAME@sha256:...}, {debootstrap: SUITE}, "
                "{localimage: PATH}, found the text 'bookworm'; write {docker: bookworm}"
            ),
        ),
        (
            "base: {}\n",
            "1:1: base: expected one of {docker: NAME@sha256:...}, {debootstrap: SUITE}",
        ),
        (
            "base: {debootstrap: sid, localimage: a.txt}\n",
            "1:1: base: expected one of {docker: NAME@sha256:...}, {debootstrap: SUITE}, {localimage",
        ),
        (
            "base: {debootstrp: sid}\n",
            "1:8: base.debootstrp: unknown key 'debootstrp'; did you mean 'debootstrap'?",
        ),
        (
            "base: {localimage: nowhere.sif}\n",
            "1:20: base.localimage: no such file or folder: ",
        ),
        (
            "base: {debootstrap: sid}\nfiles: {nowhere: /a}\n",
            "2:18: files.nowhere: no such file or folder: ",
        ),
        ("base: {debootstrap: sid}\nconstraints: nowhere\n", "2:14: constraints: no such file: "),
        (
            "base: {debootstrap: sid}\npip: [numpy]\n",
            "2:6: pip: the key `python` is missing: the version that packages are for",
        ),
        ("base: {debootstrap: sid}\ntorch: cpu\n", "2:8: torch: the key `python` is missing: only"),
        (
            "base: {debootstrap: sid}\npost: [a, '']\n",
            "2:11: post[1]: expected a shell line, found",
        ),
        ('base: {debootstrap: sid}\nlabels: {a: "b\\nc"}\n', "2:13: labels.a: expected one line"),
    ],
)
def test_one_mistake(tmp_path: Path, text: str, expected: str) -> None:
    (said,) = mistakes_of(tmp_path, text)

    assert said.startswith(expected), said


def test_an_image_is_called_as_its_recipe(tmp_path: Path) -> None:
    (said,) = mistakes_of(tmp_path, "base: {debootstrap: sid}\n", "my image.yaml")

    assert said.startswith("1:1: an image is called as its recipe is; use letters, digits")
