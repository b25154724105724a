"""Which container runtime a machine has, by what scripts on its PATH say."""

import pytest

from containers import runtime
from containers.runtime import ContainerError


@pytest.fixture
def on_path(tmp_path, monkeypatch):
    """Puts commands that answer `--version` on an otherwise empty PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def put(name, answer, code=0):
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{answer}'\nexit {code}\n")
        (tmp_path / name).chmod(0o755)

    return put


@pytest.mark.parametrize(
    ("name", "answer", "found", "prefix"),
    [
        ("apptainer", "apptainer version 1.4.5", "apptainer 1.4.5", "APPTAINERENV_"),
        ("apptainer", "apptainer version 1.3.0-rc.1", "apptainer 1.3.0", "APPTAINERENV_"),
        ("singularity", "singularity-ce version 3.8.7", "singularity 3.8.7", "SINGULARITYENV_"),
        ("singularity", "singularity version 3.7.1-1.el7", "singularity 3.7.1", "SINGULARITYENV_"),
        ("singularity", "3.5.3", "singularity 3.5.3", "SINGULARITYENV_"),
        ("singularity", "apptainer version 1.1.9", "apptainer 1.1.9", "APPTAINERENV_"),
    ],
)
def test_the_runtime_is_found_with_its_version(on_path, name, answer, found, prefix):
    on_path(name, answer)

    assert str(runtime.find()) == found
    assert runtime.find().prefix == prefix
    assert runtime.find().path.endswith(name)


def test_apptainer_comes_first(on_path):
    on_path("singularity", "singularity version 3.7.1")
    on_path("apptainer", "apptainer version 1.4.5")

    assert runtime.find().name == "apptainer"


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [("no idea", 0, "says no version: 'no idea'"), ("apptainer version 1.4.5", 1, "--version")],
)
def test_one_that_does_not_answer(on_path, answer, code, message):
    on_path("apptainer", answer, code)

    with pytest.raises(ContainerError, match=message):
        runtime.find()


def test_there_is_none(monkeypatch, tmp_path):
    """The usual reason on a cluster is a module that is not loaded."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ContainerError, match="module load apptainer"):
        runtime.find()


@pytest.mark.parametrize(
    ("user", "capabilities", "options"),
    [(1000, "0", ()), (0, "000001ffffffffff", ()), (0, "000000fffeffffff", ("--userns",))],
)
def test_root_without_all_capabilities_needs_a_user_namespace(
    monkeypatch, tmp_path, user, capabilities, options
):
    status = tmp_path / "status"
    status.write_text(f"Name:\tx\nCapEff:\t{capabilities}\n")
    monkeypatch.setattr(runtime.os, "geteuid", lambda: user)
    monkeypatch.setattr(runtime, "_PROC_STATUS", status)
    found = runtime.Runtime(path="/bin/apptainer", name="apptainer", version=(1, 4))

    assert found.options == options
