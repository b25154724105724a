"""The lines of a journal: their names and keys are on disk for years, whatever becomes of the code."""

import pytest

from jobs.failure import Failure
from jobs.store import journal
from jobs.store.attempts import RunFolder
from jobs.store.journal import AttemptSummary
from tests.helpers import note

WHY = Failure(failure="timeout", message="m", evidence="e")
LINES = [
    (journal.claimed(host="h", pid=1, submission=2), "claimed", "host pid submission"),
    (journal.stopping(WHY), "stopping", "failure message evidence"),
    (journal.ended(WHY, step=3), "ended", "step failure message evidence"),
    (journal.ended(WHY, by="status"), "ended", "step failure message evidence by"),
    (journal.recorded("completed"), "ended", "failure outcome"),
    (journal.publishing("abc"), "publishing", "sha256"),
    (journal.refused("m", submission=1), "refused", "submission message"),
    (journal.anew("m"), "anew", "message"),
    (journal.requeued("7_0"), "requeued", "element"),
    (journal.not_requeued("m"), "not requeued", "message"),
    (journal.set_aside(by="me", why="redo", attempts=2), "set aside", "by why attempts"),
    (journal.record_set_aside("m"), "record set aside", "message"),
    (journal.not_begun(), "not begun", ""),
    (journal.waiting("digits"), "waiting", "what message"),
    (journal.staged("digits", "/s", seconds=1.0), "staged", "what place seconds"),
    (journal.not_staged("digits", "m"), "not staged", "what message"),
    (journal.unverified_data("m"), "unverified data", "message"),
]


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path)


@pytest.mark.parametrize(("event", "name", "keys"), LINES)
def test_what_a_line_holds(folder, event, name, keys):
    folder.attempt(1).note(event)
    (line,) = folder.journal()

    assert list(line) == ["time", "event", "fence", *keys.split()]
    assert line["event"] == name


def test_lines_that_nobody_knows_and_torn_ones_are_left_out(folder):
    note(folder, "claimed", fence=1, host="h", colour="blue")
    note(folder, "painted", fence=2)
    note(folder, "claimed", fence="3")
    note(folder, "ended")
    with folder.journal_file.open("a") as file:
        file.write('{"time":1,"event":"ended","fence":1,')
    first, second = folder.history()

    assert (first.host, first.node, first.is_over) == ("h", "h", False)
    assert second == AttemptSummary(fence=2)


def test_the_last_word_of_an_attempt_counts(folder):
    attempt = folder.attempt(1)
    attempt.note(journal.stopping(Failure(failure="preempted", message="n")))
    assert folder.history()[0].why.failure == "preempted"
    attempt.note(journal.ended(WHY, step=3))
    attempt.note(journal.requeued("7_0"))
    (past,) = folder.history()

    assert (past.why, past.step, past.is_over, past.is_requeued) == (WHY, 3, True, True)
    attempt.note(journal.recorded("completed"))
    assert (folder.history()[0].why, folder.history()[0].outcome) == (None, "completed")
