"""The methods say what was done in this study, and cite nothing else."""

import dataclasses
import re
from pathlib import Path

import pytest

from jobs.report.content import Methods
from jobs.report.methods import methods
from jobs.report.references import REFERENCES, cited
from jobs.results import ledger, study
from jobs.results.comparisons import answers
from jobs.results.question import Question
from jobs.results.study import Outcome
from jobs.statistics.claims import Claim
from jobs.store.store import Store
from tests.make_sweep import make_sweep
from tests.test_jobs_report_checklist import KNOWN, change

GRID = [{"lr": lr} for lr in (0.03, 0.1, 0.3)]


def said(store: Store, question: Question | None = None) -> Methods:
    own, asked = ledger.collect(store, keep=False), question or Question()
    return methods(own, answers(own.selections, asked, own.on_files), asked)


def text(store: Store, question: Question | None = None) -> str:
    return " ".join(said(store, question).paragraphs)


def citations(found: Methods) -> set[str]:
    return {words for words in REFERENCES if words in " ".join(found.paragraphs)}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two optimizers of one setting each, on a problem without a target."""
    return make_sweep(tmp_path_factory.mktemp("sweeps") / "plain", problems=["mnist_mlp"], epochs=4)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Tuned on one seed and evaluated on others; two problems with targets."""
    return make_sweep(
        tmp_path_factory.mktemp("sweeps") / "tuned",
        optimizers={"SGD": GRID, "Adam": GRID},
        seeds=range(43, 49),
        tuned={"SGD": [42], "Adam": [42]},
        diverges=lambda one: 2 if one.run.seed == 44 and one.optimizer == "SGD" else None,
        epochs=4,
    )


def test_a_plain_study_cites_only_what_it_used(plain):
    found = said(plain)

    assert citations(found) == {
        "Schneider et al., 2019",
        "Student, 1908",
        "Newcombe, 2006",
        "Fisher, 1935",
        "Fleming and Wallace, 1986",
    }
    assert len(found.references) == 5
    assert "nothing was selected" in " ".join(found.paragraphs)
    assert "We trained SGD and Adam on MNIST MLP for 4 epochs with batch size 128." in text(plain)
    assert "Of 6 planned runs 6 have a record." in text(plain)


def test_a_tuned_study_says_how_settings_were_selected_and_what_diverged(tuned):
    found = text(tuned)

    assert (
        'Of 3 settings it was selected by the mean final valid accuracy ("final" of DeepOBS;'
        in found
    )
    assert "on seed 42" in found
    assert "reported on other seeds than selected them (seeds 43..48)" in found
    assert "Of the 24 runs of these settings 2 diverged" in found
    assert "2 comparisons, one family" in found
    assert citations(said(tuned)) >= {
        "Lachin, 1999",
        "Holm, 1979",
        "Dodge et al., 2019",
        "Tang et al., 2020",
        "Sivaprasad et al., 2020",
        "Wilson, 1927",
    }
    assert not {"Rothman, 1978", "Welch, 1947", "Pitman, 1937"} & citations(said(tuned))


def test_all_that_is_cited_has_a_reference_and_nothing_else_has(plain, tuned):
    for found in (said(plain), said(tuned)):
        words = {
            one.strip()
            for inner in re.findall(r"\(([^()]*\d{4})\)", " ".join(found.paragraphs))
            for one in inner.split(";")
            if re.search(r"[A-Z].*, \d{4}", one)
        }
        assert words <= set(REFERENCES)
        assert set(found.references) == {REFERENCES[one] for one in citations(found)}


def test_references_are_in_the_order_of_names_and_full():
    every = cited(REFERENCES)

    assert list(every) == sorted(every, key=str.lower)
    for words, reference in REFERENCES.items():
        name, _, year = words.rpartition(", ")
        assert f"({year})." in reference
        assert name.split()[0] in reference or name == "ICH"


@pytest.mark.parametrize(
    ("claim", "cites"), [(Claim.EQUIVALENT, "Schuirmann, 1987"), (Claim.NONINFERIOR, "ICH, 1998")]
)
def test_the_claim_decides_the_test(plain, claim, cites):
    found = said(plain, Question(claim=claim, margin=0.01))

    assert cites in citations(found)
    assert "Fisher, 1935" not in citations(found)
    assert "0.01" in " ".join(found.paragraphs)


def test_runs_of_other_seeds_are_not_pairs(plain, tmp_path: Path):
    apart = study.collect(
        [
            make_sweep(
                tmp_path / name,
                problems=["mnist_mlp"],
                optimizers={name: [{"lr": 0.1}]},
                seeds=seeds,
                epochs=2,
            )
            for name, seeds in (("SGD", range(4)), ("Adam", range(4, 8)))
        ]
    )
    found = methods(apart, answers(apart.selections, Question()), Question())

    assert {"Welch, 1947", "Pitman, 1937"} <= citations(found)
    assert "Fisher, 1935" not in citations(found)
    assert not {"Welch, 1947", "Pitman, 1937"} & citations(said(plain))


def test_the_value_is_the_one_that_was_asked_for(plain):
    asked = Question(value="at_best_valid", metric="valid_loss")

    assert "its valid loss at the first epoch of its best validation accuracy" in text(plain, asked)


def test_versions_are_those_of_the_records_all_of_them_if_mixed(tmp_path: Path):
    store = make_sweep(tmp_path / "mixed", problems=["mnist_mlp"], epochs=2)
    for planned in store.sweep().runs:
        change(store, planned.run.id, **KNOWN)
    change(store, store.sweep().runs[0].run.id, torch="2.5.0")
    found = said(store)

    assert found.versions["torch"] == "2.13.0, 2.5.0"
    assert found.versions["python"] == "3.11.7"
    assert found.versions["numpy"] == "2.1.0"
    assert "probprec (this analysis)" in found.versions
    assert "torch 2.13.0 (n=5) or 2.5.0 (n=1)" in " ".join(found.paragraphs)
    assert "image 111111111111, code 0123456789ab" in " ".join(found.paragraphs)
    assert "data train bbbbbbbbbbbb" in " ".join(found.paragraphs)


def test_the_preconditioner_is_cited_where_it_was_trained(plain, tmp_path: Path):
    store = make_sweep(tmp_path / "roos", problems=["mnist_mlp"], epochs=2)
    own = ledger.collect(store, keep=False)
    own = dataclasses.replace(own, outcomes=tuple(_renamed(one) for one in own.outcomes))
    found = methods(own, (), Question())

    assert "de Roos and Hennig, 2019" in citations(found)
    assert "de Roos and Hennig, 2019" not in citations(said(plain))


def _renamed(outcome: Outcome) -> Outcome:
    run = dataclasses.replace(outcome.planned.run, optimizer="probprec.PreconditionedSGD")
    return dataclasses.replace(outcome, planned=dataclasses.replace(outcome.planned, run=run))


def test_runs_that_are_missing_are_censored(tmp_path: Path):
    store = make_sweep(tmp_path / "holes", epochs=4, is_recorded=lambda one: one.run.seed != 42)

    assert "12 planned runs 8 have a record; 4 have no record" in text(store)
    assert {"Kaplan and Meier, 1958", "Rothman, 1978"} <= citations(said(store))


def test_without_records_the_methods_say_what_there_is(tmp_path: Path):
    store = make_sweep(tmp_path / "empty", problems=["mnist_mlp"], is_recorded=lambda _: False)
    found = said(store)

    assert "Of 6 planned runs 0 have a record" in found.paragraphs[0]
    assert "Trained with" not in " ".join(found.paragraphs)
