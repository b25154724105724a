"""Where runs go: never to a login node because somebody forgot `--on`."""

import shlex

import pytest

from cluster import cli
from cluster.profile import destination
from cluster.status import advice
from jobs.store.store import Store
from tests.fake_slurm import make_sweep

SPEC = (
    "name: small\nproblems: [quadratic_deep]\noptimizers: {SGD: {lr: 0.01}}\nseeds: 1\nepochs: 1\n"
)


@pytest.fixture
def login_node(tmp_path, monkeypatch):
    """A folder with a spec, where there is an sbatch and nothing was chosen."""
    monkeypatch.delenv(destination.VARIABLE)
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sbatch").write_text("#!/bin/sh\nexit 1\n")
    (folder / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    (tmp_path / "my spec.yaml").write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["run", "submit"])
def test_where_slurm_is_it_has_to_be_said(login_node, capsys, name):
    """What is to be typed is there to be copied; nothing is written."""
    before = sorted(login_node.rglob("*"))
    assert cli.main([name, "my spec.yaml", "--set", "epochs=2"]) == 2
    said = capsys.readouterr().err
    typed = f"probprec {name} 'my spec.yaml' --set epochs=2 --on"
    assert f"  {typed} PROFILE" in said
    assert f"  {typed} local" in said
    assert "export PROBPREC_ON=PROFILE" in said
    assert sorted(login_node.rglob("*")) == before


def test_what_is_proposed_is_accepted(login_node, capsys):
    del login_node
    cli.main(["submit", "my spec.yaml", "--dry-run"])
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "--on local" in line]
    words = shlex.split(line.partition(":")[2])[1:]
    assert cli.main(words) != 2


def test_a_profile_is_chosen_once_for_all(login_node, monkeypatch, capsys):
    del login_node
    monkeypatch.setenv(destination.VARIABLE, "mycluster")
    assert cli.main(["submit", "my spec.yaml"]) == 2
    assert "$PROBPREC_ON: no cluster 'mycluster'" in capsys.readouterr().err
    assert destination.chosen("local", []).name == "local"


def test_without_slurm_it_is_this_machine(monkeypatch, tmp_path):
    monkeypatch.delenv(destination.VARIABLE)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert destination.chosen(None, []).name == "local"
    monkeypatch.setenv(destination.VARIABLE, "")
    assert destination.chosen(None, []).name == "local"


def test_advice_says_where_if_it_must(login_node, monkeypatch):
    store = Store(login_node / "sweeps" / "fake")
    sweep = make_sweep(1, 1)
    store.save(sweep)
    assert "--on local" in advice.submit_command(store, sweep)
    monkeypatch.setenv(destination.VARIABLE, "local")
    assert "--on" not in advice.submit_command(store, sweep)
