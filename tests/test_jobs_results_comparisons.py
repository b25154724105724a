"""Optimizers against a baseline: what is shown, by how much, of which runs, and what forbids it."""

import dataclasses
from collections.abc import Mapping, Sequence

import pytest

from jobs.errors import InputError
from jobs.results import latex
from jobs.results.cells import Cell
from jobs.results.comparisons import Answer, answers
from jobs.results.finding import Finding
from jobs.results.question import Question
from jobs.results.selection import select
from jobs.results.sentence import sentence
from jobs.statistics.claims import Claim
from jobs.tuning import Criterion, Tuning
from tests.test_jobs_results_selection import make_cell

NINE = range(43, 52)
SUPERIOR = Question(metric="valid_accuracy")


def arm(optimizer: str, values: Sequence[float | None], first: int = 43, **more: object) -> Cell:
    """One setting, run on seeds from `first` on."""
    found = dict(enumerate(values, first))
    return make_cell({"lr": 0.1}, found, optimizer=optimizer, **more)


def ask(cells: Sequence[Cell], question: Question = SUPERIOR) -> Answer:
    (found,) = answers(select(cells), question)
    return found


def better(n: int = 9) -> list[Cell]:
    """Adam is better than SGD on every seed, by .01 to .02."""
    sgd = [0.80 + 0.001 * i for i in range(n)]
    adam = [value + 0.01 + 0.01 * (i % 2) for i, value in enumerate(sgd)]
    return [arm("SGD", sgd), arm("Adam", adam)]


def test_the_sentence_has_all_that_a_reviewer_asks_for():
    assert sentence(ask(better()), SUPERIOR) == (
        "Adam is better than SGD on fmnist_2c2d: final valid accuracy +0.0144 (95 % CI 0.0104 to"
        " 0.0185), 9 pairs of seeds 43..51, exact sign-flip p = 0.004, one comparison declared;"
        " both with the only setting tried; no run of either diverged."
    )


def test_whoever_is_better_is_named_first_and_the_difference_is_theirs():
    sgd, adam = better()
    text = sentence(ask([sgd, adam], Question(baseline="Adam", metric="valid_accuracy")), SUPERIOR)

    assert text.startswith("Adam is better than SGD on fmnist_2c2d: final valid accuracy +0.0144")


def test_of_losses_less_is_better():
    sgd = arm("SGD", [0.5 + 0.001 * i for i in range(9)], metric="valid_loss")
    adam = arm("Adam", [0.4 + 0.002 * i for i in range(9)], metric="valid_loss")
    found = ask([sgd, adam], Question(metric="valid_loss"))

    assert found.claim is Claim.SUPERIOR
    assert found.winner is found.a
    assert "Adam is better than SGD" in sentence(found, SUPERIOR)
    assert "final valid loss -0.0960" in sentence(found, SUPERIOR)


@pytest.mark.parametrize(
    ("scale", "text"),
    [(1e23, "valid loss -1.00e+22 (95 % CI -1.00e+22 to"), (1e-9, "valid loss -1.00e-10 (95 % CI")],
)
def test_numbers_that_are_huge_or_tiny_stay_short(scale, text):
    cells = [
        arm(name, [scale * (base + 0.0001 * (i % 3)) for i in range(9)], metric="valid_loss")
        for name, base in (("SGD", 0.5), ("Adam", 0.4))
    ]
    cells[1] = arm(
        "Adam", [scale * (0.4 + 0.0001 * (i % 2)) for i in range(9)], metric="valid_loss"
    )

    assert text in sentence(ask(cells, Question(metric="valid_loss")), SUPERIOR)


def test_three_seeds_can_show_nothing_and_that_is_said():
    found = ask(better(3))

    assert found.claim is Claim.UNDECIDED
    text = sentence(found, SUPERIOR)
    assert text.startswith(
        "It is undecided whether Adam or SGD is better on fmnist_2c2d: final valid accuracy of Adam"
        " less that of SGD +0.0"
    )
    assert "exact sign-flip p = 0.250" in text
    assert "so few runs cannot show it, p is at least 0.25: it takes 6 pairs" in text
    assert found.to_json()["resolution"] == {
        "smallest_p": 0.25,
        "smallest_adjusted_p": 0.25,
        "comparisons_max": 0,
        "pairs_needed": 6,
    }
    assert "seeds per optimizer would show a difference as large as the observed one" in text


def test_what_was_selected_on_other_seeds_is_named():
    tried = [make_cell({"lr": rate}, {42: rate}, optimizer="SGD") for rate in (0.1, 0.3)]
    chosen = make_cell(
        {"lr": 0.2}, {42: 0.9} | {43 + i: 0.8 + 0.001 * i for i in range(9)}, optimizer="SGD"
    )
    found = ask([*tried, chosen, better()[1]])

    assert "SGD with a setting selected on seed 42 out of 3" in sentence(found, SUPERIOR)
    assert found.compared is not None
    assert [len(cell.results) for cell in found.compared.runs] == [9, 9]
    assert [one.code for one in found.findings] == ["unequal_budgets"]


