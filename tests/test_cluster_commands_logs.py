"""The log of a run, over its attempts, without losing a byte."""

import pytest

from cluster.commands.logs import last_lines, logs
from cluster.status.accounting import logs_of
from cluster.status.queue import Placement
from tests.fake_slurm import FakeSlurm
from tests.helpers import note


@pytest.fixture
def fake(tmp_path, monkeypatch):
    fake = FakeSlurm(tmp_path, monkeypatch)
    fake.queue(*[(f"100_{index}", "PENDING", "Priority") for index in range(4)])
    return fake


def follow(fake, *steps):
    """Follow the first run; a step happens at each pause."""
    story = iter(steps)
    return logs(
        fake.store,
        fake.runs[0].id,
        follow=True,
        sleep=lambda _: next(story)(),
    )


def test_the_newest_attempt(fake, capsysbinary):
    fake.fail(0, "100_0", "oom").log_file.write_text("first")
    fake.fail(0, "100_0", "oom", node="node2").log_file.write_bytes(b"\xff[bold]second[/bold]\n")
    assert logs(fake.store, fake.runs[0].id, follow=False) == 0
    captured = capsysbinary.readouterr()

    assert captured.out == b"\xff[bold]second[/bold]\n"
    assert b"attempt 2 on node2" in captured.err


def test_nothing_yet_says_what_it_waits_for(fake, capsys):
    assert logs(fake.store, fake.runs[0].id, follow=False) == 1
    captured = capsys.readouterr()

    assert captured.out == ""
    assert "no log yet: pending, 100_0 is PENDING (Priority): others are ahead" in captured.err


def test_what_the_batch_script_left(fake, capsys):
    error, output = logs_of(fake.store, Placement(submission=1, job_id=100, task=0))
    error.parent.mkdir(parents=True)
    error.write_text("python: not found\n")
    output.write_text("")

    assert logs(fake.store, fake.runs[0].id, follow=False) == 0
    assert capsys.readouterr().out == "python: not found\n"


def test_following_over_two_attempts_to_the_record(fake, capsys):
    attempts = []

    def append(text):
        with attempts[-1].log_file.open("a") as file:
            file.write(text)

    def requeue():
        append("last words\n")
        fake.end(attempts[-1], "preempted")
        note(attempts[-1].folder, "requeued", fence=1, element="100_0")

    code = follow(
        fake,
        lambda: attempts.append(fake.claim(0, "100_0")),
        lambda: append("more\n"),
        requeue,
        lambda: attempts.append(fake.claim(0, "100_0", node="node2")),
        lambda: [append("done\n"), fake.record(0)],
    )
    captured = capsys.readouterr()

    assert code == 0
    assert captured.out == (
        "epoch 1/10: test_loss 0.5\nmore\nlast words\nepoch 1/10: test_loss 0.5\ndone\n"
    )
    assert "waiting; pending: 100_0 is PENDING" in captured.err
    assert "==> attempt 2 on node2" in captured.err
    assert captured.err.endswith("has its record\n")
    attempts[-1].release()


def test_following_a_failure_ends_with_what_to_do(fake, capsys):
    fake.fail(0, "100_0", "oom", "over the limit")
    fake.queue()
    assert follow(fake) == 1
    captured = capsys.readouterr()

    assert "failed: oom: over the limit" in captured.err
    assert (
        f"next: probprec why {fake.runs[0].id} --of {fake.store.root}; probprec retry"
        in captured.err
    )


def test_following_what_was_never_sent(tmp_path, monkeypatch, capsys):
    fake = FakeSlurm(tmp_path, monkeypatch, sent=False)
    assert follow(fake) == 1
    said = capsys.readouterr().err
    assert "nothing to follow: not sent" in said
    assert "next: probprec submit sweep.yaml" in said


def test_ctrl_c_while_following(fake):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow(fake, interrupt)


def test_the_last_lines(tmp_path):
    path = tmp_path / "log"
    assert last_lines(path, 3) == []
    path.write_text("a\n\nb\n" + "c" * 5000 + "\nd\n")
    assert last_lines(path, 2)[-1] == "d"
