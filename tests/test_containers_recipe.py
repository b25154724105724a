"""What a recipe becomes: a definition file, a Dockerfile, and one from the other."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.recipe.recipe_file import read_recipe
from containers import selftest, settings
from containers.definition import MIRROR, dockerfile, of_recipe
from containers.dockerfile import of_dockerfile
from containers.recipe import Base, Recipe
from containers.runtime import ContainerError
from containers.steps import LABELS

IMAGES = Path(__file__).parents[1] / "configs" / "images"
DIGEST = "sha256:" + "0123456789abcdef" * 4


def sections(text: str) -> dict[str, list[str]]:
    """The header under "", and each section's lines."""
    found: dict[str, list[str]] = {"": []}
    name = ""
    for line in text.splitlines():
        match = re.fullmatch(r"%([a-z]+)", line)
        if match:
            name = match[1]
            found[name] = []
        elif line and not line.startswith("#"):
            found[name].append(line)
    return found


def shipped(name: str) -> tuple[Recipe, dict[str, list[str]]]:
    recipe = read_recipe(IMAGES / f"{name}.yaml")
    return recipe, sections(of_recipe(recipe).final("http://mirror.example/debian"))


def test_cpu_debian() -> None:
    recipe, found = shipped("cpu-debian")

    assert found[""] == [
        "Bootstrap: debootstrap",
        "OSVersion: bookworm",
        "MirrorURL: http://mirror.example/debian",
        "Include: python3 python3-venv",
    ]
    assert found["environment"] == ['export PATH="/opt/venv/bin:$PATH"']
    assert found["test"] == ["python3 /.probprec/test.py"]
    post = found["post"]
    assert post[0] == "set -e"
    assert post.index("python3 -m venv /opt/venv") < post.index('export PATH="/opt/venv/bin:$PATH"')
    assert "torch==2.13.0" in post
    expected = json.loads("".join(post[post.index("{") : post.index("}") + 1]))
    assert expected["python"] == "3.11"
    assert expected["torch"] == "cpu"
    assert expected["distributions"]["torch"] == "2.13.0"
    assert set(expected["distributions"]) == set(recipe.pip)
    assert recipe.pinned
    with pytest.raises(
        ContainerError, match=r"cpu-debian\.yaml: a Dockerfile starts from an image"
    ):
        dockerfile(recipe)


def test_a_definition_names_nothing_of_the_machine() -> None:
    text = of_recipe(read_recipe(IMAGES / "cpu-debian.yaml")).text

    assert MIRROR in text
    assert "://" not in text.replace("http://mirror", "")
    assert str(IMAGES.parents[1]) not in text


def test_cuda_keeps_the_torch_of_its_base() -> None:
    recipe, found = shipped("cuda")

    assert found[""][0] == "Bootstrap: docker"
    assert re.fullmatch(
        r"From: pytorch/pytorch:2\.13\.0-cuda12\.6-cudnn9-runtime@sha256:[0-9a-f]{64}", found[""][1]
    )
    assert recipe.torch == "cu126"
    assert "environment" not in found
    assert not any("venv" in line for line in found["post"])
    assert "torch==2.13.0" in found["post"]  # what is there satisfies it
    text = dockerfile(recipe)
    assert text.startswith("# syntax=docker/dockerfile:1\nFROM pytorch/pytorch:2.13.0-cuda12.6")
    assert text.endswith("\nRUN python3 /.probprec/test.py\n")


def test_thesis_2019_is_what_the_thesis_had() -> None:
    recipe, found = shipped("thesis-2019")

    assert found[""] == ["Bootstrap: docker", "From: ubuntu:16.04"]
    assert recipe.post == (
        "apt-get -y update",
        "apt-get -y install python3-pip git python3-tk",
        "python3 --version",
        "pip3 install --upgrade pip",
        "pip install torch torchvision",
        "pip install git+https://github.com/abahde/DeepOBS.git@master#egg=deepobs",
    )
    assert [line for line in found["post"] if line in recipe.post] == list(recipe.post)
    assert "org.probprec.pinned false" in found["labels"]
    assert "test" not in found
    assert not of_recipe(recipe).pinned


FULL = {
    "base": Base(kind="docker", name=f"python:3.11@{DIGEST}"),
    "python": "3.11",
    "apt": ("git", "zip"),
    "pip": ("numpy==2.4.6",),
    "constraints": ("numpy==2.4.6",),
    "versions": {"numpy": "2.4.6"},
    "index": ("https://packages.example/simple",),
    "files": {"a.txt": "/opt/a.txt"},
    "environment": {"LEVEL": "3", "TEXT": 'it is "$5"'},
    "labels": {"org.example.who": "me and you"},
    "post": ("echo one", "if true; then\n  echo $USER\nfi"),
}


