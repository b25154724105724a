"""What was tuned: what chose is never averaged with what judges, and a choice is told with its grounds."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cluster.commands.collect import collect, plot
from jobs.results import ledger, tables, times
from jobs.results.figures import FIGURES, draw
from jobs.results.ledger import Collection
from jobs.results.style import FigureError
from jobs.store.store import Store
from jobs.sweep import PlannedRun
from tests.helpers import texts
from tests.make_sweep import make_record, make_sweep, write

LRS = (0.01, 0.1, 1.0, 100.0)
TUNING, EVALUATION = (1, 2), (42, 43, 44)


def make(root: Path, is_recorded: Callable[[PlannedRun], bool] = lambda _: True) -> Store:
    """SGD is tuned over four step sizes, of which 100 diverges; Adam and Momentum are not tuned."""
    return make_sweep(
        root,
        problems=["digits_mlp"],
        optimizers={"SGD": [{"lr": lr} for lr in LRS], "Adam": [{"lr": 0.1}], "Momentum": [{}]},
        seeds=EVALUATION,
        tuned={"SGD": TUNING},
        epochs=8,
        diverges=lambda one: 3 if one.run.hyperparameters.get("lr") == 100 else None,
        is_recorded=is_recorded,
    )


def half(planned: PlannedRun) -> bool:
    """Nothing is chosen: seed 2 of the tuning has no records."""
    return planned.role == "evaluation" or planned.run.seed == 1


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return make(tmp_path_factory.mktemp("tuned") / "sweep")


@pytest.fixture(scope="module")
def collection(store) -> Collection:
    return ledger.collect(store)


@pytest.fixture
def undecided(tmp_path) -> Store:
    return make(tmp_path / "half", is_recorded=half)


def screen(store: Store, width: int, monkeypatch, capsys, *, code: int | None = None) -> list[str]:
    """What `collect` prints on a terminal of so many columns."""
    monkeypatch.setenv("COLUMNS", str(width))
    assert collect(store, strict=False, as_json=False) in ({0, 1} if code is None else {code})
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def rows(collection: Collection, name: str) -> list[str]:
    panel = draw(collection, name).pages[0].axes[0]
    return [label.get_text() for label in panel.get_yticklabels()]


def means(store: Store, seeds: tuple[int, ...], metric: str) -> dict[float, float]:
    """By SGD's step size the mean of the last values, of those that completed, read from the files."""
    found: dict[float, list[float]] = {}
    for planned in store.sweep().runs:
        record = json.loads(store.run(planned.run.id).record_file.read_text())
        is_own = planned.optimizer == "SGD" and planned.run.seed in seeds
        if is_own and record["outcome"] == "completed":
            found.setdefault(planned.varied["lr"], []).append(record["curves"][metric][-1])
    return {lr: math.fsum(values) / len(values) for lr, values in found.items()}


def best_lr(store: Store) -> float:
    found = means(store, TUNING, "valid_accuracy")
    return max(found, key=found.__getitem__)


def test_tuning_and_evaluation_of_a_setting_are_two_cells(store, collection):
    lr = best_lr(store)
    tuning, evaluation = (
        cell for cell in collection.cells if cell.optimizer == "SGD" and cell.varied["lr"] == lr
    )

    assert tuning.id == evaluation.id
    assert (tuning.role, evaluation.role) == ("tuning", "evaluation")
    assert [one.planned.run.seed for one in tuning.completed] == list(TUNING)
    assert [one.planned.run.seed for one in evaluation.completed] == list(EVALUATION)
    of_sgd = [cell for cell in collection.cells if cell.optimizer == "SGD"]
    assert of_sgd == [*(one for one in of_sgd if one.role == "tuning"), evaluation]


def test_summary_has_a_row_per_role_and_says_what_was_chosen(store, collection):
    frame = tables.summary(collection.cells, {})
    sgd = frame[frame.optimizer == "SGD"]
    lr = best_lr(store)

    assert sgd.role.tolist() == ["tuning"] * 4 + ["evaluation"]
    assert sgd.chosen.tolist() == [lr == one for one in LRS] + [True]
    assert frame[frame.optimizer != "SGD"].chosen.isna().all()
    for row in sgd[sgd["varied.lr"] == lr].itertuples():
        seeds = TUNING if row.role == "tuning" else EVALUATION
        assert (row.n, row.seeds) == (len(seeds), " ".join(map(str, seeds)))
        expected = means(store, seeds, "test_accuracy")[lr]
        assert row.final_test_accuracy_mean == pytest.approx(expected, rel=1e-12)


