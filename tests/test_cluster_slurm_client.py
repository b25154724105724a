"""What Slurm's commands print, read with suspicion: sites wrap them, and their answers."""

import os
import time

import pytest

from cluster.slurm import client, site
from cluster.slurm.process import UnreachableError
from cluster.status.sweep_status import sweep_status
from cluster.submit import submit
from tests.fake_slurm import FakeSlurm
from tests.helpers import content_of

GREETING = (
    "Welcome to the cluster | maintenance on 2026-12-01 | ask | us | first | and | wait | a bit"
)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    return FakeSlurm(tmp_path, monkeypatch)


def greet(fake, name, text=GREETING):
    """Let a wrapper print a line before and after what the command says."""
    path = fake.bin / name
    inner = path.rename(path.with_name(f"{name}.inner"))
    fake.command(name, f"echo '{text}'; '{inner}' \"$@\" || exit; echo '{text}'")


def states(fake):
    return [one.state.state for one in sweep_status(fake.store).runs]


@pytest.mark.parametrize("text", [GREETING, "", "2026", "Last login: Mon", "a=b|c=d"])
def test_a_wrapper_that_greets(fake, text):
    fake.queue(*[(f"100_{index}", "PENDING") for index in range(3)])
    row = {"JobID": "100_3", "State": "TIMEOUT"}
    fake.accounting([row])
    for name in ("squeue", "sacct", "scontrol"):
        greet(fake, name, text)

    assert states(fake) == ["pending", "pending", "pending", "stopped"]
    assert client.accounting([100], time.time())[0].state == "TIMEOUT"
    assert client.number_of(site.config(), "MaxArraySize", 7) == 1001


def test_the_uid_says_whose_jobs_are_mine(fake, monkeypatch):
    """Not USER or LOGNAME, which may be another's (su, sudo -E)."""
    for name in ("USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "nobody")
    mine = f'case "$*" in *--user={os.getuid()}\\ *) cat {fake.folder}/squeue.txt;; esac'
    fake.queue(*[(f"100_{index}", "PENDING") for index in range(4)])
    fake.command("squeue", mine)
    fake.command("sacctmgr", "")

    assert states(fake) == ["pending"] * 4
    assert not submit.submit(fake.sweep, fake.store, fake.seal()).submitted
    site.submit_caps(None, None)
    site.associations()
    assert len(fake.calls("sacctmgr")) == 2
    assert not [call for call in fake.calls("sacctmgr") if "nobody" in call]


@pytest.mark.parametrize(
    ("said", "job"),
    [
        ("900", 900),
        ("900;cluster", 900),
        ("Welcome 1\n\n900\n3 jobs are yours", 900),
        ("Submitted batch job 900", 900),
        ("", None),
        ("2026\n900", None),
    ],
)
def test_the_job_that_sbatch_took(fake, tmp_path, said, job):
    fake.command("sbatch", f"cat <<'END'\n{said}\nEND")

    if job is not None:
        assert client.sbatch(tmp_path / "x.sh")[0] == job
        return
    with pytest.raises(UnreachableError, match="instead of a job id"):
        client.sbatch(tmp_path / "x.sh")


def test_a_job_whose_id_nobody_could_read_is_not_sent_twice(tmp_path, monkeypatch):
    """It may be in the queue: its token says which one it is."""
    fake = FakeSlurm(tmp_path, monkeypatch, sent=False)
    fake.queue()
    fake.command("sbatch", "echo thank you")
    with pytest.raises(UnreachableError):
        submit.submit(fake.sweep, fake.store, fake.seal())
    (part,) = fake.store.submission(1).parts("chunk")
    token = content_of(part)["token"]
    lines = [f"900|{i}|{900 + i}|PENDING|None||normal|of the site: {token}" for i in range(4)]
    fake.command("squeue", "\n".join(f"echo '{line}'" for line in lines))

    assert not submit.submit(fake.sweep, fake.store, fake.seal()).submitted
    assert part.job_id() == 900
    assert len(fake.calls("sbatch")) == 1


def test_what_a_path_says_is_not_what_slurm_says(fake):
    """A job's folder may be called anything."""
    line = (
        "JobId=7 JobName=x JobState=RUNNING EndTime=Unknown WorkDir=/a JobState=FAILED /EndTime=1"
    )
    fake.command("scontrol", f"echo hello JobState=NONE; echo '{line}'")

    assert client.show_job("7")["JobState"] == "RUNNING"
    assert client.show_job("7")["EndTime"] == "Unknown"


def test_slurm_is_not_asked_about_what_has_a_record(fake):
    fake.command("squeue", "exec sleep 600")
    for index in range(4):
        fake.record(index)

    look = sweep_status(fake.store)

    assert (look.slurm_calls, fake.calls("squeue")) == (0, [])
    assert look.is_complete


def test_whoever_looks_does_not_wait_for_ever(fake, monkeypatch):
    monkeypatch.setattr("cluster.status.sweep_status._PATIENCE_S", 0.5)
    fake.command("squeue", "exec sleep 600")
    fake.record(0)

    look = sweep_status(fake.store)

    assert [one.state.state for one in look.runs] == ["completed", *["unknown"] * 3]
    assert look.notes == ["Slurm cannot be asked now: squeue: no answer within 0.5 s"]


def test_the_shell_sends_no_job_to_another_cluster(fake, monkeypatch):
    """Nor asks or cancels there: none of Slurm's commands sees what the shell would add."""
    for name in ("SLURM", "SBATCH", "SQUEUE", "SCANCEL", "SACCT", "SCONTROL", "SINFO"):
        monkeypatch.setenv(f"{name}_CLUSTERS", "other")
    seen = fake.folder / "seen"
    names = ("sbatch", "squeue", "scancel", "sacct", "scontrol", "sinfo", "sacctmgr")
    for name in names:
        fake.command(name, f"echo {name} $(env | grep _CLUSTERS=) >>{seen}; echo 900")
    client.sbatch(fake.folder / "script.sh")
    client.queue()
    client.cancel(["900"])
    client.accounting([900], time.time())
    site.config()
    site.partitions()
    site.associations()

    assert set(seen.read_text().splitlines()) == set(names)