def test_there_and_back_through_a_dockerfile(tmp_path: Path) -> None:
    """It says the same: base, files, environment, labels, and every step in order."""
    (tmp_path / "a.txt").write_text("a")
    recipe = Recipe(name="full", file=tmp_path / "full.yaml", **FULL)
    direct = sections(of_recipe(recipe).text)
    (tmp_path / "Dockerfile").write_text(dockerfile(recipe))

    definition = of_dockerfile(tmp_path / "Dockerfile")

    back = sections(definition.text)
    assert back[""][:2] == direct[""] == ["Bootstrap: docker", f"From: python:3.11@{DIGEST}"]
    assert back["files"] == direct["files"] == ["a.txt /opt/a.txt"]
    assert back["environment"] == direct["environment"]
    assert "org.example.who me and you" in back["labels"]
    whole = re.sub(r" \\\n +", " ", "\n".join(direct["post"])).splitlines()
    steps = whole[whole.index("mkdir -p /.probprec") : whole.index(LABELS[0])]
    rest = iter(back["post"])
    assert [step for step in steps if step not in rest] == []  # all of them, in this order
    assert "python3 /.probprec/test.py" in back["post"]
    assert definition.inputs == (tmp_path / "a.txt",)
    assert definition.pinned
    assert definition.name == tmp_path.name


def shell_of(text: str) -> str:
    """%post as a script that can be checked."""
    return "\n".join(sections(text)["post"])


def test_what_is_written_is_shell(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    recipe = Recipe(name="full", file=tmp_path / "full.yaml", **FULL)
    (tmp_path / "Dockerfile").write_text(dockerfile(recipe))
    for text in (of_recipe(recipe).text, of_dockerfile(tmp_path / "Dockerfile").text):
        subprocess.run(["sh", "-n"], input=shell_of(text), text=True, check=True)


def test_the_test_survives_the_dockerfile(tmp_path: Path) -> None:
    """Line for line: a `from` in it would begin another stage."""
    recipe = Recipe(name="full", file=tmp_path / "full.yaml", **{**FULL, "files": {}})
    (tmp_path / "Dockerfile").write_text(dockerfile(recipe))
    post = of_dockerfile(tmp_path / "Dockerfile").text.split("%post\n")[1]
    script = post.split("test.py <<'END_OF_FILE'\n")[1].split("\nEND_OF_FILE")[0]

    original = Path(selftest.__file__).read_text()
    assert script.splitlines() == [line for line in original.splitlines() if line]
    compile(script, "test.py", "exec")


def test_a_dockerfile_of_two_stages(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "Dockerfile").write_text(
        f"FROM alpine:3@{DIGEST} AS first\nRUN echo 1 >/one\nCOPY a.txt /a\n"
        "FROM busybox:1\nCOPY --from=0 /one /two\nENV A=1\nLABEL who=me\nRUN echo 2\n"
    )

    definition = of_dockerfile(tmp_path / "Dockerfile")

    text = definition.text
    assert text.count("Bootstrap: docker") == 2
    assert f"From: alpine:3@{DIGEST}\nStage: first" in text
    assert "%files from first\n/one /two" in text
    assert text.index("echo 1") < text.index("From: busybox:1") < text.index("echo 2")
    assert not definition.pinned  # busybox:1 may move


def test_instructions_are_read_whole(tmp_path: Path) -> None:
    """Continued lines with comments in between, both ways of ENV, exec form, lower case."""
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "Thing.Dockerfile").write_text(
        "# a comment\nARG LEVEL=3\nFROM debian:12\n"
        "run apt-get update && \\\n    # first\n    apt-get install -y git\n"
        'RUN ["echo", "a b"]\nRUN <<EOF\nfrom here\nEOF\n'
        'ENV A=1 B="x y"\nENV C some text\nUSER nobody\nEXPOSE 80\n'
        'ADD a.txt /b\nWORKDIR /w\nLABEL who="me too" what=x\nENTRYPOINT ["git"]\nCMD ["status"]\n'
    )

    definition = of_dockerfile(tmp_path / "Thing.Dockerfile")

    found = sections(definition.text)
    for line in (
        "apt-get update && apt-get install -y git",
        "echo 'a b'",
        "/bin/sh -e <<EOF",
        "from here",
        "export A=1",
        'export B="x y"',
        'export C="some text"',
        "mkdir -p /w",
    ):
        assert line in found["post"], line
    assert found["environment"] == ["export A=1", 'export B="x y"', 'export C="some text"']
    assert {"who me too", "what x"} <= set(found["labels"])
    assert found["runscript"] == ["cd /w", 'exec git status "$@"']
    assert found["files"] == ["a.txt /b"]
    assert "nobody" not in definition.text
    assert definition.name == "Thing"
    subprocess.run(["sh", "-n"], input=shell_of(definition.text), text=True, check=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nothing of the kind\n", "'NOTHING' is no instruction of a Dockerfile"),
        ("", "no FROM line, so it is not a Dockerfile"),
        ("RUN true\n", "no FROM line, so it is not a Dockerfile"),
        ("FROM a\nCOPY missing /x\n", "copies missing, which is not in"),
        ("FROM\n", "not a Dockerfile that can be converted"),
        ("FROM a\nCOPY --from=b /x /x\n", "COPY --from=b, which is no stage above"),
        ("FROM a\nENV A\n", "not a Dockerfile that can be converted: A has no value"),
        ('FROM a\nSHELL ["bash"]\n', "SHELL has no equal in a definition file"),
        ("FROM a\nRUN --mount=type=cache true\n", "RUN --mount=type=cache is BuildKit's"),
        ("FROM a\nCOPY <<END /x\na\nEND\n", "COPY with a here-document"),
        ("FROM a\nRUN <<END\necho\n", "the here-document END has no end"),
    ],
)
def test_what_is_no_dockerfile(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], text: str, expected: str
) -> None:
    (tmp_path / "Dockerfile").write_text(text)

    with pytest.raises(ContainerError, match=expected) as caught:
        of_dockerfile(tmp_path / "Dockerfile")

    assert str(tmp_path) in str(caught.value)
    assert capfd.readouterr() == ("", "")
    with pytest.raises(ContainerError, match="absent"):
        of_dockerfile(tmp_path / "absent")


