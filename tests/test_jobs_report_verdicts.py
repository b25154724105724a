"""Verdicts have the numbers of the comparisons, also as columns of a table."""

from pathlib import Path

from jobs.report import verdicts
from jobs.report.content import Methods
from jobs.report.report import Report
from jobs.results import ledger
from jobs.results.comparisons import answers
from jobs.results.question import Question
from jobs.store.store import Store
from tests.make_sweep import make_sweep


def report_of(store: Store) -> Report:
    results = ledger.collect(store, keep=False)
    return Report(
        results=results,
        question=Question(),
        mode="final",
        answers=answers(results.selections, Question(), results.on_files),
        why_not_compared=None,
        origins=[],
        logs={},
        checks=[],
        charts=[],
        methods=Methods(paragraphs=(), references=(), versions={}),
    )


def test_the_table_for_csv_has_numbers_and_says_of_what(tmp_path: Path):
    store = make_sweep(
        tmp_path / "sweep", problems=["fmnist_2c2d", "quadratic_deep"], seeds=range(6), epochs=3
    )
    report = report_of(store)
    found = {one.name: one.values for one in verdicts.columns(report)}
    made = [one.compared for one in report.answers]

    assert found["metric"] == ["test_accuracy", "test_loss"]
    assert found["n"] == found["n_baseline"] == [6, 6]
    assert found["difference"] == [
        one.comparison.difference.estimate for one in made if one and one.comparison.difference
    ]
    assert found["p_adjusted"] == [one.p_adjusted for one in made if one]
    assert all(low < high for low, high in zip(found["low"], found["high"], strict=True))


def test_of_what_is_not_compared_no_metric_is_named(tmp_path: Path):
    store = make_sweep(
        tmp_path / "sweep",
        problems=["fmnist_2c2d"],
        optimizers={name: [{"lr": 0.1}, {"lr": 0.01}] for name in ("SGD", "Adam")},
        tuned={"SGD": (1, 2), "Adam": (1, 2)},
        is_recorded=lambda one: one.role == "tuning",
    )
    report = report_of(store)

    assert dict(verdicts.declaration(report))["by"] == "final test metric"
    assert all(
        one.values == [None] for one in verdicts.columns(report) if one.name in ("metric", "n", "p")
    )
