"""Which setting is chosen from which records, that this is done once, and what is run then."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from jobs.store import choosing
from jobs.store.choosing import Undecided, choose, follow_up, judged, under_way
from jobs.store.store import Store
from jobs.store.submission_plan import Entry
from jobs.tuning import Choice, Criterion, Tuning
from tests.helpers import content_of, make_plan, make_run, make_sweep_of, wait_for
from tests.make_sweep import make_record
from tests.test_jobs_tuning import FIXED, planned

ACCURACY = Criterion(metric="valid_accuracy", at="final")
LOSS = Criterion(metric="valid_loss", at="final")


def tuned(root, lrs=(0.1, 0.01), seeds=(1, 2), criterion=ACCURACY, **changes):
    """A store whose sweep tunes these step sizes, in this order."""
    runs = [planned(lr, seed, **changes) for lr in lrs for seed in seeds]
    tuning = Tuning(
        problem="p",
        optimizer="o",
        cells=tuple(dict.fromkeys(one.run.cell for one in runs)),
        seeds=seeds,
        evaluation=(42, 43),
        criterion=criterion,
    )
    store = Store(root)
    store.save(replace(make_sweep_of([*runs, FIXED]), tunings=(tuning,)))
    return store


def finish(store, one, values=(0.1, 0.5), metric="valid_accuracy", *, diverged=False, **changes):
    """Give a run the record of an attempt, with this curve."""
    plain = replace(one, run=replace(one.run, hyperparameters={}))
    content = make_record(plain, diverges_in=1 if diverged else None)
    content |= {"id": one.run.id, "run": one.run.to_json()}
    last = len(content["curves"]["test_loss"])
    content["curves"] = {key: [1.0] * last for key in ("test_loss", "valid_loss")}
    content["curves"][metric] = list(values)[:last]
    content |= changes
    folder = store.run(one.run.id)
    folder.create(one.run)
    attempt = folder.claim(folder.last_fence())
    attempt.publish(content)
    attempt.release()


def tuning_runs(store):
    return [one for one in store.sweep().runs if one.role == "tuning"]


def finish_all(store, values, metric="valid_accuracy"):
    """Records for all tuning runs; `values`: the number of each run, by its step size."""
    queues = {lr: list(numbers) for lr, numbers in values.items()}
    for one in tuning_runs(store):
        number = queues[one.run.hyperparameters["lr"]].pop(0)
        finish(store, one, (0.0, number), metric)


def verdict(store):
    sweep = store.sweep()
    return judged(store, sweep, sweep.tunings[0])


def chosen_lr(store):
    found = verdict(store)
    assert isinstance(found, Choice), found
    return found.winner.setting["lr"]


def evaluations(store):
    return [one for one in store.sweep().runs if one.role == "evaluation" and one.optimizer == "o"]


# --- by the records ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [(ACCURACY, 0.01), (LOSS, 0.1), (Criterion(metric="train_accuracy", at="final"), 0.01)],
)
def test_the_best_mean_is_chosen(tmp_path, criterion, expected):
    """More of an accuracy, less of a loss; the best single run does not decide."""
    store = tuned(tmp_path, criterion=criterion)
    finish_all(store, {0.1: [0.9, 0.1], 0.01: [0.6, 0.61]}, criterion.metric)

    found = verdict(store)

    assert found.winner.setting == {"lr": expected}
    assert [one.value for one in found.candidates] == pytest.approx([0.5, 0.605])
    assert [one.diverged for one in found.candidates] == [0, 0]
    assert found.key == store.sweep().tunings[0].key
    assert [set(one.records) for one in found.candidates] == [
        {one.run.id for one in tuning_runs(store) if one.varied == {"lr": lr}} for lr in (0.1, 0.01)
    ]


@pytest.mark.parametrize(
    ("metric", "at", "expected"),
    [
        ("valid_accuracy", "final", 0.01),
        ("valid_accuracy", "best", 0.1),
        ("valid_loss", "final", 0.1),
        ("valid_loss", "best", 0.01),
    ],
)
def test_the_last_evaluation_or_the_best_of_all(tmp_path, metric, at, expected):
    store = tuned(tmp_path, seeds=(1,), criterion=Criterion(metric=metric, at=at), epochs=2)
    first, second = tuning_runs(store)
    finish(store, first, (0.3, 0.9, 0.4), metric)
    finish(store, second, (0.2, 0.7, 0.6), metric)

    assert chosen_lr(store) == expected


@pytest.mark.parametrize(
    ("lrs", "expected"),
    [
        ((0.1, 0.01, 1), 0.01),
        ((1, 0.1), 0.1),
        ((None, 0.1), 0.1),
        ((None, "tuned", True), None),
        (({"class": "a"}, None), {"class": "a"}),
    ],
)
def test_of_equal_ones_the_smaller_step_size_then_the_first(tmp_path, lrs, expected):
    store = tuned(tmp_path, lrs=lrs)
    for one in tuning_runs(store):
        finish(store, one)

    assert chosen_lr(store) == expected


def test_settings_without_a_step_size(tmp_path):
    store = tuned(tmp_path)
    runs = [
        replace(
            planned(0, seed), run=make_run(hyperparameters={"m": m}, seed=seed), varied={"m": m}
        )
        for m in (5, 4)
        for seed in (1, 2)
    ]
    (of_lr,) = store.sweep().tunings
    of_m = replace(of_lr, cells=tuple(dict.fromkeys(one.run.cell for one in runs)))
    store.save(replace(store.sweep(), runs=tuple(runs), tunings=(of_m,)))
    for one in runs:
        finish(store, one)

    assert verdict(store).winner.setting == {"m": 5}


def test_a_setting_of_which_a_run_diverged_is_never_chosen(tmp_path):
    store = tuned(tmp_path)
    best, other, *rest = tuning_runs(store)
    finish(store, best, (0.0, 0.99))
    finish(store, other, (0.99,), diverged=True)
    for one in rest:
        finish(store, one, (0.0, 0.1))

    found = verdict(store)

    assert found.winner.setting == {"lr": 0.01}
    assert [(one.value, one.diverged) for one in found.candidates] == [(None, 1), (0.1, 0)]


def test_where_all_diverged_nothing_is_chosen(tmp_path):
    store = tuned(tmp_path)
    for one in tuning_runs(store)[::2]:
        finish(store, one, diverged=True)
    for one in tuning_runs(store)[1::2]:
        finish(store, one)

    found = verdict(store)

    assert found == Undecided("a run of each of the 2 settings diverged")
    assert choose(store, store.sweep()).sweep == store.sweep()
    assert store.sweep().undecided


@pytest.mark.parametrize("values", [None, (0.5, None), (None, None)])
def test_what_was_not_measured_does_not_choose(tmp_path, values):
    store = tuned(tmp_path)
    for one in tuning_runs(store):
        finish(store, one, *([values] if values else [(1.0, 1.0), "train_loss"]))

    assert verdict(store) == Undecided("valid_accuracy was not measured; choose by another one")


def test_a_setting_that_was_not_measured_on_a_seed_is_not_chosen(tmp_path):
    store = tuned(tmp_path)
    finish(store, tuning_runs(store)[0], (0.9, None))
    for one in tuning_runs(store)[1:]:
        finish(store, one)

    assert chosen_lr(store) == 0.01


def test_nulls_in_between_do_not_matter_to_the_best(tmp_path):
    store = tuned(tmp_path, seeds=(1,), criterion=replace(ACCURACY, at="best"))
    first, second = tuning_runs(store)
    finish(store, first, (0.9, None))
    finish(store, second, (None, 0.5))

    assert chosen_lr(store) == 0.1


def test_what_lacks_a_record_is_said(tmp_path):
    store = tuned(tmp_path)
    runs = tuning_runs(store)
    for one in runs[:3]:
        finish(store, one)

    assert verdict(store) == Undecided("3 of 4 tuning runs done", (runs[3].run,))
    assert choose(store, store.sweep()).undecided == (verdict(store),)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-40],
        lambda text: text.replace("0.5", "0.9"),
        lambda _: "",
        lambda text: text.replace('"completed"', '"finished"'),
    ],
    ids=["torn", "edited", "empty", "of no known outcome"],
)
def test_a_record_that_is_torn_or_edited_counts_as_missing(tmp_path, spoil):
    store = tuned(tmp_path)
    for one in tuning_runs(store):
        finish(store, one)
    path = store.run(tuning_runs(store)[2].run.id).record_file
    path.write_text(spoil(path.read_text()))

    assert verdict(store).missing == (tuning_runs(store)[2].run,)


def test_a_record_of_another_run_counts_as_missing(tmp_path):
    store = tuned(tmp_path)
    runs = tuning_runs(store)
    for one in runs:
        finish(store, one)
    content = store.run(runs[0].run.id).record_file.read_bytes()
    store.run(runs[1].run.id).record_file.write_bytes(content)

    assert verdict(store).missing == (runs[1].run,)


# --- once -------------------------------------------------------------------------------------------


def test_a_choice_stands_whatever_the_records_say_later(tmp_path):
    store = tuned(tmp_path)
    finish_all(store, {0.1: [0.9, 0.9], 0.01: [0.5, 0.5]})
    first = choose(store, store.sweep())
    written = store.choice_file(store.sweep().tunings[0].key).read_bytes()
    for one in tuning_runs(store)[:2]:
        folder = store.run(one.run.id)
        folder.set_aside(folder.last_fence(), by="a person", why="a test", submission=0)
        finish(store, one, (0.0, 0.1))

    again = choose(store, store.sweep())

    assert again == first
    assert [one.run.seed for one in evaluations(store)] == [42, 43]
    assert {one.run.hyperparameters["lr"] for one in evaluations(store)} == {0.1}
    assert store.choice_file(store.sweep().tunings[0].key).read_bytes() == written


def test_of_two_who_choose_at_a_time_one_is_heard(tmp_path, monkeypatch):
    """Also where a lock is not seen by everybody: what was published first stands."""
    store = tuned(tmp_path)
    finish_all(store, {0.1: [0.9, 0.9], 0.01: [0.5, 0.5]})
    mine = verdict(store)
    other = replace(mine, by="somebody else")
    judge = choosing.judged

    def slowly(*arguments):
        found = judge(*arguments)
        store.choose(other)
        return found

    monkeypatch.setattr(choosing, "judged", slowly)

    [tuning] = choose(store, store.sweep()).sweep.tunings

    assert store.choice(tuning.key) == other


CHOOSES = """
import sys, time
from pathlib import Path
from jobs.store import choosing
from jobs.store.store import Store
store, ready, begin = Store(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3])
ready.touch()
while not begin.exists():
    time.sleep(0.001)