def test_runs_have_their_role(collection):
    for row in tables.runs(collection).to_pylist():
        is_tuning = row["optimizer"] == "SGD" and row["seed"] in TUNING
        assert row["role"] == ("tuning" if is_tuning else "evaluation")


def test_nothing_is_chosen_of_what_is_undecided(undecided):
    cells = ledger.collect(undecided).cells

    assert [cell.chosen for cell in cells] == [None] * 6
    assert tables.summary(cells, {}).chosen.isna().all()


def test_results_are_reported_on_evaluation_seeds(store, collection, monkeypatch, capsys):
    lr = f"{best_lr(store):g}"

    assert [(cell.optimizer, cell.role) for cell in collection.reported] == [
        ("SGD", "evaluation"),
        ("Adam", "evaluation"),
        ("Momentum", "evaluation"),
    ]
    lines = screen(store, 100, monkeypatch, capsys, code=0)
    assert sum(f"lr={lr} " in line for line in lines if "±" in line) == 1
    assert not any("(tuning)" in line for line in lines)
    selected = (
        f"- digits_mlp SGD: lr={lr} of 4 settings (8 runs) by final valid accuracy on seeds 1, 2"
    )
    for name in ("grid", "final"):
        assert f"{selected}; reported on seeds 42..44; n=3\n" in draw(collection, name).caption
    assert rows(collection, "final") == ["SGD", "Adam", "Momentum"]


def test_what_is_undecided_shows_its_tuning(undecided, monkeypatch, capsys):
    collection = ledger.collect(undecided)
    lines = screen(undecided, 100, monkeypatch, capsys, code=1)

    assert all(any(f"lr={lr:g} (tuning)" in line for line in lines) for lr in LRS)
    drawing = draw(collection, "grid")
    assert re.search(
        r"SGD: lr=.* of 4 settings .* reported on the same seeds; n=1\n", drawing.caption
    )
    assert rows(collection, "final") == ["SGD", "Adam", "Momentum"]


def test_a_figure_tells_of_how_many_runs_it_is_drawn(collection):
    for name, text in (("final", "9 of 9 runs"), ("sensitivity", "14 of 14 runs")):
        (figure,) = draw(collection, name).pages
        assert figure.texts[0].get_text() == f"sweep · {text}"


def test_runtime_compares_evaluation_only(collection):
    adam, momentum = times.paces(collection.selections, collection.found)

    assert (adam.selection.optimizer, momentum.selection.optimizer) == ("Adam", "Momentum")
    assert adam.wall.pairs == len(EVALUATION)
    assert rows(collection, "runtime") == ["Adam", "Momentum"]


def test_runtime_of_a_tuned_optimizer_on_the_baselines_seeds_is_its_evaluation(tmp_path):
    """Its tuning seeds are some of the baseline's."""
    store = make_sweep(
        tmp_path / "sweep",
        problems=["digits_mlp"],
        optimizers={"SGD": [{}], "Adam": [{"lr": lr} for lr in LRS[:3]]},
        seeds=(1, 2, 3),
        tuned={"SGD": (7,), "Adam": (7, 8)},
        epochs=2,
    )

    collection = ledger.collect(store)
    (adam,) = times.paces(collection.selections, collection.found)
    assert (adam.selection.cell.role, adam.wall.pairs) == ("evaluation", 3)


def test_sensitivity_shows_the_tuning_with_a_ring_around_what_was_chosen(store, collection):
    drawing = draw(collection, "sensitivity")
    panel = drawing.pages[0].axes[0]
    expected = means(store, TUNING, "valid_accuracy")
    line = next(line for line in panel.get_lines() if len(line.get_xdata()) == len(LRS))
    rings = [line for line in panel.get_lines() if line.get_fillstyle() == "none"]

    np.testing.assert_allclose(line.get_ydata(orig=False)[:3], list(expected.values()))
    assert [ring.get_xdata()[0] for ring in rings] == [best_lr(store)]
    assert rings[0].get_ydata()[0] == pytest.approx(max(expected.values()))
    assert "Ring: the chosen setting." in drawing.caption
    assert "- digits_mlp SGD: 4 settings, n=2 of the tuning; " in drawing.caption
    assert "- digits_mlp Adam: 1 setting, n=3\n" in drawing.caption


def test_sensitivity_without_a_choice_has_no_ring(undecided):
    assert "Ring" not in draw(ledger.collect(undecided), "sensitivity").caption


