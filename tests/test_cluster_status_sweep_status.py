"""Files and queue together: what Slurm says is believed where the files say nothing, and remembered."""

import dataclasses
import json
import os
import time

import pytest

from cluster.commands import selection
from cluster.slurm import reasons
from cluster.slurm.client import AccountingRow
from cluster.status import accounting
from cluster.status.sweep_status import sweep_status
from jobs.errors import InputError
from jobs.store.state_cache import StateCache
from tests.fake_slurm import FakeSlurm
from tests.helpers import note


@pytest.fixture
def fake(tmp_path, monkeypatch):
    return FakeSlurm(tmp_path, monkeypatch)


def states(fake, **options):
    return [one.state for one in sweep_status(fake.store, **options).runs]


def names(fake):
    return [state.state for state in states(fake)]


def test_the_queue_tells_who_waits_and_who_runs(fake):
    fake.record(0)
    attempt = fake.claim(1, "100_1")
    fake.queue(
        ("100_1", "RUNNING", "None", "node1"),
        ("100_2", "RUNNING", "None", "node2"),
        ("100_3", "PENDING", "QOSMaxJobsPerUserLimit"),
    )
    look = sweep_status(fake.store)

    assert [one.state.state for one in look.runs] == ["completed", "running", "running", "pending"]
    assert [one.is_live for one in look.runs] == [False, True, True, True]
    assert "holds its lock" in look.runs[1].state.evidence
    assert "not begun there yet" in look.runs[2].state.evidence
    assert look.runs[2].state.node == "node2"
    assert look.runs[3].reason.words == "you have as many jobs running as you may have at a time"
    assert (look.slurm_calls, look.is_over) == (1, False)
    attempt.release()


@pytest.mark.parametrize(
    ("word", "failure"),
    [
        ("OUT_OF_MEMORY", "oom"),
        ("TIMEOUT", "timeout"),
        ("DEADLINE", "timeout"),
        ("NODE_FAIL", "node_fail"),
        ("BOOT_FAIL", "node_fail"),
        ("CANCELLED", "cancelled"),
        ("PREEMPTED", "preempted"),
        ("FAILED", "killed"),
    ],
)
@pytest.mark.parametrize("by", ["squeue", "sacct"])
def test_what_vanished_is_what_slurm_says(fake, word, failure, by):
    fake.claim(0, "100_0").release()
    if by == "squeue":
        fake.queue(("100_0", word), *[(f"100_{i}", "PENDING") for i in (1, 2, 3)])
    else:
        fake.queue(*[(f"100_{i}", "PENDING") for i in (1, 2, 3)])
        row = {"JobID": "100_0", "State": f"{word} by 1000" if word == "CANCELLED" else word}
        fake.accounting([row, {"JobID": "100_0.batch", "State": "FAILED"}])
    look = sweep_status(fake.store)
    found = look.runs[0].state

    assert found.state == ("stopped" if failure == "cancelled" else "failed")
    assert found.failure == failure
    assert word in found.evidence
    assert look.slurm_calls == (1 if by == "squeue" else 2)

    # Slurm forgets it; we do not: everybody finds it in the journal.
    fake.queue()
    assert states(fake)[0].failure == failure
    fake.store.states_file.unlink()
    assert states(fake)[0].failure == failure


def test_without_accounting_lost_is_lost_and_that_is_said(fake):
    for index in range(4):
        fake.claim(index, f"100_{index}").release()
    fake.queue()
    look = sweep_status(fake.store)

    assert {one.state.state for one in look.runs} == {"lost"}
    assert "Slurm no longer knows 100_2" in look.runs[2].state.evidence
    assert look.notes == ["no accounting (sacct) here: why 4 runs were lost cannot be asked"]
    assert look.slurm_calls == 2
    assert look.is_over


def test_accounting_is_asked_once_with_a_start_time(fake):
    fake.claim(0, "100_0").release()
    fake.queue()
    fake.accounting([])
    memory = StateCache(fake.store)
    for _ in range(3):
        look = sweep_status(fake.store, memory=memory)

    calls = fake.calls("sacct")
    assert len(calls) == 1
    assert "--starttime=" in calls[0]
    assert "100_0" in calls[0]
    assert look.runs[0].state.state == "lost"


def test_completed_by_slurm_is_not_completed(fake):
    """A launcher that vanished in an element that Slurm calls COMPLETED has left no record."""
    fake.claim(0, "100_0").release()
    fake.queue(("100_0", "COMPLETED"), ("100_1", "COMPLETED"))
    found = states(fake)

    assert found[0].state == "lost"
    assert found[1].state == "unknown"  # no attempt, no record: the file system may be late


