"""A reviewer's questions are answered with numbers, and every finding is judged by one of them."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from jobs.report.checklist import checklist
from jobs.report.content import Check, Level
from jobs.results import ledger, study
from jobs.results.comparisons import answers
from jobs.results.finding import FORBIDS, Finding
from jobs.results.question import Question
from jobs.results.reading import Result
from jobs.results.study import Study
from jobs.store.store import Store
from tests.make_sweep import make_sweep

KNOWN: dict[str, Any] = {
    "numpy": "2.1.0",
    "threads": 1,
    "image": {"path": "/a.sif", "sha256": "1" * 64},
    "environment": "aaaaaaaaaaaa",
    "data": {"dataset": "fmnist", "folder": "/here", "sha256": {"train": "b" * 64}},
}
GRID = [{"lr": lr} for lr in (0.03, 0.1, 0.3)]


def change(store: Store, run: str, **values: Any) -> None:
    """Give a record other provenance."""
    file = store.run(run).record_file
    record = json.loads(file.read_text())
    record["provenance"] |= values
    file.write_text(json.dumps(record))


def results(store: Store, *found: Finding) -> Study:
    return dataclasses.replace(
        study.of({"a": ledger.collect(store, keep=False)}), across=tuple(found)
    )


def known(store: Store, *found: Finding) -> Study:
    """The results, with all that a record may tell of its origin."""
    own = ledger.collect(store, keep=False)
    outcomes = tuple(
        dataclasses.replace(one, provenance={**one.provenance, **KNOWN})
        if isinstance(one, Result)
        else one
        for one in own.outcomes
    )
    own = dataclasses.replace(own, outcomes=outcomes)
    return dataclasses.replace(study.of({"a": own}), across=tuple(found))


def judged(own: Study) -> dict[str, Check]:
    """The lines of the checklist by their question, as `probprec report` asks it."""
    compared = answers(own.selections, Question(), own.on_files)
    return {one.question: one for one in checklist(own, compared)}


def line(own: Store | Study, words: str) -> Check:
    every = judged(own if isinstance(own, Study) else results(own))
    (found,) = (one for question, one in every.items() if words in question)
    return found


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two optimizers that are tuned alike, and evaluated on ten seeds."""
    grid = [{"lr": lr} for lr in (0.003, 0.03, 0.1, 0.3, 3.0)]
    return make_sweep(
        tmp_path_factory.mktemp("sweeps") / "good",
        problems=["fmnist_2c2d"],
        optimizers={"SGD": grid, "Adam": grid},
        seeds=range(43, 53),
        tuned={"SGD": [42], "Adam": [42]},
        epochs=6,
    )


def test_a_study_without_fault_is_good_in_all_but_what_runs_decide(good):
    found = judged(known(good))
    doubted = {question for question, one in found.items() if one.level is not Level.GOOD}

    assert doubted <= {"Are there enough seeds?"}
    assert len(found) == 17
    assert all("\n" not in one.answer and one.answer for one in found.values())


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("planned run", "30 of 30 runs have a record"),
        ("diverge", "0 of 20 runs of the selected settings diverged"),
        ("same seeds", "seeds 43..52 of each optimizer on fmnist_2c2d"),
        ("tuned as much", "5 settings (5 runs) per optimizer, the same for all of a problem"),
        ("validation", "by final valid accuracy on seed 42, reported on seeds 43..52"),
        ("edge", "none of 2 selected settings is the smallest or largest of its axis"),
        ("enough seeds", "the one comparison"),
        ("same code", "code 0123456789ab; in all 30 records that tell it"),
        ("same image", "python 3.11.7, torch 2.13.0, numpy 2.1.0, image 111111111111; in all 30"),
        ("same data", "data train bbbbbbbbbbbb"),
        ("many comparisons", "one comparison is declared: there is nothing to adjust"),
        ("wall clock", "over 10 pairs of equal seed and hardware, each run alone on its host"),
    ],
)
def test_answers_have_the_numbers(good, words, answer):
    assert answer in line(known(good), words).answer


@pytest.mark.parametrize("code", FORBIDS)
def test_every_finding_changes_what_a_reviewer_reads(good, code):
    """It is not good any more, or the answer tells of it; and what forbids something is not good."""
    before = list(judged(known(good)).values())
    after = list(judged(known(good, Finding(code, "a certain finding", ("r1",)))).values())
    changed = [new for old, new in zip(before, after, strict=True) if new != old]

    assert changed
    if FORBIDS[code] is not None:
        assert any(one.level is not Level.GOOD for one in changed)


def test_runs_without_a_record_are_counted_and_named(tmp_path):
    lacking = {43, 44}
    store = make_sweep(
        tmp_path / "holes", seeds=range(42, 52), is_recorded=lambda one: one.run.seed not in lacking
    )
    found = line(store, "planned run")

    assert found.level is Level.BAD
    assert found.answer.startswith("32 of 40 runs have a record; 8 missing")
    assert len(found.runs) == 8


def test_what_is_lacking_of_other_settings_is_less_bad(tmp_path):
    store = make_sweep(
        tmp_path / "holes",
        problems=["fmnist_2c2d"],
        optimizers={"SGD": GRID, "Adam": [{"lr": 0.001}]},
        is_recorded=lambda one: one.run.hyperparameters["lr"] != 0.3 or one.run.seed == 42,
    )

    assert line(store, "planned run").level is Level.CAUTION


