"""The commands `build` and `image`: what they print, what they refuse, what they leave alone."""

import errno
import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cluster import cli
from cluster.commands import image
from cluster.recipe.recipe_file import read_recipe
from containers.definition import of_recipe
from containers.images import Images
from jobs.errors import InputError
from jobs.store.store import Store
from tests.helpers import make_base, make_plan
from tests.make_sweep import make_sweep


def add(folder: Path, name: str, key: str, built: float, **more: Any) -> Path:
    """An image as a build leaves it; its content is its key."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{key}.sif"
    path.write_text(key)
    for ending in ("def", "log"):
        path.with_suffix(f".{ending}").write_text("")
    (folder / f".{name}-{key}.lock").touch()
    meta = {
        "schema": 1,
        "name": name,
        "key": key + "0" * 52,
        "sha256": hashlib.sha256(key.encode()).hexdigest(),
        "size": len(key),
        "built": built,
        "seconds": 1.0,
        "runtime": "apptainer 1.4.5",
        "recipe": f"/recipes/{name}.yaml",
        "description": "invented",
        "pinned": True,
        "torch": "cpu",
        "mirror": None,
        "packages": ["numpy==2.4.6", "torch==2.13.0+cpu"],
        **more,
    }
    path.with_suffix(".json").write_text(json.dumps(meta))
    return path


OLD, NEW, OTHER = "0" * 12, "1" * 12, "2" * 12


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two builds of one recipe, and one of another."""
    folder = tmp_path / "images"
    add(folder, "cpu", OLD, 1_700_000_000)
    add(folder, "cpu", NEW, 1_700_000_001)
    add(folder, "gpu-x", OTHER, 1_700_000_002, pinned=False, packages=[])
    return folder


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def answer(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert content["schema"] == 1
    return content


def test_list(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("image", "list", "--images", images) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "0 MB" in line]
    assert [(row[0], row[1], row[-2], row[-1]) for row in rows] == [
        ("cpu", NEW, "2.13.0+cpu", "yes"),
        ("cpu", OLD, "2.13.0+cpu", "yes"),
        ("gpu-x", OTHER, "-", "no"),
    ]

    assert run("image", "list", "--images", images, "--json") == 0
    found = answer(capsys)["images"]
    assert [Path(one["path"]).name for one in found] == [
        f"cpu-{NEW}.sif",
        f"cpu-{OLD}.sif",
        f"gpu-x-{OTHER}.sif",
    ]
    assert run("image", "list", "--images", images / "nowhere") == 0
    assert "next: probprec build RECIPE" in capsys.readouterr().out


def test_what_is_no_image_is_not_listed(images: Path) -> None:
    (images / "somebody.sif").write_text("else's")
    (images / f"cpu-{'3' * 12}.sif").write_text("its build was killed")
    (images / f"cpu-{OLD}.sif").write_text("of another size")
    (images / f"gpu-x-{OTHER}.json").write_text("torn {")

    assert [one.key for one in Images(images).all()] == [NEW]


@pytest.mark.parametrize(
    "named", ["cpu", f"cpu-{NEW}", f"cpu-{NEW}.sif", NEW, "1111", "path", "sha256"]
)
def test_inspect(images: Path, capsys: pytest.CaptureFixture[str], named: str) -> None:
    sha256 = hashlib.sha256(NEW.encode()).hexdigest()
    path = images / f"cpu-{NEW}.sif"
    name = {"path": path, "sha256": sha256[:8]}.get(named, named)

    assert run("image", "inspect", name, "--images", images, "--json") == 0
    found = answer(capsys)["image"]
    assert (found["sha256"], found["path"]) == (sha256, str(path))

    assert run("image", "inspect", name, "--images", images) == 0
    said = capsys.readouterr().out
    for expected in (sha256, "/recipes/cpu.yaml", f"cpu-{NEW}.def", "  numpy==2.4.6"):
        assert expected in said


@pytest.mark.parametrize("named", ["absent", "33333333", "11112"])
def test_inspect_what_is_not_there(
    images: Path, capsys: pytest.CaptureFixture[str], named: str
) -> None:
    assert run("image", "inspect", named, "--images", images) == 2
    said = capsys.readouterr().err
    assert f"no image '{named}' in {images} (there: cpu-{NEW}, cpu-{OLD}, gpu-x-{OTHER})" in said


def test_several_that_begin_so(images: Path) -> None:
    add(images, "third", "1111" + "a" * 8, 1)

    with pytest.raises(InputError, match=f"1111 may be cpu-{NEW}.sif, third-1111a"):
        image.inspect(images, "1111", as_json=True)


def test_verify(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("image", "verify", "--images", images) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3

    (images / f"cpu-{OLD}.sif").write_text("x" * 12)
    found, expected = (hashlib.sha256(t.encode()).hexdigest() for t in ("x" * 12, OLD))
    assert run("image", "verify", "--images", images) == 1
    assert f"cpu-{OLD}.sif: sha256 {found}, expected {expected}" in capsys.readouterr().out
    assert run("image", "verify", "--images", images, "--json") == 1
    rows = answer(capsys)["images"]
    assert [row["ok"] for row in rows] == [True, False, True]
    assert run("image", "verify", f"cpu-{NEW}", "gpu-x", "--images", images) == 0
    assert run("image", "verify", "absent", "--images", images) == 2


def sweep(root: Path, path: Path, *, finished: bool) -> Store:
    store: Store = make_sweep(root, problems=("quadratic_deep",), is_recorded=lambda _: finished)
    store.new_submission(make_plan(image={"path": str(path), "sha256": ""}))
    return store


def test_prune_removes_what_was_replaced(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep(tmp_path / "sweeps" / "done", images / f"cpu-{OLD}.sif", finished=True)
    (tmp_path / "sweeps" / "no-sweep").mkdir()

    assert run("image", "prune", "--images", images, "--root", tmp_path / "sweeps", "--json") == 0

    found = answer(capsys)
    (row,) = found["removed"]
    assert (row["path"], row["why"]) == (
        str(images / f"cpu-{OLD}.sif"),
        f"replaced by cpu-{NEW}.sif",
    )
    assert found["kept"] == []
    assert not [path for path in images.iterdir() if OLD in path.name]
    assert len(Images(images).all()) == 2
    assert run("image", "prune", "--images", images, "--root", tmp_path / "sweeps") == 0
    assert capsys.readouterr().out == "nothing to remove\n"


def test_prune_keeps_what_an_unfinished_sweep_uses(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In an older submission, too: what it has sent may still wait."""
    store = sweep(tmp_path / "sweeps" / "x", images / f"cpu-{OLD}.sif", finished=False)
    image = {"path": str(images / f"cpu-{NEW}.sif"), "sha256": ""}
    store.new_submission(make_plan(image=image))
    store.new_submission(make_plan())

    assert run("image", "prune", "--images", images, "--root", tmp_path / "sweeps") == 0

    said = capsys.readouterr().out
    assert said.startswith(f"kept {images / f'cpu-{OLD}.sif'} (0 MB): {store.root} has runs")
    assert len(Images(images).all()) == 3

    submission = store.submissions()[0].file
    submission.write_text("torn {")
    assert run("image", "prune", "--images", images, "--root", tmp_path / "sweeps") == 2
    assert "nothing was removed" in capsys.readouterr().err


def test_prune_removes_what_killed_builds_left(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setenv("APPTAINER_TMPDIR", str(tmp_path))
    key = "3" * 12
    known = Images(images)
    left = [known.path("cpu", key), known.temporary("cpu", key), images / f"cpu-{key}.log"]
    for path in left:
        path.write_text("half")
    foreign = images / f"mine-{'4' * 12}.sif"
    foreign.write_text("no build made it")

    with known.locked_at_once(f"cpu-{key}"):
        assert run("image", "prune", "--images", images, "--root", tmp_path, "--json") == 0
    assert [Path(row["path"]).name for row in answer(capsys)["removed"]] == [f"cpu-{OLD}.sif"]
    assert all(path.exists() for path in left)

    assert run("image", "prune", "--images", images, "--root", tmp_path, "--json") == 0
    removed = answer(capsys)["removed"]
    assert {row["path"] for row in removed} == set(map(str, left))
    assert {row["why"] for row in removed} == {"its build failed or was killed"}
    assert not [path for path in images.iterdir() if key in path.name]
    assert foreign.exists()


# build


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A recipe that is built in a second."""
    make_base(tmp_path / "base")
    file = tmp_path / "tiny.yaml"
    file.write_text("base: {localimage: base}\npinned: false\npost: [echo made]\n")
    return file


@pytest.mark.apptainer
def test_build_says_where_it_is(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images"
    assert run("build", tiny, "--images", images) == 0
    said = capsys.readouterr().out
    assert re.search(r"tiny-[0-9a-f]{12}\.sif: built in \d+ s, \d+ MB\nsha256 [0-9a-f]{64}\n", said)
    assert "not pinned: building it again may give another image" in said

    assert run("build", tiny, "--images", images, "--json") == 0
    found = answer(capsys)
    assert found["already"] is True
    assert Path(found["path"]).parent == images
    assert run("image", "verify", "--images", images) == 0


@pytest.mark.apptainer
def test_build_with_json_prints_one_object(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("build", tiny, "--images", tmp_path / "images", "--json") == 0

    done = capsys.readouterr()
    assert json.loads(done.out)["already"] is False
    assert "tiny: bootstrap" in done.err


@pytest.mark.apptainer
def test_build_waits_for_somebody_else(tiny: Path, tmp_path: Path) -> None:
    known = Images(tmp_path / "images")
    known.folder.mkdir()
    definition = of_recipe(read_recipe(tiny))
    with known.locked_at_once(known.path("tiny", definition.key).stem):
        command = [sys.executable, "-m", "cluster.cli", "build", str(tiny)]
        waiting = subprocess.Popen(
            [*command, "--images", str(known.folder), "--json"],
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert waiting.stderr is not None
        assert "being built by somebody else; waiting" in waiting.stderr.readline()

    said, _ = waiting.communicate()
    assert waiting.returncode == 0
    assert Path(json.loads(said)["path"]).exists()


@pytest.mark.apptainer
def test_build_that_fails(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.write_text("base: {localimage: base}\npost: [echo broken; exit 3]\n")

    assert run("build", tiny, "--images", tmp_path / "images") == 1
    said = capsys.readouterr().err
    assert said.startswith(f"{tiny}: the build failed (exit code ")
    assert "  broken\n" in said
    assert run("build", tiny, "--images", tmp_path / "images", "--json") == 1
    assert "the build failed" in answer(capsys)["errors"][0]["message"]


def test_build_of_a_recipe_with_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.yaml").write_text("bse: {}\npython: 3.11\n")

    assert run("build", tmp_path / "bad.yaml", "--images", tmp_path / "images") == 2
    said = capsys.readouterr().err
    assert "bad.yaml:1:1: bse: unknown key 'bse'; did you mean 'base'?" in said
    assert "bad.yaml:2:9: python: " in said
    assert not (tmp_path / "images").exists()


def test_build_without_a_runtime(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert run("build", tiny, "--images", tmp_path / "images") == 1
    assert "neither apptainer nor singularity is on the PATH" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert run("build", tiny, "--images", tmp_path / "file" / "images") == 1
    assert "Not a directory" in capsys.readouterr().err


def test_print(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("build", tiny, "--print", "--images", tmp_path / "images") == 0
    assert "\nBootstrap: localimage\nFrom: base\n" in capsys.readouterr().out
    assert run("build", tiny, "--print", "dockerfile") == 1
    assert "a Dockerfile starts from an image of a registry" in capsys.readouterr().err

    docker = tmp_path / "docker.yaml"
    docker.write_text("base: {docker: 'a:1'}\npinned: false\n")
    assert run("build", docker, "--print", "dockerfile") == 0
    text = capsys.readouterr().out
    assert "\nFROM a:1 AS docker\n" in text
    assert run("build", docker, "--print", "dockerfile", "--json") == 0
    assert answer(capsys)["dockerfile"] == text

    (tmp_path / "Dockerfile").write_text(text)
    assert run("build", tmp_path / "Dockerfile", "--print") == 0
    assert "\nFrom: a:1\n" in capsys.readouterr().out
    assert run("build", tmp_path / "Dockerfile", "--print", "dockerfile") == 2
    assert not (tmp_path / "images").exists()


def test_prune_where_there_are_no_locks(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    """One line, and nothing is removed."""

    def refuse(_descriptor: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)

    assert run("image", "prune", "--images", images, "--root", tmp_path / "sweeps") == 1
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert "this file system has no locks" in said
    assert len(Images(images).all()) == 3
