"""Data that runs would not find: what is said of it, and that nothing is written or sent."""

import json
import shutil
from dataclasses import replace

import pytest

from cluster import cli
from jobs.datasets import find
from jobs.datasets.catalog import DATASETS
from jobs.store.store import Store
from tests.fake_slurm import FakeSlurm
from tests.helpers import content_of

ORIGINAL = find.find("fmnist")


@pytest.fixture(autouse=True)
def fake(tmp_path, monkeypatch):
    """A Slurm, and a machine whose system has neither MNIST nor Fashion-MNIST."""
    monkeypatch.chdir(tmp_path)
    for name in ("PROBPREC_IMAGES", "PROBPREC_DATASETS", "PROBPREC_DATA", "PROBPREC_ON"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PROBPREC_ROOT", str(tmp_path / "sweeps"))
    for name in ("mnist", "fmnist"):
        monkeypatch.setitem(DATASETS, name, replace(DATASETS[name], well_known=()))
    found = FakeSlurm(tmp_path / "fake", monkeypatch, sent=False)
    found.queue()
    (tmp_path / "mine.py").write_text(
        "from jobs.problems.problem import Problem\n\n\nclass Mine(Problem):\n    pass\n"
    )
    return found


def write(tmp_path, problems, data="", place=""):
    """A spec with two seeds, and a profile of the cluster."""
    (tmp_path / "a.yaml").write_text(
        f"seeds: 1..2\nepochs: 1\noptimizers: {{SGD: {{lr: 0.1}}}}\nproblems:\n{problems}\n{data}"
    )
    (tmp_path / "there.yaml").write_text(f"engine: slurm\n{place}\n")


SUBMIT = ("submit", "a.yaml", "--on", "./there.yaml")
OWN = '  m: {problem: "mine:Mine", batch_size: 2}'


def refused(tmp_path, fake, capsys, *words):
    """What a command says that is refused, with nothing written or sent."""
    sent = [call for call in fake.calls("sbatch") if "--test-only" not in call]
    before = everything(tmp_path)
    assert cli.main(list(words)) == 2
    assert everything(tmp_path) == before
    assert [call for call in fake.calls("sbatch") if "--test-only" not in call] == sent
    return capsys.readouterr().err


def everything(folder):
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".calls"]
    return {path: path.read_bytes() for path in files}


@pytest.mark.parametrize(
    "command",
    [SUBMIT, (*SUBMIT, "--dry-run"), ("run", *SUBMIT[1:]), ("check", *SUBMIT[1:])],
    ids=["submit", "dry run", "run", "check"],
)
def test_a_data_set_that_is_nowhere(tmp_path, fake, capsys, command):
    """Of each: the problems' lines in the spec, where it was looked for, and what to do."""
    write(tmp_path, "  mnist_mlp:\n  mnist_2c2d:\n  fmnist_mlp:\n  digits_mlp:", "", "data: ./sets")
    said = refused(tmp_path, fake, capsys, *command)

    for place in ("5:3: problems.mnist_mlp", "6:3: problems.mnist_2c2d"):
        assert f"a.yaml:{place}: the data set mnist is not here\n" in said
    assert "a.yaml:7:3: problems.fmnist_mlp: the data set fmnist is not here\n" in said
    assert "digits" not in said
    assert f"Looked in:\n  {tmp_path}/sets/mnist: no such folder\n" in said
    assert "there is no datasets/mnist.json" in said
    assert "probprec data add fmnist FOLDER\n" in said
    assert f"only the nodes have it: `data_on_nodes: true` in {tmp_path}/there.yaml" in said


def test_what_is_proposed_works(tmp_path, fake, capsys):
    """To add the data set; or to say in the profile that only the nodes have it."""
    write(tmp_path, "  fmnist_mlp:")
    refused(tmp_path, fake, capsys, *SUBMIT)
    write(tmp_path, "  fmnist_mlp:", "", "data_on_nodes: true\ndata: /only/there")
    assert cli.main([*SUBMIT, "--dry-run"]) == 0
    assert "left to the nodes: nothing of it is sealed" in capsys.readouterr().err
    write(tmp_path, "  fmnist_mlp:")
    assert cli.main(["data", "add", "fmnist", str(ORIGINAL)]) == 0
    assert cli.main([*SUBMIT]) == 0

    (content,) = (content_of(one) for one in Store(tmp_path / "sweeps" / "a").submissions())
    assert content["datasets"]["fmnist"]["path"] == str(ORIGINAL.resolve())


def test_an_archive_as_the_profiles_data_is_looked_into_no_further(tmp_path, fake, capsys):
    """It has not been added: no node would unpack it."""
    (tmp_path / "sets.tar").write_bytes(b"")
    write(tmp_path, "  fmnist_mlp:", "", "data: ./sets.tar")

    said = refused(tmp_path, fake, capsys, *SUBMIT)
    assert "a.yaml:5:3: problems.fmnist_mlp: the data set fmnist is not here" in said


def test_what_a_package_carries_is_that_of_the_trainings_python(
    tmp_path, fake, capsys, monkeypatch
):
    """If it is another one than this, or in an image, nobody looks for the package here."""
    monkeypatch.setitem(DATASETS, "digits", replace(DATASETS["digits"], package=("nowhere", "x")))
    write(tmp_path, "  digits_mlp:")
    assert "the data set digits is not here" in refused(tmp_path, fake, capsys, *SUBMIT)
    write(tmp_path, "  digits_mlp:", "", "python: /opt/python")
    assert cli.main([*SUBMIT, "--dry-run"]) == 0


