"""The sweep folder: fences only grow, a record is published once, a live attempt is seen."""

import fcntl
import hashlib
import subprocess
import threading

import pytest

from jobs import files
from jobs.resources import Resources
from jobs.store.attempts import ClaimedError, StaleAttemptError
from jobs.store.store import Store, StoreError
from jobs.store.submission_plan import FeederJob
from jobs.sweep import PlannedRun, Sweep
from tests.helpers import make_plan, make_run


@pytest.fixture
def run():
    return make_run()


@pytest.fixture
def folder(tmp_path, run):
    folder = Store(tmp_path).run(run.id)
    folder.create(run)
    return folder


def feeder_job(token):
    return FeederJob(token=token, after=(1,), resources=Resources())


def test_sweep_round_trip(tmp_path, run):
    sweep = Sweep(
        name="a",
        description="",
        runs=(PlannedRun(run=run, problem="digits", optimizer="SGD", varied={"lr": 0.1}),),
        problems=("digits",),
        optimizers=("SGD",),
        targets={},
        data=None,
        code=(),
        sources={},
    )
    store = Store(tmp_path / "a")
    store.save(sweep)

    assert store.sweep() == sweep


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"runs": 3}', '{"runs": [1]}'])
def test_a_folder_that_is_no_sweep(tmp_path, text):
    if text is not None:
        (tmp_path / "sweep.json").write_text(text)

    with pytest.raises(StoreError, match=r"sweep\.json"):
        Store(tmp_path).sweep()


def test_fences_only_grow(folder):
    assert folder.last_fence() == 0
    assert [folder.claim().fence for _ in range(3)] == [1, 2, 3]
    assert folder.last_fence() == 3


def test_no_two_claims_share_a_fence(folder):
    fences = []

    def claim():
        fences.extend(folder.claim().fence for _ in range(20))

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(fences) == list(range(1, 81))


def test_a_record_is_published_once(folder):
    attempt = folder.claim()
    attempt.publish({"value": 1})
    with pytest.raises(FileExistsError):
        attempt.publish({"value": 2})

    assert folder.record_file.read_text() == '{"value": 1}\n'


def test_what_is_published_is_in_the_journal_before_it_is_there(folder, monkeypatch):
    """Whoever is killed between the two leaves a line too many, never a record without its line."""
    attempt = folder.claim()
    with monkeypatch.context() as patch:
        patch.setattr(files, "publish", _killed)
        with pytest.raises(KeyboardInterrupt):
            attempt.publish({"value": 1})
    attempt.publish({"value": 2})
    lines = [line for line in folder.journal() if line["event"] == "publishing"]

    assert [line["fence"] for line in lines] == [1, 1]
    assert lines[-1]["sha256"] == hashlib.sha256(folder.record_file.read_bytes()).hexdigest()


def _killed(*_):
    raise KeyboardInterrupt


def test_nothing_is_published_that_cannot_be_written_down(folder):
    attempt = folder.claim()
    folder.journal_file.mkdir()

    with pytest.raises(OSError, match=r"journal\.jsonl"):
        attempt.publish({"value": 1})
    assert not folder.record_file.exists()


def test_who_is_refused_says_nothing_about_the_record_that_is_there(folder):
    """It may be of an older version, which did not say what it published."""
    attempt = folder.claim()
    folder.record_file.write_text("{}")

    with pytest.raises(FileExistsError):
        attempt.publish({"value": 1})
    assert folder.journal() == []


def test_an_overtaken_attempt_cannot_publish(folder):
    zombie = folder.claim()
    folder.claim()

    with pytest.raises(StaleAttemptError, match="attempt 1 is older than attempt 2"):
        zombie.publish({"value": 1})
    assert not folder.record_file.exists()


def test_an_attempt_is_locked_from_its_first_moment(folder):
    assert not folder.is_locked()
    attempt = folder.claim()
    assert folder.is_locked()
    attempt.release()
    assert not folder.is_locked()


def test_a_claim_after_somebody_elses_is_refused_and_leaves_nothing(folder):
    folder.claim(0)
    with pytest.raises(ClaimedError, match="attempt 1"):
        folder.claim(0)

    assert [path.name for path in (folder.path / "attempts").iterdir()] == ["0001"]


def test_a_part_is_written_down_once_sent_once_or_withdrawn(tmp_path):
    submission = Store(tmp_path).submission(3)
    part = submission.part("chunk", 20)
    part.intend(feeder_job("t"))
    with pytest.raises(FileExistsError):
        part.intend(feeder_job("u"))
    assert part.job_id() is None
    part.settle(17)
    part.settle(18)  # the submitter and a repair may both find out
    assert part.job_id() == 17
    feeder = submission.part("feeder", 40)
    feeder.intend(feeder_job("v"))
    feeder.withdraw("refused")

    assert [part.first for part in submission.parts("chunk")] == [20]
    assert submission.parts("feeder") == []


def test_whoever_inherits_the_lock_holds_the_sweep(tmp_path):
    """A sbatch that outlives its killed submitter keeps the next submitter out."""
    store = Store(tmp_path)
    with store.submitting() as lock:
        child = subprocess.Popen(["sleep", "60"], pass_fds=(lock,))
    try:
        with (
            (tmp_path / "submissions" / "lock").open("ab") as file,
            pytest.raises(BlockingIOError),
        ):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        child.kill()
        child.wait()
    with store.submitting():
        pass


def test_submissions_are_numbered(tmp_path):
    store = Store(tmp_path)

    assert [store.new_submission(make_plan(time=n)).number for n in range(3)] == [1, 2, 3]
    assert store.submission(2).plan().time == 1


def test_foreign_names_among_attempts_are_no_fences(folder):
    folder.claim()
    (folder.path / "attempts" / "copy of 0009").mkdir()

    assert folder.last_fence() == 1


def test_setting_aside_takes_a_fence(folder):
    zombie = folder.claim()
    zombie.publish({"value": 1})
    zombie.release()
    kept = folder.set_aside(1, by="me", why="redo", submission=7)

    assert kept.read_text() == '{"value": 1}\n'
    assert (folder.last_fence(), folder.life()) == (2, 2)
    assert folder.attempt(1).ended_life() is None
    ended = folder.attempt(2).ended_life()
    assert (ended.by, ended.why, ended.submission) == ("me", "redo", 7)
    with pytest.raises(StaleAttemptError):
        zombie.publish({"value": 2})
    assert list(Store(folder.path.parent.parent).strangers_of([folder.id])) == []


def test_setting_aside_after_somebody_elses_claim_is_refused_and_leaves_nothing(folder):
    folder.claim()
    with pytest.raises(ClaimedError, match="attempt 1"):
        folder.set_aside(0, by="me", why="redo", submission=0)

    assert [path.name for path in (folder.path / "attempts").iterdir()] == ["0001"]
    assert folder.life() == 0
    assert folder.journal() == []
