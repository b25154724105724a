"""Writes down which tests failed, for `scripts/gate.py`: `pytest --failures-to FILE`.

A pytest plugin (`conftest.py` loads it).
"""

import json
from pathlib import Path

import pytest

PATIENT = {"slurm", "apptainer"}
"""Marks of tests that meet a whole cluster, or a build: one that fails is tried once more, alone."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option."""
    parser.addoption("--failures-to", metavar="FILE", help="write the failed tests there, as JSON")


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Write them down, each once."""
    file = config.getoption("--failures-to")
    if file is None:
        return
    found: dict[str, dict[str, object]] = {}
    for status in ("failed", "error"):
        for report in terminalreporter.getreports(status):
            name = _without_group(report.nodeid)
            crash = getattr(report.longrepr, "reprcrash", None)
            text = crash.message if crash is not None else str(report.longrepr)
            found.setdefault(
                name,
                {
                    "test": name,
                    "message": next(iter(text.splitlines()), ""),
                    "is_patient": bool(PATIENT & set(getattr(report, "keywords", {}))),
                },
            )
    Path(file).write_text(json.dumps(list(found.values()), indent=1))


def _without_group(nodeid: str) -> str:
    """The name without what pytest-xdist adds: its group."""
    name, at, group = nodeid.rpartition("@")
    return name if at and "]" not in group and "/" not in group else nodeid