def test_cancelled_before_it_began_stays_cancelled(fake):
    fake.queue(*[(f"100_{index}", "CANCELLED") for index in range(4)])
    assert {(one.state, one.failure) for one in states(fake)} == {("stopped", "cancelled")}
    fake.queue()
    assert {(one.state, one.failure) for one in states(fake)} == {("stopped", "cancelled")}
    assert not any(fake.store.runs.iterdir())


def test_an_element_that_is_cancelled_while_it_waits_stays_cancelled(fake):
    """Slurm keeps nothing of it; an element that began left a log, and may have vanished."""
    rest = [("100_0", "RUNNING", "None", "node1"), ("100_1", "PENDING")]
    log = fake.jobs[100].submitit / "100_3_0_log.err"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch()
    fake.queue(*rest)
    found = states(fake)

    assert (found[2].state, found[2].failure) == ("stopped", "cancelled")
    assert "100_2 was in the queue no more while its array was" in found[2].evidence
    assert found[3].state == "lost"
    fake.queue()
    assert [state.failure for state in states(fake)[2:]] == ["cancelled", "lost"]


def test_elements_that_sacct_does_not_list_one_by_one(fake):
    fake.queue()
    fake.accounting(
        [
            {"JobID": "100_[0,2-3%5]", "State": "CANCELLED by 0"},
            {"JobID": "100_1", "State": "TIMEOUT"},
        ]
    )

    assert [state.failure for state in states(fake)] == ["cancelled", "timeout", *["cancelled"] * 2]


def test_a_batch_script_that_cannot_start_the_launcher(fake):
    fake.queue(("100_0", "FAILED", "NonZeroExitCode"))
    found = states(fake)

    assert (found[0].state, found[0].failure) == ("failed", "setup")
    assert (found[1].state, found[1].message) == ("lost", "vanished before it began")


def test_a_batch_script_that_ends_well_before_the_launcher_begins(fake):
    """As by `setup: [exit 0]`. A file system that is late shows an old log, and then all the rest."""
    fake.queue(*[(f"100_{index}", "COMPLETED") for index in range(3)])
    for index, age in ((0, 600), (1, 0)):
        log = fake.store.submission(1).submitit / f"100_{index}_0_log.err"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
        os.utime(log, (time.time() - age,) * 2)
    found = states(fake)

    assert [one.state for one in found[:3]] == ["failed", "unknown", "unknown"]
    assert found[0].failure == "setup"
    assert "ended with exit code 0 before the launcher could begin" in found[0].message
    assert "look again in a minute" in found[1].evidence


@pytest.mark.parametrize("word", ["TIMEOUT", None])
def test_an_orphan_is_lost_though_it_holds_the_lock(fake, word):
    attempt = fake.claim(0, "100_0")
    fake.queue(*([("100_0", word)] if word else []))
    found = states(fake)[0]

    assert (found.state, found.failure) == ("lost", "lost")
    assert "attempt 1 is locked; of 100_0 Slurm" in found.evidence
    assert fake.store.run(fake.runs[0].id).journal()[-1]["event"] == "claimed"  # it may go on
    attempt.release()


def test_a_run_that_began_after_the_queue_was_asked_is_no_orphan(fake):
    attempt = fake.claim(0, "100_0", ago=1.0)
    fake.queue()

    assert states(fake)[0].state == "running"
    attempt.release()


def test_an_orphan_that_was_sent_again_waits(fake):
    attempt = fake.claim(0, "100_0")
    fake.send([0], job=101)
    fake.queue(("101_0", "PENDING", "Priority"), ("100_0", "TIMEOUT"))

    assert names(fake)[0] == "pending"
    attempt.release()


def test_requeued_waits_and_says_why(fake):
    attempt = fake.claim(0, "100_0")
    fake.end(attempt, "timeout", "time limit")
    note(attempt.folder, "requeued", fence=1, element="100_0")
    fake.queue(("100_0", "PENDING", "BeginTime"))
    look = sweep_status(fake.store)

    assert (look.runs[0].state.state, look.runs[0].state.failure) == ("pending", "timeout")
    assert "about two minutes" in look.runs[0].state.evidence

    fake.queue(("100_0", "CANCELLED"))
    assert states(fake)[0].failure == "cancelled"
    assert "while it waited" in states(fake)[0].message


def test_started_again_after_its_node_died(fake):
    fake.claim(0, "100_0").release()
    fake.queue(("100_0", "RUNNING", "None", "node2"))

    assert (states(fake)[0].state, states(fake)[0].node) == ("running", "node2")


