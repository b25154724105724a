"""Tunings and choices as plain values: to JSON and back, and what a sweep has of them."""

import json
from dataclasses import replace

import pytest

from jobs.store.store import Store, StoreError
from jobs.sweep import PlannedRun, Sweep
from jobs.tuning import Candidate, Choice, Criterion, Tuning
from tests.helpers import make_run, make_sweep_of

LAST = Criterion(metric="valid_accuracy", at="final")


def planned(lr, seed, role="tuning", optimizer="o", **changes):
    run = make_run(hyperparameters={"lr": lr}, seed=seed, **changes)
    return PlannedRun(run=run, problem="p", optimizer=optimizer, varied={"lr": lr}, role=role)


def cell(lr, **changes):
    return planned(lr, 0, **changes).run.cell


def tuning(lrs=(1, 2), seeds=(1, 2), evaluation=(42, 43), criterion=LAST, **changes):
    labels = {"optimizer": changes.pop("optimizer", "o"), "problem": "p"}
    return Tuning(
        **labels,
        cells=tuple(cell(lr, **changes) for lr in lrs),
        seeds=seeds,
        evaluation=evaluation,
        criterion=criterion,
    )


def choice(of, lr, **changes):
    candidates = tuple(
        Candidate(
            cell=one,
            setting={"lr": 1},
            lr=None,
            value=0.9 if one == cell(lr, **changes) else 0.5,
            diverged=0,
            records={"a": "b" * 64},
        )
        for one in of.cells
    )
    fields = {
        "key": of.key,
        "problem": "p",
        "optimizer": "o",
        "criterion": of.criterion,
        "seeds": of.seeds,
        "cell": cell(lr, **changes),
        "time": 1.5,
        "by": "process 1 on here",
        "candidates": candidates,
    }
    return Choice(**fields)


def sweep(*extra, tunings=None):
    """Two settings on two seeds, then others."""
    runs = [planned(lr, seed) for lr in (1, 2) for seed in (1, 2)]
    found = make_sweep_of([*runs, *extra])
    return replace(found, tunings=(tuning(),) if tunings is None else tunings)


def told(of):
    return [(one.run.hyperparameters["lr"], one.role, one.run.seed) for one in of.runs]


FIXED = planned(7, 42, "evaluation", "fixed")


def through_json(value):
    return type(value).from_json(json.loads(json.dumps(value.to_json())))


def test_to_json_and_back():
    assert through_json(tuning()) == tuning()
    assert through_json(choice(tuning(), 2)) == choice(tuning(), 2)
    assert through_json(sweep(FIXED)) == sweep(FIXED)
    assert [through_json(one).role for one in sweep(FIXED).runs] == ["tuning"] * 4 + ["evaluation"]


def test_a_choice_knows_its_winner():
    assert choice(tuning(), 2).winner.cell == cell(2)


def test_files_from_before_there_were_roles():
    """Neither has the key; and what is not tuned is written as it was then."""
    content = make_sweep_of([FIXED]).to_json()

    assert "tunings" not in content
    assert "role" not in content["runs"][0]
    assert Sweep.from_json(content).runs == (FIXED,)
    assert Sweep.from_json(content).tunings == ()


def test_the_key_is_what_is_chosen_from_and_how():
    key = tuning().key

    assert len(key) == 12
    assert set(key) <= set("0123456789abcdef")
    same = [
        tuning(lrs=(2, 1)),
        tuning(seeds=(2, 1)),
        tuning(evaluation=(42,)),
        replace(tuning(), chosen=cell(1)),
        replace(tuning(), problem="q", optimizer="another name"),
    ]
    other = [
        tuning(lrs=(1, 2, 3)),
        tuning(lrs=(1,)),
        tuning(seeds=(1, 2, 3)),
        tuning(criterion=Criterion(metric="valid_accuracy", at="best")),
        tuning(criterion=Criterion(metric="valid_loss", at="final")),
        tuning(epochs=2),
    ]
    assert {one.key for one in same} == {key}
    assert len({key, *(one.key for one in other)}) == 1 + len(other)


