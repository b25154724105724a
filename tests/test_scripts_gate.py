"""`scripts/test`: what is red at once, what is tried once more, and what that makes of the run."""

import contextlib
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def gate(monkeypatch):
    """The module, whose runs of pytest and coverage are made up: `runs` are the answers, in order."""
    found = SimpleNamespace(runs=[], asked=[], covered=0)
    functions = runpy.run_path(str(ROOT / "scripts" / "gate.py"))
    names = functions["gate"].__globals__

    def answer(*arguments, **_):
        found.asked.append(arguments)
        return found.runs.pop(0)

    monkeypatch.setitem(names, "pytest", answer)
    monkeypatch.setitem(names, "report", lambda **_: found.covered)
    monkeypatch.setitem(names, "busy", lambda _: contextlib.nullcontext())
    found.go, found.failed, found.stress = (
        functions[name] for name in ("gate", "FailedTest", "stress")
    )
    return found


def test_all_is_well(gate):
    gate.runs = [(0, [])]

    assert gate.go() == 0
    assert len(gate.asked) == 1


def test_too_little_is_covered(gate):
    gate.runs, gate.covered = [(0, [])], 2

    assert gate.go() == 2


def test_what_passes_alone_is_unstable(gate, capsys):
    gate.runs = [(1, [gate.failed("tests/a.py::b[c]", "late", is_patient=True)]), (0, [])]

    assert gate.go() == 0
    assert gate.asked[1] == ("tests/a.py::b[c]",)
    assert capsys.readouterr().out == "unstable: tests/a.py::b[c], first failure: late\n"


def test_what_fails_alone_is_red(gate, capsys):
    one, two = (gate.failed(name, "wrong", is_patient=True) for name in "ab")
    gate.runs = [(1, [one, two]), (1, [one]), (0, [])]

    assert gate.go() == 1
    said = capsys.readouterr().out.splitlines()
    assert said == ["red: a, first failure: wrong", "unstable: b, first failure: wrong"]


@pytest.mark.parametrize(
    ("code", "failed"),
    [
        (1, [("a", True), ("b", False)]),  # a unit is among them
        (1, []),  # nobody knows what failed
        (2, []),  # interrupted, or it could not be collected
        (3, [("a", True)]),  # pytest itself failed
    ],
)
def test_everything_else_is_red_at_once(gate, code, failed):
    gate.runs = [(code, [gate.failed(name, "", is_patient=patient) for name, patient in failed])]

    assert gate.go() == 1
    assert len(gate.asked) == 1
    gate.runs = [(code, [gate.failed(name, "", is_patient=patient) for name, patient in failed])]
    assert gate.stress(1) == 1


def test_stress_names_what_is_unstable_in_each_round(gate, capsys):
    one = gate.failed("a", "late", is_patient=True)
    gate.runs = [(1, [one]), (0, []), (0, [])]

    assert gate.stress(2) == 0
    assert capsys.readouterr().out.count("unstable: a, first failure: late") == 1


TESTS = """\
import pytest


@pytest.mark.slurm
@pytest.mark.parametrize("value", ["1@2"])
def test_patient(value):
    assert value == "x", "the reason"


def test_unit():
    raise ValueError("another")


@pytest.fixture
def broken():
    raise OSError("early")


@pytest.mark.apptainer
@pytest.mark.xdist_group("lab")
def test_setup(broken): ...


def test_good(): ...
"""


@pytest.mark.parametrize("processes", ["0", "2"])
def test_what_failed_is_written_down(tmp_path, processes):
    """By name, without what pytest-xdist adds to it; with the reason, and whether it may be tried again."""
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    slurm\n    apptainer\n")
    words = ["-p", "tests.failures", "-q", "-n", processes, "--dist", "loadgroup"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "--failures-to", "failures.json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    found = {one["test"]: one for one in json.loads((tmp_path / "failures.json").read_text())}

    assert {name: one["is_patient"] for name, one in found.items()} == {
        "test_it.py::test_patient[1@2]": True,
        "test_it.py::test_unit": False,
        "test_it.py::test_setup": True,
    }
    assert "the reason" in found["test_it.py::test_patient[1@2]"]["message"]
    assert found["test_it.py::test_setup"]["message"] == "OSError: early"
