"""The command line and the environment that a training is started with."""

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
        python="/venv/python",
        data=Path("/data"),
        resume=[Path("/s/attempts/0002"), Path("/s/attempts/0001")],
        until=1000.4,
        checkpoint_every=60,
        modules=[Path("/code.zip"), Path("/code.zip/own/0")],
        threads=3,
        gpu="1",
        needs_gpu=True,
        scratch=Path("/scratch/7"),
    )


def test_arguments(training):
    assert training.arguments == (
        *("/venv/python", "-m", "jobs.train", "/s/run.json", "--out", "/s/attempts/0001"),
        *("--data", "/data", "--resume", "/s/attempts/0002", "--resume", "/s/attempts/0001"),
        *("--until", "1000", "--checkpoint-every", "60", "--gpu", "--die-with-parent"),
    )


def test_what_is_not_wanted_is_no_argument():
    plain = command.training(
        Path("r"),
        Path("o"),
        python="p",
        data=None,
        resume=[],
        until=None,
        checkpoint_every=600,
        modules=[],
        threads=1,
        gpu="",
        needs_gpu=False,
        scratch=None,
    )

    assert not {"--data", "--resume", "--until", "--gpu"} & set(plain.arguments)


def test_environment(training):
    """Our packages come before the user's; the shell's Python settings do not reach the run."""
    environment = training.environment

    assert environment["PYTHONPATH"] == "/code.zip:/code.zip/own/0"
    assert environment["PYTHONSAFEPATH"] == "1"
    assert "PYTHONHOME" not in environment
    assert environment["CUDA_VISIBLE_DEVICES"] == "1"
    assert environment["OMP_NUM_THREADS"] == "3"
    assert environment["MY_TOKEN"] == "kept"
    assert environment["TMPDIR"] == "/scratch/7"
