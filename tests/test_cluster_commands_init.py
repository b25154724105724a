"""`init`: what it writes can be run at once, and nothing that is there is touched."""

import os
import runpy
import shlex
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from cluster import cli
from cluster.commands import init
from cluster.profile import destination
from cluster.terminal.plain import command
from jobs import files
from jobs.spec import load
from tests.fake_slurm import FakeSlurm
from tests.helpers import probprec


def test_what_is_written_can_be_run(tmp_path):
    """The commands that are printed, as they are printed; one seed and one epoch of it."""
    told = probprec("init", "my study", cwd=tmp_path).stdout.splitlines()
    steps = [shlex.split(line)[1:] for line in told[told.index("next:") + 1 :]]
    assert [step[0] for step in steps] == ["check", "run", "collect", "plot"]
    check, run, collect, plot = steps
    assert "mistake" not in probprec(*check, cwd=tmp_path).stdout
    less = ("--set", "seeds=42", "--set", "epochs=1", "--name", collect[1])
    probprec(*run, *less, cwd=tmp_path)
    assert "mine" in probprec(*collect, cwd=tmp_path).stdout
    probprec(*plot, cwd=tmp_path)
    commented = (tmp_path / "my study" / "experiment.yaml").read_text()
    assert "# probprec check 'my study/experiment.yaml'" in commented


def test_the_optimizer_is_the_one_beside_the_spec(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert init.init(Path(), slurm=False) == 0
    classes = {
        planned.optimizer: planned.run.optimizer for planned in load(Path("experiment.yaml")).runs
    }
    assert classes["mine"] == "my_optimizer.MyOptimizer"


def test_the_optimizer_is_right(tmp_path):
    """It does what torch's SGD with momentum does, with the norm over all parameters in its log."""
    init.init(tmp_path, slurm=False)
    namespace = runpy.run_path(str(tmp_path / "my_optimizer.py"))
    of_ours, of_torch = ([torch.nn.Parameter(torch.ones(n)) for n in (1, 2, 3)] for _ in range(2))
    mine = namespace["MyOptimizer"](of_ours, lr=0.1, momentum=0.9)
    theirs = torch.optim.SGD(of_torch, lr=0.1, momentum=0.9)
    mine.step()  # no parameter has a gradient
    assert mine.get_log() == {"speed": 0.0}
    for step in (1, 2):
        for p in (*of_ours[:2], *of_torch[:2]):
            p.grad = step * p.detach()
        mine.step()
        theirs.step()
    assert all(torch.equal(p, q) for p, q in zip(of_ours, of_torch, strict=True))
    moved = [theirs.state[p]["momentum_buffer"] for p in of_torch[:2]]
    assert mine.get_log()["speed"].item() == pytest.approx(torch.cat(moved).norm().item())


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        *((name, name) for name in ("lr-study", "2024", "no", "TRUE", "null", "1e5", "0x10")),
        *((name, "experiment") for name in ("it's", "co:lon", "{name}", "50% job", "#1")),
    ],
)
def test_the_sweep_is_called_as_the_folder(tmp_path, folder, name):
    init.init(tmp_path / folder, slurm=False)
    spec = tmp_path / folder / "experiment.yaml"
    assert load(spec).name == name
    assert f"# {command('check', spec)} " in spec.read_text()


@pytest.mark.parametrize("there", ["experiment.yaml", "my_optimizer.py"])
def test_nothing_is_overwritten(tmp_path, capsys, there):
    (tmp_path / there).write_text("mine")
    assert cli.main(["init", str(tmp_path)]) == 2
    assert f"already there: {tmp_path / there}; nothing was written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


def test_all_of_it_or_nothing(tmp_path, monkeypatch, capsys):
    publish = files.publish

    def full(path, content):
        if path.suffix == ".py":
            raise OSError(28, "No space left on device", str(path))
        publish(path, content)

    monkeypatch.setattr(files, "publish", full)
    assert cli.main(["init", str(tmp_path)]) == 1
    assert "my_optimizer.py" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.getuid() != 0, reason="mounting takes root")
def test_a_full_disk_stays_as_it_was(tmp_path, capsys):
    """Whichever file finds no room: neither the others nor the folders made for them are left."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "probprec", tmp_path], check=True)
    try:
        with (tmp_path / "filler").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        full, said = (tmp_path / "filler").stat().st_size, []
        for room in range(0, full, 4096):
            os.truncate(tmp_path / "filler", full - room)
            if cli.main(["init", str(tmp_path / "some" / "new")]) == 0:
                break
            said.append(capsys.readouterr().err)
            assert [path.name for path in tmp_path.iterdir()] == ["filler"]
    finally:
        subprocess.run(["umount", "--lazy", tmp_path], check=True)

    assert all("No space left" in line for line in said)
    assert {Path(line.split(": ")[0]).name for line in said} == {
        "experiment.yaml",
        "my_optimizer.py",
    }


def test_a_profile_of_the_cluster(tmp_path, monkeypatch, capsys):
    slurm = FakeSlurm(tmp_path / "fake", monkeypatch, 1, sent=False)
    slurm.command("scontrol", "echo 'ClusterName = tiny'; echo 'SLURM_VERSION = 23.11.4'")
    slurm.command("sinfo", "echo 'day*|up|1-00:00:00|1:00:00|2|1/1|16|64000|gpu:a100:4|(null)'")
    assert cli.main(["init", str(tmp_path / "new"), "--slurm"]) == 0
    told = capsys.readouterr().out
    profile = tmp_path / "new" / "cluster.yaml"
    assert f"probprec doctor --on {profile} --node" in told
    assert "partition: day" in profile.read_text()


def test_without_slurm_there_is_no_profile(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["init", str(tmp_path / "new"), "--slurm"]) == 2
    assert "login node" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_where_slurm_is_all_commands_say_where(tmp_path, monkeypatch):
    """Those that are printed, and the one in the spec."""
    monkeypatch.delenv(destination.VARIABLE)
    sbatch = tmp_path / "sbatch"
    sbatch.write_text("#!/bin/sh\nexit 1\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert init.init(tmp_path / "new", slurm=False) == 0
    text = (tmp_path / "new" / "experiment.yaml").read_text()
    assert f"# probprec run {tmp_path}/new/experiment.yaml --on local" in text