def test_a_diverged_run_is_the_worst_and_no_mean_is_compared():
    """Seven of ten of Adam die; its survivors are better."""
    sgd = arm("SGD", [0.80 + 0.001 * i for i in range(10)])
    adam = arm("Adam", [None] * 7 + [0.9, 0.91, 0.92])
    found = ask([sgd, adam])

    text = sentence(found, SUPERIOR)
    assert found.winner is found.b
    assert "%" in text
    assert "final valid accuracy of Adam is better with probability 0.30" in text
    assert "7 of 10 runs of Adam diverged, which counts as worse than any that did not" in text
    assert "+0." not in text


def test_a_family_is_adjusted_and_named():
    cells = [*better(), arm("Momentum", [0.7 + 0.001 * i for i in range(9)])]
    found = answers(select(cells), SUPERIOR)

    assert [one.family for one in found] == [2, 2]
    assert all(one.compared and one.compared.p_adjusted == 2 * 2 / 2**9 for one in found)
    assert "p = 0.004, 0.008 by Holm over 2 comparisons declared" in sentence(found[0], SUPERIOR)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ({}, ["Adam", "Momentum"]),
        ({"optimizers": ("Adam",)}, ["Adam"]),
        ({"baseline": "Adam"}, ["SGD", "Momentum"]),
        ({"optimizers": ("SGD", "Adam"), "baseline": "Momentum"}, ["SGD", "Adam"]),
    ],
)
def test_the_family_is_what_is_asked(named, expected):
    cells = [*better(), arm("Momentum", [0.7 + 0.001 * i for i in range(9)])]
    question = dataclasses.replace(SUPERIOR, **named)

    assert [one.a.optimizer for one in answers(select(cells), question)] == expected


@pytest.mark.parametrize(
    ("question", "text"),
    [
        (Question(optimizers=("Lion",)), "no optimizer Lion; there are: SGD, Adam"),
        (Question(problems=("x",)), "no problem x; there are: fmnist_2c2d"),
        (Question(optimizers=("SGD",)), "nothing to compare: no problem has the baseline"),
    ],
)
def test_what_is_not_there_is_named(question, text):
    with pytest.raises(InputError, match=text):
        answers(select(better()), question)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"claim": Claim.EQUIVALENT}, "equivalent needs --margin"),
        ({"claim": Claim.NONINFERIOR, "margin": -1.0}, "above 0"),
        ({"claim": Claim.NONINFERIOR, "margin": float("nan")}, "above 0"),
        ({"margin": 0.1}, "--margin belongs to"),
        ({"metric": "accuracy"}, "no metric accuracy; there are: train_loss"),
    ],
)
def test_a_question_must_be_whole(given: Mapping[str, object], text):
    with pytest.raises(InputError, match=text):
        Question(**given)


def test_equivalence_and_noninferiority_are_shown_within_the_margin():
    sgd = [0.8 + 0.001 * (i % 3) for i in range(9)]
    same = [0.8 + 0.001 * ((i + 1) % 3) for i in range(9)]
    cells = [arm("SGD", sgd), arm("Adam", same)]

    for claim, text in (
        (Claim.EQUIVALENT, "Adam and SGD differ by less than 0.01 on fmnist_2c2d: "),
        (Claim.NONINFERIOR, "Adam is not worse than SGD by 0.01 or more on fmnist_2c2d: "),
    ):
        question = Question(claim=claim, margin=0.01, metric="valid_accuracy")
        found = ask(cells, question)
        assert found.claim is claim
        assert sentence(found, question).startswith(text)
        assert "one-sided t p < 0.001" in sentence(found, question)


def test_seeds_that_one_of_both_lacks_are_left_out_of_both_and_named():
    sgd = arm("SGD", [0.80 + 0.001 * i for i in range(9)])
    adam = make_cell(
        {"lr": 0.1},
        {seed: 0.85 + 0.002 * seed for seed in range(43, 50)},
        optimizer="Adam",
        unrecorded=(50, 51),
    )
    found = ask([sgd, adam])

    assert found.compared is not None
    assert found.compared.comparison.paired
    assert found.compared.comparison.n == (7, 7)
    assert "7 pairs of seeds 43..49 (9 were planned)" in sentence(found, SUPERIOR)
    texts = {one.code: one.text for one in found.findings}
    assert texts["incomplete"] == (
        "fmnist_2c2d Adam lr=0.1: 2 of 9 runs have no record (seeds 50, 51)"
    )