def test_what_follows_stands_behind_the_tuning_runs():
    chosen = sweep(FIXED).with_choices([choice(tuning(), 1)])

    tuned = [(lr, "tuning", seed) for lr in (1, 2) for seed in (1, 2)]
    follow = [(1, "evaluation", 42), (1, "evaluation", 43)]
    assert told(chosen) == [*tuned, *follow, (7, "evaluation", 42)]
    assert chosen.tunings[0].chosen == cell(1)
    assert not chosen.undecided
    assert [one.varied for one in chosen.runs[4:6]] == [{"lr": 1}] * 2
    assert sweep(FIXED).undecided == [tuning()]


def test_what_was_asked_for_is_what_there_was_before():
    before = sweep(FIXED)
    chosen = before.with_choices([choice(tuning(), 2)])

    assert chosen.asked == before.runs
    assert chosen.to_json() == before.to_json()
    assert chosen.with_choices([]) == before
    assert chosen.with_choices([choice(tuning(), 2)]) == chosen
    other = chosen.with_choices([choice(tuning(), 1)])
    assert other == before.with_choices([choice(tuning(), 1)])


def test_several_tunings_each_by_itself():
    """Of two, one is decided; a choice of none of them is nobody's."""
    more = [planned(lr, 1, optimizer="m") for lr in (3, 4)]
    second = tuning(lrs=(3, 4), seeds=(1,), evaluation=(42,), optimizer="m")
    both = sweep(*more, FIXED, tunings=(tuning(), second))

    stranger = choice(tuning(lrs=(8, 9)), 9)
    one = both.with_choices([stranger, choice(second, 4)])
    two = one.with_choices([choice(second, 4), choice(tuning(), 1)])

    assert told(one)[4:] == [
        (3, "tuning", 1),
        (4, "tuning", 1),
        (4, "evaluation", 42),
        told(both)[-1],
    ]
    assert one.undecided == [tuning()]
    assert told(two)[4:6] == [(1, "evaluation", 42), (1, "evaluation", 43)]
    assert told(two)[6:] == told(one)[4:]


def test_equal_settings_under_two_names_are_not_mixed():
    """Of the other label, on seeds of its own, is the other's tuning run."""
    other = planned(1, 9, optimizer="other")

    both = sweep(other, planned(1, 8, "evaluation", optimizer="third"))
    assert other.run.cell == cell(1)
    assert [one.run.seed for one in both.competing[tuning().key]] == [1, 2, 1, 2]
    chosen = both.with_choices([choice(tuning(), 1)])
    assert told(chosen)[4:] == [(1, "evaluation", 42), (1, "evaluation", 43), *told(both)[4:]]


def test_a_choice_is_read_where_the_sweep_is(tmp_path):
    store = Store(tmp_path)
    store.save(sweep(FIXED))
    written = store.sweep_file.read_bytes()
    store.choose(choice(tuning(), 2))

    assert store.sweep() == sweep(FIXED).with_choices([choice(tuning(), 2)])
    assert store.choice(tuning().key) == choice(tuning(), 2)
    store.save(store.sweep())
    assert store.sweep_file.read_bytes() == written
    assert not list(store.strangers())


def test_a_choice_is_written_once(tmp_path):
    store = Store(tmp_path)
    store.choose(choice(tuning(), 2))

    with pytest.raises(FileExistsError):
        store.choose(choice(tuning(), 1))

    assert store.choice(tuning().key).cell == cell(2)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2],
        lambda _: "[]",
        lambda text: text.replace('"by"', '"who"'),
        lambda text: text.replace(f'"cell": "{cell(2)}"', '"cell": "0123456789ab"', 1),
    ],
    ids=["torn", "a list", "without a key", "of no candidate"],
)
def test_a_choice_that_cannot_be_read_is_no_choice(tmp_path, spoil):
    """Nor one of a setting that was not there to choose from: nothing would ever follow from it."""
    store = Store(tmp_path)
    store.save(sweep(FIXED))
    store.choose(choice(tuning(), 2))
    path = store.choice_file(tuning().key)
    path.write_text(spoil(path.read_text()))

    with pytest.raises(StoreError) as caught:
        store.sweep()

    assert str(caught.value).startswith(f"{path} cannot be used: ")


def test_what_a_killed_writer_left_is_a_stranger(tmp_path):
    store = Store(tmp_path)
    store.choose(choice(tuning(), 2))
    left = store.choice_file("x").with_name(".x.json.0123.tmp")
    left.touch()

    assert list(store.strangers()) == [left]