def test_failed_in_a_packed_task_that_still_runs(tmp_path, monkeypatch):
    fake = FakeSlurm(tmp_path, monkeypatch, per_task=2)
    fake.fail(0, "100_0", "exception")
    attempt = fake.claim(1, "100_0")
    fake.queue(("100_0", "RUNNING"), ("100_1", "PENDING"))
    look = sweep_status(fake.store)

    assert [one.state.state for one in look.runs] == ["failed", "running", "pending", "pending"]
    assert not look.runs[0].is_live
    assert look.queue.is_live(fake.runs[0].id)
    attempt.release()


def test_an_old_failure_is_forgotten_when_it_is_sent_again(fake):
    fake.fail(0, "100_0", "exception")
    fake.send([0], job=101)
    fake.queue(("101_0", "PENDING", "Resources"))
    assert names(fake)[0] == "pending"

    fake.queue()  # the second job vanished; what the first one failed of is not the answer
    assert states(fake)[0].message == "vanished before it began"


def test_slurm_does_not_answer(fake):
    fake.record(0)
    attempt = fake.claim(1, "100_1")
    fake.fail(2, "100_2", "oom")
    fake.down()
    look = sweep_status(fake.store)

    assert [one.state.state for one in look.runs] == ["completed", "running", "failed", "unknown"]
    assert "Unable to contact slurm controller" in look.notes[0]
    assert not look.is_over
    attempt.release()
    assert names(fake)[1] == "unknown"


def test_a_feeder_will_send_it(tmp_path, monkeypatch):
    fake = FakeSlurm(tmp_path, monkeypatch, sent=False)
    submission = fake.send([0, 1], planned=[2, 3], job=100)
    fake.feed(submission, job=200, first=2)
    fake.queue(("100_0", "RUNNING"), ("100_1", "PENDING"), ("200", "PENDING", "Dependency"))
    look = sweep_status(fake.store)
    assert look.runs[3].state.evidence == "will be sent by job 200"
    assert look.runs[3].is_live

    fake.queue(("100_0", "RUNNING"))
    look = sweep_status(fake.store)
    assert (look.runs[3].state.state, look.runs[3].state.evidence) == ("pending", "not sent")
    assert not look.runs[3].is_live

    fake.down()
    assert names(fake)[3] == "unknown"


def test_sent_a_moment_after_the_queue_was_asked(fake):
    receipt = fake.jobs[100].part("chunk", 0).receipt_file
    os.utime(receipt)
    fake.queue()
    look = sweep_status(fake.store)

    assert names(fake) == ["pending"] * 4
    assert look.runs[0].state.evidence == "sent as 100_0 just now"
    assert look.runs[0].is_live


def test_a_state_that_nobody_knows(fake):
    fake.queue(("100_0", "TELEPORTING"))
    look = sweep_status(fake.store)

    assert look.runs[0].state.state == "unknown"
    assert look.runs[0].is_live


def test_nothing_was_ever_sent(tmp_path, monkeypatch):
    fake = FakeSlurm(tmp_path, monkeypatch, sent=False)
    fake.queue()
    fake.claim(1, None, submission=None).release()
    look = sweep_status(fake.store)

    assert [one.state.state for one in look.runs] == ["pending", "lost", "pending", "pending"]
    assert look.slurm_calls == 0
    assert fake.calls("squeue") == []


def test_an_earlier_queue_is_not_asked_for_again(fake):
    fake.queue(*[(f"100_{index}", "PENDING") for index in range(4)])
    earlier = sweep_status(fake.store)
    fake.record(0)
    again = sweep_status(fake.store, earlier=earlier)

    assert again.runs[0].state.state == "completed"
    assert again.slurm_calls == 0
    assert len(fake.calls("squeue")) == 1


def test_ten_thousand_runs_take_two_calls(tmp_path, monkeypatch):
    fake = FakeSlurm(tmp_path, monkeypatch, 10_000)
    fake.claim(0, "100_0").release()
    fake.queue(*[(f"100_{index}", "PENDING", "Priority") for index in range(1, 10_000)])
    look = sweep_status(fake.store)

    assert len(look.runs) == 10_000
    assert look.slurm_calls == len(fake.calls("squeue")) + len(fake.calls("sacct")) == 2


