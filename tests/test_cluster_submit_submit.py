"""What is sent again, and what is not, when Slurm's word and the files' do not agree."""

import json

import pytest

from cluster import cli
from cluster.slurm.process import UnreachableError
from cluster.submit import submit
from tests.fake_slurm import FakeSlurm
from tests.helpers import content_of


@pytest.fixture
def fake(tmp_path, monkeypatch):
    return FakeSlurm(tmp_path, monkeypatch)


def sent(fake):
    """The indices of the runs that a submission would send now."""
    receipt = submit.submit(fake.sweep, fake.store, fake.seal())
    return [index for index, run in enumerate(fake.runs) if run.id in receipt.submitted]


def test_a_process_that_outlived_its_job_holds_nobody_up(fake):
    """Slurm says that its element is over, or has forgotten it: its lock does not count."""
    attempts = [fake.claim(index, f"100_{index}") for index in range(4)]
    fake.queue(("100_0", "NODE_FAIL"), ("100_1", "RUNNING", "None", "node1"))

    assert sent(fake) == [0, 2, 3]
    for attempt in attempts:
        attempt.release()


def test_a_job_younger_than_the_queue_is_not_missed(fake):
    attempt = fake.claim(0, "100_0", ago=1.0)
    fake.queue(*[(f"100_{index}", "PENDING") for index in (1, 2, 3)])

    assert sent(fake) == []
    attempt.release()


def test_while_slurm_cannot_be_asked_nothing_that_it_may_hold_is_sent(fake):
    """The runs that it was given may wait there still, although sbatch would take them again."""
    fake.record(0)
    fake.down()

    with pytest.raises(UnreachableError, match=r"whether 100_1 still waits.*nothing was sent"):
        sent(fake)
    assert not fake.calls("sbatch")
    assert len(fake.store.submissions()) == 1


def test_a_torn_record_is_set_aside(fake):
    fake.claim(0, "100_0").release()
    fake.record(0)
    folder = fake.store.run(fake.runs[0].id)
    folder.record_file.write_bytes(folder.record_file.read_bytes()[:50])
    fake.queue(*[(f"100_{index}", "PENDING") for index in (1, 2, 3)])

    assert sent(fake) == [0]
    assert [line["event"] for line in folder.journal()] == [
        "claimed",
        "record set aside",
    ]
    assert len(list(folder.path.glob("record.torn-*"))) == 1


def test_why_nothing_was_sent_is_in_the_json(tmp_path, monkeypatch, capsys):
    """In a queue that is full of other jobs."""
    fake = FakeSlurm(tmp_path, monkeypatch, sent=False)
    fake.queue(("77", "PENDING"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full.yaml").write_text("engine: slurm\nlimits: {max_submit: 1}\n")
    (tmp_path / "some.yaml").write_text(
        "problems: [digits_mlp]\noptimizers: {SGD: {lr: 0.1}}\nseeds: 1..2\nepochs: 1\n"
    )
    words = ["submit", "some.yaml", "--on", "./full.yaml", "--root", str(tmp_path / "sweeps")]

    assert cli.main([*words, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["jobs"] == []
    assert (report["feeder"], report["waiting"]) == (None, 2)
    assert report["problem"] == "the queue has no room, and nothing of this sweep is in it"


@pytest.mark.parametrize(("where", "sent_now"), [("another", 2), ("normal", 0)])
@pytest.mark.parametrize("mine", ["|normal|another,normal", "||another,normal", "||normal"])
def test_a_cap_of_a_qos_counts_its_own_jobs(tmp_path, monkeypatch, capsys, where, sent_now, mine):
    """Two of mine are in the queue; at most two may be there of the quality of service asked for.

    Nobody asks for one: it is the default, else the only one that I may use, else `normal`.
    """
    fake = FakeSlurm(tmp_path, monkeypatch, sent=False)
    lines = [f"{job}|N/A|{job}|PENDING|None||{where}|" for job in (77, 78)]
    fake.command("squeue", "\n".join(f"echo '{line}'" for line in lines))
    fake.command("scontrol", "echo 'AccountingStorageEnforce = limits'")
    cap = 'case "$*" in *qos*where*name=normal*) echo 2;; *qos*where*) echo 0;;'
    fake.command("sacctmgr", f"{cap} *) echo '{mine}';; esac")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site.yaml").write_text("engine: slurm\n")
    (tmp_path / "some.yaml").write_text(
        "problems: [digits_mlp]\noptimizers: {SGD: {lr: 0.1}}\nseeds: 1..2\nepochs: 1\n"
    )
    words = ["submit", "some.yaml", "--on", "./site.yaml", "--root", str(tmp_path / "sweeps")]

    cli.main([*words, "--json"])

    report = json.loads(capsys.readouterr().out)
    assert sum(len(job["runs"]) for job in report["jobs"]) == sent_now


@pytest.mark.parametrize(
    "said",
    [
        "echo 'Welcome to the cluster'; echo '900;here'; echo 'see you'",
        "echo 'Submitted batch job 900'",
        "echo '  900  '",
    ],
)
def test_what_a_site_prints_around_the_job_is_passed_over(tmp_path, monkeypatch, said):
    fake = FakeSlurm(tmp_path, monkeypatch, sent=False)
    fake.queue()
    fake.command("sbatch", said)

    assert sent(fake) == [0, 1, 2, 3]
    assert fake.store.submissions()[0].parts("chunk")[0].job_id() == 900


@pytest.mark.parametrize("said", ["echo 'thank you'", "echo 2026; echo 900"])
def test_a_job_that_sbatch_does_not_name_is_looked_for(tmp_path, monkeypatch, said):
    """It may have been taken: what was written down stays, and the queue knows the token."""
    fake = FakeSlurm(tmp_path, monkeypatch, sent=False)
    fake.queue()
    fake.command("sbatch", said)
    with pytest.raises(UnreachableError, match="instead of a job id; the next command"):
        sent(fake)
    part = fake.store.submissions()[0].parts("chunk")[0]
    token = content_of(part)["token"]
    lines = [f"900|{task}|90{task}|PENDING|None||normal|{token}" for task in range(4)]
    fake.command("squeue", "; ".join(f"echo '{line}'" for line in lines))

    assert sent(fake) == []
    assert part.job_id() == 900


def test_a_record_that_cannot_be_read_now_stays(fake):
    """Only what was read and found torn is set aside."""
    fake.claim(0, "100_0").release()
    folder = fake.store.run(fake.runs[0].id)
    folder.record_file.symlink_to(folder.record_file.name)  # a loop: reading it fails
    fake.queue(*[(f"100_{index}", "PENDING") for index in (1, 2, 3)])
    sent(fake)

    assert folder.record_file.is_symlink()