with store.submitting():
    made = choosing.choose(store, store.sweep())
    choosing.follow_up(store, made.sweep, 1)
print(made.sweep.tunings[0].chosen)
"""


def test_processes_that_choose_at_the_same_time(tmp_path):
    """One choice, one submission that follows."""
    store = tuned(tmp_path / "sweep")
    finish_all(store, {0.1: [0.9, 0.9], 0.01: [0.5, 0.5]})
    send(store, tuning_runs(store))
    ready = [tmp_path / f"ready-{index}" for index in range(3)]
    words = [[str(store.root), str(path), str(tmp_path / "begin")] for path in ready]
    processes = [
        subprocess.Popen([sys.executable, "-c", CHOOSES, *one], stdout=subprocess.PIPE, text=True)
        for one in words
    ]
    wait_for(lambda: all(path.exists() for path in ready))
    (tmp_path / "begin").touch()
    said = {process.communicate()[0].strip() for process in processes}

    assert said == {store.sweep().tunings[0].chosen}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(list((store.root / "choices").iterdir())) == 1
    assert [one.number for one in store.submissions()] == [1, 2]


# --- what follows -----------------------------------------------------------------------------------


def send(store, runs, *, engine="local", size=1, **changes):
    """A submission of these runs; one group, but for `groups`."""
    entries = [Entry.of(one.run, store.run(one.run.id).last_fence()).to_json() for one in runs]
    group = {
        "resources": {"runs_per_task": size, "mem": 1024},
        "threads": 3,
        "needs_gpu": False,
        "tasks": [entries[i : i + size] for i in range(0, len(entries), size)],
    }
    content = {
        "profile": {"engine": engine, "name": "p"},
        "image": {"path": "i", "sha256": "s"},
        "data": "d",
        "code": {"file": f"{len(store.submissions())}.zip"},
        "groups": [group],
    }
    return store.new_submission(make_plan(**content | changes)).number


def sent(submission):
    """Ids and fences of its runs, task by task."""
    return [
        [(entry["id"], entry["fence"]) for entry in task]
        for group in content_of(submission)["groups"]
        for task in group["tasks"]
    ]


@pytest.fixture
def decided(tmp_path):
    """A store in which 0.1 was chosen; its tuning runs were sent twice, at last by 2."""
    store = tuned(tmp_path)
    send(store, tuning_runs(store))
    send(store, tuning_runs(store)[:1], size=2)
    finish_all(store, {0.1: [0.9, 0.9], 0.01: [0.5, 0.5]})
    choose(store, store.sweep())
    return store


def follow(store, number=2):
    return follow_up(store, store.sweep(), number)


def test_what_was_chosen_is_sent_as_it_was_tuned(decided):
    (found,) = follow(decided)

    assert found.number == 3
    assert sent(found) == [[(one.run.id, 0) for one in evaluations(decided)]]
    of, content = content_of(decided.submission(2)), content_of(found)
    assert content["follows"] == 2
    assert content["time"] > of["time"]
    (group,), (of_group,) = content.pop("groups"), of.pop("groups")
    assert {**group, "tasks": ()} == {**of_group, "tasks": ()}
    assert {**content, "time": 0, "follows": 0} == {**of, "time": 0, "follows": 0}
    runs = [entry["run"] for task in group["tasks"] for entry in task]
    assert runs == [one.run.to_json() for one in evaluations(decided)]


def test_it_is_written_down_once(decided):
    first = follow(decided)

    assert [one.number for one in follow(decided)] == [one.number for one in first] == [3]
    assert follow(decided, number=1) == []
    assert len(decided.submissions()) == 3


def test_the_tasks_are_as_full_as_they_were(tmp_path):
    store = tuned(tmp_path)
    send(store, tuning_runs(store), size=1)
    finish_all(store, {0.1: [0.9, 0.9], 0.01: [0.5, 0.5]})
    choose(store, store.sweep())

    assert [len(task) for task in sent(follow(store, 1)[0])] == [1, 1]


def test_nothing_follows_before_there_is_a_choice(tmp_path):
    store = tuned(tmp_path)
    send(store, tuning_runs(store))

    assert follow(store, 1) == []


def test_a_run_that_has_a_record_or_was_sent_is_left_alone(decided):
    first, second = evaluations(decided)
    finish(decided, first)

    assert sent(follow(decided)[0]) == [[(second.run.id, 0)]]
    decided.run(second.run.id).claim(0).release()  # it fails: that is for a person to look at
    assert sent(follow(decided)[0]) == [[(second.run.id, 0)]]
    assert len(decided.submissions()) == 3


def test_what_was_sent_by_somebody_else_is_left_alone(decided):
    send(decided, evaluations(decided), engine="slurm")

    assert follow(decided) == []


def test_what_was_set_aside_is_sent_anew(decided):
    """With the fence that this took, and as it was sent the last time."""
    follow(decided)
    first, _ = evaluations(decided)
    finish(decided, first)
    folder = decided.run(first.run.id)
    folder.set_aside(folder.last_fence(), by="a person", why="a test", submission=3)

    again = follow(decided)

    assert [one.number for one in again] == [3, 4]
    assert sent(again[1]) == [[(first.run.id, 2)]]
    assert [one.number for one in follow(decided)] == [3, 4]
    assert len(decided.submissions()) == 4


def test_another_engine_is_left_alone(tmp_path):
    """What was tuned on a cluster is not run here, and the other way round."""
    for here, there in (("local", "slurm"), ("slurm", "local")):
        store = tuned(tmp_path / here)
        send(store, [FIXED], engine=here)
        send(store, tuning_runs(store), engine=there)
        finish_all(store, {0.1: [0.9, 0.9], 0.01: [0.5, 0.5]})
        choose(store, store.sweep())

        assert follow(store, 1) == []
        assert [one.number for one in follow(store, 2)] == [3]


def test_settings_that_were_sent_by_several_each_go_on_as_they_were(tmp_path):
    """Killed in between, the rest is written down by whoever comes next."""
    store = tuned(tmp_path)
    other = [planned(lr, seed, optimizer="m", batch_size=9) for lr in (3, 4) for seed in (1, 2)]
    (first,) = store.sweep().tunings
    cells = tuple(dict.fromkeys(one.run.cell for one in other))
    second = replace(first, optimizer="m", cells=cells)
    runs = (*store.sweep().runs, *other)
    store.save(replace(store.sweep(), runs=runs, tunings=(first, second)))
    send(store, [one for one in runs if one.optimizer == "o"], data="first")
    send(store, other, data="second")
    for one in tuning_runs(store):
        finish(store, one)
    choose(store, store.sweep())
    made = store.new_submission

    def killed(content):
        submission = made(content)
        raise KeyboardInterrupt(submission.number)

    store.new_submission = killed
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            follow(store, 1)
    store.new_submission = made

    found = follow(store, 1)

    assert [one.number for one in found] == [3, 4]
    assert [content_of(one)["data"] for one in found] == ["first", "second"]
    everything = [run_id for one in found for task in sent(one) for run_id, _ in task]
    assert sorted(everything) == sorted(
        one.run.id for one in store.sweep().runs if one.role == "evaluation" and one != FIXED
    )


def test_killed_between_choice_and_submission(decided):
    """Nothing is remembered but what is in the files."""
    assert len(decided.submissions()) == 2

    again = Store(decided.root)
    made = choose(again, again.sweep())

    assert [one.number for one in follow_up(again, made.sweep, 1)] == [3]


# --- what is waited for -----------------------------------------------------------------------------


def waited_for(store, number=1):
    return [folder.id for folder in under_way(store, store.sweep(), number)]


def test_who_is_waited_for(tmp_path):
    """Runs that others train here, if nothing else is missing."""
    store = tuned(tmp_path)
    *done, third, last = tuning_runs(store)
    send(store, tuning_runs(store))
    for one in done:
        finish(store, one)
    assert waited_for(store) == []

    attempts = []
    for one in (third, last):
        assert waited_for(store) == []
        store.run(one.run.id).create(one.run)
        attempts.append(store.run(one.run.id).claim(0))
    assert waited_for(store) == sorted(one.run.id for one in (third, last))

    attempts[0].publish(make_record(third))
    assert waited_for(store) == [last.run.id]
    attempts[1].release()  # it failed
    assert waited_for(store) == []


def test_runs_on_a_cluster_are_not_waited_for(tmp_path):
    """That may be days; and what follows from them is not run here."""
    store = tuned(tmp_path)
    send(store, [FIXED])
    send(store, tuning_runs(store), engine="slurm")
    held = []
    for one in tuning_runs(store):
        store.run(one.run.id).create(one.run)
        held.append(store.run(one.run.id).claim(0))

    assert waited_for(store, 1) == []
    assert len(waited_for(store, 2)) == 4


def test_one_that_ends_while_it_is_looked_at_is_not_mistaken_for_failed(tmp_path, monkeypatch):
    """Its record comes after it was seen alive: the other one is still waited for."""
    store = tuned(tmp_path)
    send(store, tuning_runs(store))
    ends, stays = [], []
    for one in tuning_runs(store):
        store.run(one.run.id).create(one.run)
        (ends if one.run.seed == 1 else stays).append((one, store.run(one.run.id).claim(0)))
    missing = choosing.missing

    def after_some_ended(*arguments):
        while ends:
            one, attempt = ends.pop()
            attempt.publish(make_record(one))
            attempt.release()
        return missing(*arguments)

    monkeypatch.setattr(choosing, "missing", after_some_ended)

    assert waited_for(store) == sorted(one.run.id for one, _ in stays)


def test_the_choice_says_who_made_it_and_what_it_saw(decided):
    (tuning,) = decided.sweep().tunings
    content = json.loads(decided.choice_file(tuning.key).read_bytes())

    assert content["schema"] == 1
    assert " on " in content["by"]
    assert all(len(sha) == 64 for one in content["candidates"] for sha in one["records"].values())