def test_the_toolkit_is_named_from_the_recipe() -> None:
    """The same text wherever the checkout lies."""
    toolkit = IMAGES.parents[1]
    recipe = Recipe(
        name="a",
        file=IMAGES / "a.yaml",
        base=Base(kind="debootstrap", name="bookworm", mirror="http://here.example"),
        python="3.11",
        toolkit=toolkit,
    )

    found = sections(of_recipe(recipe).text)

    assert "../../probprec /.probprec/toolkit/probprec" in found["files"]
    assert "../../pyproject.toml /.probprec/toolkit/pyproject.toml" in found["files"]
    assert found[""][2] == "MirrorURL: http://here.example"
    assert str(toolkit) not in of_recipe(recipe).text


# Settings of whoever builds.


def conf(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_pip_settings_come_from_its_files_and_variables(tmp_path: Path) -> None:
    site = conf(
        tmp_path / "xdg" / "pip" / "pip.conf",
        "[global]\nindex-url = https://one.example/simple\ntimeout = 5\nconstraint = /no.txt\n",
    )
    conf(
        tmp_path / "home" / ".config" / "pip" / "pip.conf",
        "[global]\nindex_url = https://two.example/simple\n[install]\n"
        "extra-index-url =\n  https://three.example/simple\n  https://four.example/simple\n"
        "[list]\nformat = columns\n",
    )
    environment = {
        "XDG_CONFIG_DIRS": str(site.parents[1]),
        "HOME": str(tmp_path / "home"),
        "PIP_DEFAULT_TIMEOUT": "9",
        "PIP_CONSTRAINT": "/no.txt",
        "PIP_TARGET": "/elsewhere",
        "PIP_TRUSTED_HOST": "one.example",
        "SSL_CERT_FILE": "/etc/passwd",
    }

    found = settings.pip_options(environment)

    for name, value in {
        "index-url": "https://two.example/simple",
        "extra-index-url": "https://three.example/simple https://four.example/simple",
        "timeout": "9",
        "trusted-host": "one.example",
    }.items():
        assert found[name] == value
    assert not {"constraint", "target", "format"} & set(found)
    alone = {"PIP_CONFIG_FILE": os.devnull, "SSL_CERT_FILE": "/etc/passwd"}
    assert settings.pip_options(alone) == {"cert": "/etc/passwd"}
    assert settings.pip_options({"PIP_CONFIG_FILE": os.devnull}) == {}
    broken = conf(tmp_path / "broken.conf", "no section\n")
    with pytest.raises(ContainerError, match=r"broken\.conf: not a configuration of pip"):
        settings.pip_options({"PIP_CONFIG_FILE": str(broken)})


def test_local_places_are_bound(tmp_path: Path) -> None:
    index = tmp_path / "index" / "simple"
    index.mkdir(parents=True)
    cert = conf(tmp_path / "cert.pem", "")
    environment = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_EXTRA_INDEX_URL": f"{index.as_uri()} https://a:secret@one.example/simple",
        "PIP_CERT": str(cert),
        "https_proxy": "http://proxy.example:1",
        "NO_PROXY": "a, b",
    }

    words = settings.bind(tmp_path / "settings", environment)

    inside = tmp_path / "settings" / "probprec"
    assert (inside / "pip.conf").read_text() == (
        "[global]\n"
        "extra-index-url = file:///mnt/probprec/0/simple https://a:secret@one.example/simple\n"
        "cert = /mnt/probprec/1\n"
    )
    assert (inside / "environment").read_text() == (
        "export https_proxy=http://proxy.example:1\nexport NO_PROXY='a, b'\n"
        "export PIP_CONFIG_FILE=/mnt/probprec/pip.conf\n"
    )
    assert words == [
        *("--bind", f"{tmp_path / 'settings'}:/mnt"),
        *("--bind", f"{index.parent}:/mnt/probprec/0:ro"),  # its pages lead to files beside it
        *("--bind", f"{cert}:/mnt/probprec/1:ro"),
    ]
    assert (tmp_path / "settings").stat().st_mode & 0o077 == 0
    assert (inside / "0").is_dir()
    assert (inside / "1").is_file()


