"""Standard output that is full, closed, cut off, or cannot take a character."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.make_sweep import make_sweep

CASES = [["status", "small"], ["status", "small", "--json"], ["collect", "small"], ["--help"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A sweep whose labels are of no single encoding, and whose name is of none at all."""
    folder = tmp_path_factory.mktemp("\udcff")
    store = make_sweep(
        folder / "sweeps" / "small",
        problems=("quadratic_deep",),
        optimizers={"SGD": [{"lr": 0.1}, {"lr": 0.2}]},
    )
    file = store.sweep_file
    file.write_text(file.read_text().replace('"SGD"', json.dumps("Größe ± 学习 🐍")))
    return folder


def command(*words):
    return [sys.executable, "-m", "cluster.cli", *words]


@pytest.mark.parametrize("words", CASES, ids=" ".join)
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_character_finds_its_way(folder, words, encoding):
    """As itself or as its escape; what machines read stays what it is."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(
        command(*words), cwd=folder, env=environment, capture_output=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    text = done.stdout.decode(encoding)
    if "--json" in words:
        assert json.loads(text)["states"] == {"completed": 6}
    if words[0] == "collect" and encoding == "ascii":
        assert " +- " in text


def test_json_loses_nothing_in_ascii(folder):
    """Where a text would be written in another way, JSON has an escape."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    words = command("collect", "small", "--json", "--out", "a±b")
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, check=True)

    assert json.loads(done.stdout)["files"][0] == "a±b/runs.parquet"


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", CASES[:3], ids=" ".join)
def test_a_full_disk_behind_it_is_said(folder, words, unbuffered):
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command(*words),
            cwd=folder,
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert done.returncode == 1
    assert done.stderr.startswith("standard output: No space left on device; next: make room")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", CASES, ids=" ".join)
@pytest.mark.parametrize("how", [" | head -c 1", " >&-", " >&- 2>&-"])
def test_nobody_listens(folder, words, how):
    """A reader that has left, as `head` does, and streams that are closed."""
    line = " ".join(command(*words))
    done = subprocess.run(
        ["bash", "-c", f"{line}{how}; exit ${{PIPESTATUS[0]}}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode in {0, 1}
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (["status", "none"], 2, "sweeps/none is no sweep"),
        (["collect", "small", "--out", "/proc/none"], 1, "/proc/none: No such file"),
        (["why", "zz"], 2, "'zz'"),
        (["run", "wrong.yaml"], 2, "expected seeds like"),
        (["submit", "wrong.yaml"], 2, "expected seeds like"),
        (["data", "verify", "none"], 2, "no data set 'none'"),
    ],
)
def test_what_is_wrong_is_one_json_object_too(folder, words, code, named):
    (folder / "wrong.yaml").write_text(
        "problems: [digits_mlp]\noptimizers: {SGD: {lr: 0.1}}\nseeds: a\n"
    )
    done = subprocess.run(
        command(*words, "--json"), cwd=folder, capture_output=True, text=True, check=False
    )
    content = json.loads(done.stdout)

    assert done.returncode == code
    assert content["schema"] == 1
    assert named in content["errors"][0]["message"]
    assert named in done.stderr


def test_a_terminal_that_says_it_has_no_columns(folder):
    environment = {**os.environ, "COLUMNS": "0"}
    done = subprocess.run(
        command("status", "small"), cwd=folder, env=environment, capture_output=True, check=False
    )

    assert done.returncode == 0, done.stderr