def test_other_seeds_are_no_pairs():
    found = ask([arm("SGD", [0.8, 0.81, 0.82]), arm("Adam", [0.9, 0.91, 0.92], first=50)])

    assert found.compared is not None
    assert not found.compared.comparison.paired
    text = sentence(found, SUPERIOR)
    assert "seeds 50..52 against seeds 43..45, exact permutation p = 0.100" in text


def test_numbers_of_other_code_are_shown_and_nothing_is_claimed():
    sgd, adam = better()
    of_code = [
        dataclasses.replace(
            cell,
            results=tuple(
                dataclasses.replace(one, provenance={"training_code": code}) for one in cell.results
            ),
        )
        for cell, code in ((sgd, "a" * 12), (adam, "b" * 12))
    ]
    found = ask(of_code)

    assert found.claim is Claim.UNDECIDED
    assert [one.code for one in found.forbidden] == ["mixed_code"]
    text = sentence(found, SUPERIOR)
    assert text.startswith("It is undecided whether Adam or SGD is better")
    assert "nothing may be claimed: records of different code: " in text


def test_runs_that_were_not_trained_alike_are_named():
    sgd, adam = better()
    longer = [
        dataclasses.replace(
            one,
            planned=dataclasses.replace(
                one.planned, run=dataclasses.replace(one.planned.run, epochs=9, batch_size=32)
            ),
        )
        for one in adam.results
    ]
    adam = dataclasses.replace(
        adam, results=tuple(longer), planned=tuple(one.planned for one in longer)
    )
    texts = {one.code: one.text for one in ask([sgd, adam]).findings}

    assert texts["unequal_training"] == (
        "not trained alike: epochs 9 in fmnist_2c2d Adam lr=0.1, 2 in fmnist_2c2d SGD lr=0.1; "
        "batch_size 32 in fmnist_2c2d Adam lr=0.1, 128 in fmnist_2c2d SGD lr=0.1"
    )


def test_a_finding_on_files_counts_where_it_is_about_these_runs():
    """Two records of one run differ: which of them is the number nobody knows."""
    cells = better()
    run = cells[0].planned[0].run.id

    def asked(finding: Finding) -> Answer:
        (found,) = answers(select(cells), SUPERIOR, [finding])
        return found

    assert asked(Finding("conflict", "of others", ("0" * 12,))).claim is Claim.SUPERIOR
    assert asked(Finding("duplicate", "a copy", (run,))).claim is Claim.SUPERIOR
    conflict = asked(Finding("conflict", "nondeterminism: x and y differ", (run,)))
    assert conflict.claim is Claim.UNDECIDED
    assert "nothing may be claimed: nondeterminism: x and y" in sentence(conflict, SUPERIOR)


def test_what_is_tuned_and_not_chosen_yet_is_not_compared():
    """The tuning runs would choose a setting and judge it."""
    tuning = Tuning(
        problem="fmnist_2c2d",
        optimizer="SGD",
        cells=(),
        seeds=(1, 2),
        evaluation=(43,),
        criterion=Criterion(metric="valid_accuracy", at="final"),
    )
    tuned = [
        dataclasses.replace(
            make_cell({"lr": rate}, {1: rate, 2: rate}), role="tuning", tuning=tuning
        )
        for rate in (0.1, 0.2)
    ]
    found = ask([*tuned, better()[1]])

    assert found.compared is None
    assert found.refused == "SGD: nothing is chosen of what is tuned yet"


def test_without_a_selected_setting_nothing_is_compared():
    cells = [
        make_cell({"lr": 0.1}, {1: 0.8}),
        make_cell({"lr": 0.2}, {2: 0.9}),
        arm("Adam", [0.9], first=1),
    ]
    found = ask(cells)

    assert found.compared is None
    assert sentence(found, SUPERIOR) == (
        "Adam and SGD are not compared on fmnist_2c2d: SGD: no seed is planned for all 2 settings."
    )


def test_a_metric_that_a_run_lacks_is_not_compared():
    found = ask(better(), Question(metric="train_loss"))

    assert found.refused == "fmnist_2c2d Adam lr=0.1 has no train loss (seeds 43..51)"


def test_latex_has_a_row_per_comparison_and_takes_labels_as_they_are():
    cells = [better()[0], arm(r"A_d%am\x{}", [0.9 + 0.001 * i for i in range(9)])]
    found = answers(select(cells), SUPERIOR)
    text = latex.table(found, SUPERIOR)

    assert r"fmnist\_2c2d & A\_d\%am\textbackslash{}x\{\} & 9 & $+0.1000$ (" in text
    assert text.count(r"\\") == 2
    assert "adjusted by Holm over 1 comparison declared; no run diverged" in text
    assert r"\toprule" in text