def test_diverged_runs_are_counted_by_optimizer(tmp_path):
    store = make_sweep(
        tmp_path / "diverged",
        problems=["fmnist_2c2d"],
        seeds=range(10),
        diverges=lambda one: 2 if one.optimizer == "SGD" and one.run.seed < 7 else None,
    )
    found = line(store, "diverge")

    assert found.level is Level.CAUTION
    assert "7 of 20 runs" in found.answer
    assert "fmnist_2c2d SGD 7 of 10" in found.answer
    assert len(found.runs) == 7


def test_other_code_is_bad_where_it_is_compared_and_less_so_elsewhere(tmp_path):
    store = make_sweep(
        tmp_path / "mixed",
        problems=["fmnist_2c2d"],
        optimizers={"SGD": [{"lr": 0.1}], "Adam": GRID},
    )
    change(store, store.sweep().runs[0].run.id, code="ba9876543210")
    assert line(store, "same code").level is Level.BAD

    change(store, store.sweep().runs[0].run.id, code="0123456789ab")
    own = results(store)
    chosen = {one.cell.id for one in own.selections if one.cell}
    other = next(one.run.id for one in store.sweep().runs if one.run.cell not in chosen)
    change(store, other, code="ba9876543210")
    assert line(store, "same code").level is Level.CAUTION


def test_three_seeds_cannot_show_anything_and_six_pairs_are_needed(tmp_path):
    found = line(make_sweep(tmp_path / "few", problems=["fmnist_2c2d"]), "enough seeds")

    assert found.level is Level.BAD
    assert found.answer == (
        "the one comparison can show nothing (n=3): the smallest p of so few runs is 0.25;"
        " 6 pairs of seeds can"
    )


def test_unequal_seeds_and_budgets_are_named(tmp_path):
    store = make_sweep(
        tmp_path / "unequal",
        problems=["fmnist_2c2d"],
        optimizers={"SGD": GRID, "Adam": [{"lr": 0.001}]},
        seeds=range(42, 46),
        is_recorded=lambda one: one.optimizer == "SGD" or one.run.seed != 42,
    )

    assert line(store, "same seeds").level is Level.CAUTION
    assert line(store, "same seeds").answer.endswith(
        "seeds 42..45 of SGD, seeds 43..45 of Adam; only seeds that both have are compared, as pairs"
    )
    assert line(store, "tuned as much").level is Level.CAUTION
    assert "SGD 3 settings (12 runs), Adam 1 setting" in line(store, "tuned as much").answer
    assert "selected and reported on the same seeds" in line(store, "validation").answer


def test_a_shared_host_is_why_wall_clock_is_not_compared(tmp_path):
    store = make_sweep(tmp_path / "shared", problems=["fmnist_2c2d"])
    for planned in store.sweep().runs:
        change(store, planned.run.id, started=1.0, ended=2.0)
    found = line(store, "wall clock")

    assert found.level is Level.CAUTION
    assert (
        "other runs were trained on the same host at the same time (3 of 3 pairs)" in found.answer
    )
    assert "--workers 1" in found.answer


def test_where_nothing_is_compared_that_is_said(tmp_path: Path):
    store = make_sweep(tmp_path / "one", optimizers={"SGD": [{"lr": 0.1}]})
    found = {one.question: one for one in checklist(results(store), ())}

    assert found["Are there enough seeds?"].answer == "nothing is compared"
    assert found["Does every planned run have a record?"].level is Level.GOOD


def test_a_sweep_without_records_has_its_checklist(tmp_path: Path):
    own = results(make_sweep(tmp_path / "empty", is_recorded=lambda _: False))
    found = checklist(own, answers(own.selections, Question(), own.on_files))

    assert found[0].level is Level.BAD
    assert found[0].answer.startswith("0 of 12 runs have a record; 12 missing")


@pytest.mark.parametrize("words", ["diverge", "same seeds"])
def test_of_selected_settings_without_a_record_nothing_is_good(tmp_path: Path, words: str):
    store = make_sweep(
        tmp_path / "tuned",
        problems=["fmnist_2c2d"],
        optimizers={name: [{"lr": 0.1}, {"lr": 0.01}] for name in ("SGD", "Adam")},
        tuned={"SGD": (1, 2), "Adam": (1, 2)},
        is_recorded=lambda one: one.role == "tuning",
    )

    assert line(store, words).level is Level.CAUTION


@pytest.mark.parametrize("words", ["tuned as much", "validation", "edge"])
def test_of_settings_that_were_not_tuned_it_is_not_known_how_good_they_are(
    tmp_path: Path, words: str
):
    found = line(make_sweep(tmp_path / "given", problems=["fmnist_2c2d"]), words)

    assert found.level is Level.CAUTION
    assert "not known" in found.answer


def test_labels_stay_on_their_line(tmp_path: Path):
    store = make_sweep(
        tmp_path / "odd",
        problems=["fmnist_2c2d"],
        diverges=lambda _: 1,
        optimizers={"SGD": [{"lr": 0.1}]},
    )
    own = study.of({"a\nb": ledger.collect(store, keep=False)})

    assert all("\n" not in one.answer for one in checklist(own, ()))