@pytest.mark.parametrize("name", FIGURES)
def test_what_is_chosen_and_not_evaluated_yet_is_in_no_figure_of_results(tmp_path, name):
    store = make_sweep(
        tmp_path / "sweep",
        problems=["digits_mlp"],
        optimizers={"SGD": [{"lr": lr} for lr in LRS]},
        tuned={"SGD": TUNING},
        epochs=2,
        is_recorded=lambda one: one.role == "tuning",
    )
    collection = ledger.collect(store)

    if name in {"sensitivity", "tuning"}:
        panel = draw(collection, name).pages[0].axes[0]
        assert panel.get_ylabel().endswith("accuracy")
    else:
        with pytest.raises(FigureError, match="sensitivity and tuning show the tuning"):
            draw(collection, name)


def test_a_choice_is_told_with_its_grounds(store, collection):
    (one,) = collection.ledger.tunings
    ranked = sorted(means(store, TUNING, "valid_accuracy").items(), key=lambda pair: -pair[1])
    (lr, value), (next_lr, next_value) = ranked[:2]

    assert str(one) == (
        f"digits_mlp SGD: lr={lr:g} chosen of 4 settings by valid_accuracy final on seeds 1, 2: "
        f"{value:.4g} (next: lr={next_lr:g}, {next_value:.4g}); 1 diverged"
    )
    assert one.finding is None
    assert collection.ledger.is_whole
    (text,) = texts(collection.ledger)
    assert text == (
        "unequal budgets of tuning on digits_mlp: SGD 4 settings (8 runs), Adam 1 setting, "
        "Momentum 1 setting"
    )


@pytest.mark.parametrize("width", [60, 80, 130])
def test_a_choice_fits_the_terminal(store, collection, monkeypatch, capsys, width):
    lines = screen(store, width, monkeypatch, capsys)
    first = next(i for i, line in enumerate(lines) if line.startswith("digits_mlp SGD: "))
    told = [lines[first]]
    for line in lines[first + 1 :]:
        if not line.startswith("  "):
            break
        told.append(line.strip())

    assert max(map(len, told)) <= width
    assert " ".join(told) == str(collection.ledger.tunings[0])


def test_the_ledger_has_the_tunings(store, collection, capsys):
    assert collect(store, strict=False, as_json=True) == 0
    out = json.loads(capsys.readouterr().out)
    expected = means(store, TUNING, "valid_accuracy")

    assert json.loads((store.collected / "ledger.json").read_text())["tunings"] == out["tunings"]
    (one,) = out["tunings"]
    assert one | {"candidates": []} == {
        "problem": "digits_mlp",
        "optimizer": "SGD",
        "criterion": "valid_accuracy final",
        "seeds": list(TUNING),
        "chosen": {"lr": best_lr(store)},
        "why": None,
        "candidates": [],
    }
    assert [entry["setting"]["lr"] for entry in one["candidates"]] == list(LRS)
    assert [entry["value"] for entry in one["candidates"]] == [
        pytest.approx(expected[lr]) if lr in expected else None for lr in LRS
    ]
    assert [entry["diverged"] for entry in one["candidates"]] == [0, 0, 0, 2]
    assert {entry["cell"] for entry in one["candidates"]} == {
        cell.id for cell in collection.cells if cell.role == "tuning"
    }


def test_what_is_undecided_is_a_finding_and_is_not_complete(undecided, monkeypatch, capsys):
    finding = (
        "digits_mlp SGD: nothing chosen yet: 4 of 8 tuning runs done; "
        "3 evaluation runs are not planned yet"
    )
    assert collect(undecided, strict=False, as_json=True) == 1
    out = json.loads(capsys.readouterr().out)

    assert [one["text"] for one in out["findings"]] == [finding]
    (one,) = out["tunings"]
    assert (one["chosen"], one["why"]) == (None, "4 of 8 tuning runs done")
    assert [entry["value"] for entry in one["candidates"]] == [None] * 4
    text = "\n".join(screen(undecided, 130, monkeypatch, capsys, code=1))
    assert text.count(finding) == 1
    assert "probprec status" in text


