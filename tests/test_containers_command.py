"""The command line and the environment that a training is started with."""

import os
import sys
from pathlib import Path

import pytest

from containers import command


@pytest.fixture
def training(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/login/shell")
    monkeypatch.setenv("PYTHONHOME", "/another/python")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    monkeypatch.setenv("MY_TOKEN", "kept")
    return command.training(
        Path("/s/run.json"),
        Path("/s/attempts/0001"),
        data=Path("/data"),
        code=[Path("/mine"), Path("/more")],
        threads=3,
        gpu="1",
    )


def test_arguments(training):
    assert training.arguments == (
        *(sys.executable, "-m", "jobs.train", "/s/run.json", "--out", "/s/attempts/0001"),
        *("--data", "/data", "--die-with-parent"),
    )


def test_no_data_folder_is_no_argument():
    arguments = command.training(
        Path("r"), Path("o"), data=None, code=[], threads=1, gpu=""
    ).arguments

    assert "--data" not in arguments


def test_environment(training):
    """Our packages come before the user's; the shell's Python settings do not reach the run."""
    environment = training.environment
    root = str(Path(command.__file__).resolve().parent.parent)

    assert environment["PYTHONPATH"] == os.pathsep.join([root, "/mine", "/more"])
    assert environment["PYTHONSAFEPATH"] == "1"
    assert "PYTHONHOME" not in environment
    assert environment["CUDA_VISIBLE_DEVICES"] == "1"
    assert environment["OMP_NUM_THREADS"] == "3"
    assert environment["MY_TOKEN"] == "kept"