def test_runs_that_are_not_sent_need_no_data(tmp_path, fake):
    """Neither those that have a record, nor those that nobody chose; nor is `data:` looked at then."""
    write(tmp_path, "  mnist_mlp:\n  digits_mlp:")
    assert cli.main([*SUBMIT, "--only", "problem=digits_mlp"]) == 0
    store = Store(tmp_path / "sweeps" / "a")
    fake.store, fake.runs = store, [one.run for one in store.sweep().runs]
    for index, planned in enumerate(store.sweep().runs):
        if planned.problem == "mnist_mlp":
            fake.record(index)
    assert cli.main([*SUBMIT, "--dry-run"]) == 0

    for index in range(4):
        fake.record(index)
    write(tmp_path, "  mnist_mlp:\n  digits_mlp:", "data: ./nowhere\n")
    assert cli.main([*SUBMIT]) == 0


@pytest.mark.parametrize("engine", ["slurm", "local"])
def test_the_specs_data_is_not_there(tmp_path, fake, capsys, engine):
    """It is refused wherever it goes; only of a cluster the nodes may have what the profile names."""
    write(tmp_path, OWN, "data: ./nowhere\n")
    (tmp_path / "there.yaml").write_text(f"engine: {engine}\n")
    said = refused(tmp_path, fake, capsys, *SUBMIT)

    assert said.startswith(f"a.yaml:6:7: data: {tmp_path}/nowhere: no such file or folder\n")
    assert "a.yaml:5:16: problems.m: is given that folder\n" in said
    assert "next: mend `data:` there\n" in said
    assert ("data_on_nodes: true" in said) == (engine == "slurm")


def test_the_profiles_data_is_not_there(tmp_path, fake, capsys):
    """Of a cluster's it matters if a problem of one's own gets it."""
    write(tmp_path, OWN, "", "data: ./nowhere")
    said = refused(tmp_path, fake, capsys, *SUBMIT)
    assert f"{tmp_path}/there.yaml: data: {tmp_path}/nowhere: no such file or folder\n" in said
    assert "a.yaml:5:16: problems.m: is given that folder\n" in said
    assert f"`data_on_nodes: true` in {tmp_path}/there.yaml" in said

    write(tmp_path, OWN, "", "data: ./nowhere\ndata_on_nodes: true")
    assert cli.main([*SUBMIT, "--dry-run"]) == 0
    write(tmp_path, "  digits_mlp:", "", "data: ./nowhere")
    assert cli.main([*SUBMIT, "--dry-run"]) == 0
    (tmp_path / "there.yaml").write_text("engine: local\ndata: ./nowhere\n")
    assert f"{tmp_path}/nowhere: no such" in refused(tmp_path, fake, capsys, *SUBMIT)


def test_what_was_added_is_gone(tmp_path, fake, capsys):
    copy = shutil.copytree(ORIGINAL, tmp_path / "copy")
    assert cli.main(["data", "add", "fmnist", str(copy)]) == 0
    copy.rename(tmp_path / "moved")
    write(tmp_path, "  fmnist_mlp:")
    said = refused(tmp_path, fake, capsys, *SUBMIT)

    assert (
        f"a.yaml:5:3: problems.fmnist_mlp: the data set fmnist is no longer where it was added from, {copy}"
        in said
    )
    assert "probprec data add fmnist FOLDER\n" in said
    assert cli.main(["data", "add", "fmnist", str(tmp_path / "moved")]) == 0
    assert cli.main([*SUBMIT, "--dry-run"]) == 0


@pytest.mark.parametrize("command", [("retry", "a", "--failed"), ("redo", "a")])
def test_runs_that_are_sent_again(tmp_path, fake, capsys, command):
    """The profile is that of the last submission: whoever mends its file has to name it."""
    copy = shutil.copytree(ORIGINAL, tmp_path / "sets" / "fmnist")
    write(tmp_path, "  fmnist_mlp:", "", "data: ./sets")
    assert cli.main([*SUBMIT]) == 0
    fake.store = Store(tmp_path / "sweeps" / "a")
    fake.runs = [one.run for one in fake.store.sweep().runs]
    for index in range(2):
        fake.fail(index, f"900_{index}", "exception")
    shutil.rmtree(copy)
    said = refused(tmp_path, fake, capsys, *command)

    assert "problems.fmnist_mlp: the data set fmnist is not here\n" in said
    place = tmp_path / "there.yaml"
    assert f"`data_on_nodes: true` in {place}, then --on {place}\n" in said
    write(tmp_path, "  fmnist_mlp:", "", "data: ./sets\ndata_on_nodes: true")
    refused(tmp_path, fake, capsys, *command)
    assert cli.main([*command, "--on", str(place)]) == 0


def test_check_only_notes_it(tmp_path, capsys):
    """Where the runs go, it may be there."""
    write(tmp_path, f"  fmnist_mlp:\n  digits_mlp:\n{OWN}", "data: ./nowhere\n")
    expected = [
        f"a.yaml:8:7: data: {tmp_path}/nowhere: no such file or folder",
        "a.yaml:7:16: problems.m: is given that folder",
        "a.yaml:5:3: problems.fmnist_mlp: the data set fmnist is not here",
    ]
    assert cli.main(["check", "a.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["missing_data"] == expected
    assert cli.main(["check", "a.yaml"]) == 0
    assert capsys.readouterr().err.splitlines() == expected


def test_check_with_a_profile_says_what_it_costs(tmp_path, capsys):
    write(tmp_path, "  digits_mlp:", place="resources: {time: 00:30:00, gpus: 1}")
    assert cli.main(["check", "a.yaml", "--on", "./there.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hours_at_most"] == {"GPU": 1.0}
    write(tmp_path, "  digits_mlp:")
    assert cli.main(["check", "a.yaml", "--on", "./there.yaml"]) == 0
    assert "\nno bound: no time limit\n" in capsys.readouterr().out