def test_what_could_be_chosen_and_is_not_is_incomplete_although_nothing_is_missing(store, capsys):
    (path,) = (store.root / "choices").iterdir()
    content = path.read_bytes()
    path.unlink()
    try:
        found = ledger.collect(store).ledger
        assert plot(store, figure="sensitivity", out=store.root.parent, as_json=False) == 0
    finally:
        path.write_bytes(content)

    assert (found.missing, found.is_whole, found.undecided) == (0, False, 1)
    assert any("nothing chosen yet: all tuning runs are done" in f for f in texts(found))
    assert [one.value is None for one in found.tunings[0].candidates] == [False, False, False, True]
    assert "not all that is tuned is chosen yet" in capsys.readouterr().out


def test_a_tuning_of_which_all_diverged_says_so(tmp_path):
    store = make_sweep(
        tmp_path / "sweep",
        problems=["digits_mlp"],
        optimizers={"SGD": [{"lr": lr} for lr in LRS]},
        tuned={"SGD": TUNING},
        epochs=2,
        diverges=lambda _: 1,
    )
    (finding, *_) = texts(ledger.collect(store).ledger)

    assert "digits_mlp SGD: nothing chosen yet: a run of each of the 4 settings diverged" in finding


@pytest.mark.parametrize("how", ["gone", "another"])
def test_a_choice_from_records_that_are_no_longer_there_is_a_finding(tmp_path, how, capsys):
    store = make(tmp_path / "sweep")
    planned = next(one for one in store.sweep().runs if one.varied == {"lr": 0.01})
    path = store.run(planned.run.id).record_file
    if how == "gone":
        path.unlink()
    else:
        record = make_record(planned)
        record["provenance"]["host"] = "node1b"
        write(store, planned, record, "[]")
    found = ledger.collect(store).ledger
    lr = best_lr(store) if how == "another" else found.tunings[0].chosen.setting["lr"]

    assert (
        f"digits_mlp SGD: lr={lr:g} was chosen from a record that is not there any more: "
        f"run {planned.run.id} (digits_mlp SGD lr=0.01 seed 1)"
    ) in texts(found)
    assert collect(store, strict=True, as_json=True) == 1
    capsys.readouterr()


def test_code_that_differs_between_the_roles_is_not_averaged(tmp_path):
    store = make(tmp_path / "sweep")
    for planned in store.sweep().runs:
        if planned.role == "tuning":
            path = store.run(planned.run.id).record_file
            path.write_text(path.read_text().replace("0123456789ab", "ffffffffffff"))
    findings = texts(ledger.collect(store).ledger)

    assert any(one.startswith("records of different code: ") for one in findings)
    assert not any("averages runs" in one for one in findings)


def test_code_that_differs_within_a_tuning_names_its_cell(tmp_path):
    store = make(tmp_path / "sweep")
    planned = next(one for one in store.sweep().runs if one.varied == {"lr": 0.01})
    path = store.run(planned.run.id).record_file
    path.write_text(path.read_text().replace("0123456789ab", "ffffffffffff"))

    findings = texts(ledger.collect(store).ledger)
    assert any("digits_mlp SGD lr=0.01 (tuning) averages runs" in one for one in findings)


def test_two_tunings_of_one_optimizer_are_told_apart(tmp_path):
    """By what all settings of each have in common, here the batch size."""
    store = make_sweep(
        tmp_path / "sweep",
        problems=["digits_mlp"],
        optimizers={"SGD": [{"lr": lr, "batch_size": size} for size in (32, 64) for lr in LRS]},
        seeds=EVALUATION,
        tuned={"SGD": TUNING},
        epochs=2,
        is_recorded=lambda one: half(one) or one.run.batch_size == 64,
    )
    collection = ledger.collect(store)
    first, second = collection.ledger.tunings

    assert str(first).startswith("digits_mlp SGD batch_size=32: nothing chosen yet: 4 of 8 ")
    assert str(second).startswith("digits_mlp SGD batch_size=64: lr=")
    sizes = [(cell.varied["batch_size"], cell.role) for cell in collection.reported]
    assert sizes == [(32, "tuning")] * 4 + [(64, "evaluation")]
    caption = draw(collection, "grid").caption
    assert re.search(r"batch_size=64 of 4 settings .* reported on .*; n=3\n", caption)


def test_settings_that_look_alike_are_told_apart(tmp_path):
    store = make_sweep(
        tmp_path / "sweep",
        problems=["digits_mlp"],
        optimizers={"SGD": [{"lr": 0.1}, {"lr": 0.10000001}]},
        tuned={"SGD": TUNING},
        epochs=2,
    )
    text = str(ledger.collect(store).ledger.tunings[0])

    assert "lr=0.1 " in text or "lr=0.1," in text
    assert "lr=0.10000001" in text