@pytest.mark.parametrize(
    ("value", "expected"),
    [("/nowhere/wheels", "/nowhere/wheels, which is not on this machine"), ("a,b", "cannot be")],
)
def test_a_local_place_that_cannot_be_used(tmp_path: Path, value: str, expected: str) -> None:
    (tmp_path / "a,b").mkdir()
    place = value if value.startswith("/") else str(tmp_path / value)

    with pytest.raises(ContainerError, match=expected):
        settings.bind(
            tmp_path / "settings",
            {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": place},
        )


def test_a_scratch_that_cannot_be_bound(tmp_path: Path) -> None:
    folder = tmp_path / "a:b" / "mnt"

    with pytest.raises(ContainerError, match=r"^TMPDIR leads to .*/a:b/mnt: a path with : or ,"):
        settings.bind(folder, {"PIP_CONFIG_FILE": os.devnull})

    assert not folder.parent.exists()


def test_a_certificate_that_the_shell_names_but_is_not_there() -> None:
    """No file of pip's is to blame; and where pip's own settings name one, that is taken."""
    stale = {"PIP_CONFIG_FILE": os.devnull, "SSL_CERT_FILE": "/nowhere/ca.pem"}

    with pytest.raises(ContainerError, match=r"^\$SSL_CERT_FILE is /nowhere/ca\.pem, which is not"):
        settings.pip_options(stale)

    assert settings.pip_options(stale | {"PIP_CERT": "/etc/passwd"}) == {"cert": "/etc/passwd"}


def test_the_mirror_is_the_one_of_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apt = conf(tmp_path / "apt-get", "#!/bin/sh\necho http://mirror.example/debian/\n")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert settings.apt_mirror() == "http://mirror.example/debian/"

    apt.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(
        ContainerError, match=r"write one into the recipe: `base: \{debootstrap: SUITE"
    ):
        settings.apt_mirror()


# The test inside, here in our own environment.


def run_test(tmp_path: Path, **changed: object) -> subprocess.CompletedProcess[str]:
    version = ".".join(map(str, sys.version_info[:2]))
    expected = {"python": version, "distributions": {}, "torch": None, "toolkit": False, **changed}
    file = conf(tmp_path / "expected.json", json.dumps(expected))
    code = f"from containers import selftest; selftest.main({str(file)!r})"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_test_passes_where_all_is_as_expected(tmp_path: Path) -> None:
    versions = {"numpy": None, "scikit-learn": None, "pyyaml": None, "torch": "2.13.0"}

    done = run_test(tmp_path, distributions=versions, torch="cpu", toolkit=True)

    assert (done.returncode, done.stdout) == (0, "this image is what its recipe says\n"), (
        done.stderr
    )
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"python": "2.7"}, "python3 is Python 3."),
        ({"distributions": {"numpy": "1.0"}}, "numpy is 2."),
        ({"distributions": {"no-such-thing": None}}, "no-such-thing is not installed"),
        ({"torch": "cu126"}, "torch is a cpu build, expected cu126: pip's index offered another"),
    ],
)
def test_the_test_says_what_is_wrong(
    tmp_path: Path, changed: dict[str, object], expected: str
) -> None:
    done = run_test(tmp_path, **changed)

    assert done.returncode == 1
    assert expected in done.stderr