def test_runs_by_the_beginning_of_their_id(fake):
    run = fake.runs[2]
    assert selection.resolve(fake.sweep, [run.id[:8]])[0].run == run
    with pytest.raises(InputError, match="no run of sweep begins with 'zz'"):
        selection.resolve(fake.sweep, ["zz"])
    twin = dataclasses.replace(fake.sweep, runs=fake.sweep.runs * 2)
    with pytest.raises(InputError, match="2 runs of sweep begin with"):
        selection.resolve(twin, [run.id])


def test_the_last_start_of_a_requeued_element_counts():
    said = [
        ("7_1", "PREEMPTED"),
        ("7_1.batch", "CANCELLED"),
        ("7_1", "FAILED"),
        ("7_1.batch", "OUT_OF_MEMORY"),
        ("7_2", "RUNNING"),
        ("7_2.batch", "OUT_OF_MEMORY"),
    ]
    rows = [AccountingRow(name=name, state=state, max_rss="") for name, state in said]
    assert accounting.last_states(rows) == {"7_1": "OUT_OF_MEMORY", "7_2": "RUNNING"}


@pytest.mark.parametrize(
    ("name", "part", "is_hopeless"),
    [
        ("Priority", "others are ahead", False),
        ("Resources", "next in line", False),
        ("AssocGrpGRES", "your group uses as much", False),
        ("AssocGrpCPUMinutesLimit", "share of computing time", True),
        ("QOSMaxWallDurationPerJobLimit", "more than one job may have", True),
        ("AssocMaxMemPerJobLimit", "more than one job may have", True),
        ("ReqNodeNotAvail, UnavailableNodes:node[1-2]", "down, drained", False),
        ("launch failed requeued held", "scontrol release", True),
        ("DependencyNeverSatisfied", "no longer end as it should", True),
        ("SomethingNew", "Slurm says SomethingNew", False),
    ],
)
def test_reasons_in_words(name, part, is_hopeless):
    found = reasons.explain(name)
    assert part in found.words
    assert found.is_hopeless is is_hopeless


def test_what_is_remembered_by_two_who_look_at_once(fake):
    fake.queue()
    one, two = StateCache(fake.store), StateCache(fake.store)
    one.remember_slurm_state("100_1", "TIMEOUT")
    two.remember_slurm_state("100_2", "CANCELLED")
    one.save()
    two.save()

    assert StateCache(fake.store).slurm_state("100_1") == "TIMEOUT"
    assert json.loads(fake.store.states_file.read_text())["schema"] == 3


def test_what_the_queue_shows_as_over_is_over_however_lately_it_was_sent(fake):
    """Else a submission right after a cancellation would take its runs for waiting ones."""
    os.utime(fake.jobs[100].part("chunk", 0).receipt_file)
    fake.queue(("100_0", "CANCELLED"))
    found = sweep_status(fake.store).runs[0]

    assert (found.state.state, found.state.failure) == ("stopped", "cancelled")
    assert not found.is_live


GREETING = "echo '*** maintenance | on | Monday | from | 8 | to | 12 | o.clock ***'; echo 2026"


def test_what_a_site_prints_around_is_no_job(fake):
    """A wrapper of squeue and sacct greets on stdout."""
    fake.queue(("100_0", "PENDING", "Priority"))
    fake.accounting([{"JobID": "100_1", "State": "TIMEOUT"}])
    for name in ("squeue", "sacct"):
        fake.command(name, f"{GREETING}; cat {fake.folder / name}.txt; {GREETING}")
    fake.claim(1, "100_1").release()

    found = sweep_status(fake.store)
    assert [one.state.state for one in found.runs[:2]] == ["pending", "failed"]
    assert found.runs[1].state.failure == "timeout"


def test_names_of_jobs_may_be_of_any_encoding(fake):
    fake.command("squeue", r"printf '100|0|1000|PENDING|Priority||normal|Gr\374\337e\n'")

    assert sweep_status(fake.store).runs[0].state.state == "pending"


@pytest.mark.parametrize("mode", [0o644, 0o755])
def test_a_command_that_cannot_be_started_is_an_answer_that_is_missing(fake, monkeypatch, mode):
    """A wrapper that is not to be executed, or has no first line that says by what."""
    (fake.bin / "squeue").write_bytes(b"\x00no program")
    (fake.bin / "squeue").chmod(mode)
    monkeypatch.setenv("PATH", str(fake.bin))

    look = sweep_status(fake.store)
    assert look.queue.unknown is not None
    assert "squeue: " in look.notes[0]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_the_jobs_are_those_of_whoever_sent_them(fake):
    os.chown(fake.jobs[100].file, 65534, -1)
    fake.queue()
    sweep_status(fake.store)

    assert "--user=0,65534" in fake.calls("squeue")[-1]
