"""The table of `collect`: it fits the terminal, names its metrics, and takes labels as they are."""

import json
import re
from pathlib import Path

import pytest
from rich.cells import cell_len

from cluster.commands.collect import collect
from jobs.store.store import Store
from tests.helpers import note
from tests.make_sweep import make_sweep

GRID = [{"lr": lr, "momentum": 0.9} for lr in (0.001, 0.01, 0.1, 0.2, 0.5)]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    """20 cells of two problems with different metrics."""
    return make_sweep(
        tmp_path_factory.mktemp("wide") / "sweep",
        problems=["fmnist_2c2d", "quadratic_deep"],
        optimizers={"SGD": GRID, "PreconditionedTunedMomentum": GRID},
        epochs=3,
        diverges=lambda planned: 2 if planned.run.hyperparameters["lr"] == 0.5 else None,
    )


def shown(store: Store, width: int, monkeypatch, capsys) -> list[str]:
    """What `collect` prints on a terminal of so many columns."""
    monkeypatch.setenv("COLUMNS", str(width))
    collect(store, strict=False, as_json=False)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("width", [60, 80, 100, 130, 200])
def test_it_fits_and_no_column_shrinks_to_letters(store, monkeypatch, capsys, width):
    lines = shown(store, width, monkeypatch, capsys)
    table = lines[: next(i for i, line in enumerate(lines) if line.startswith("n: "))]

    assert max(map(cell_len, table)) <= width
    assert len(lines) < (80 if width < 80 else 60)
    assert sum("PreconditionedTunedMomentum" in line for line in table) == 2
    for setting in ("lr=0.001,", "momentum=0.9", "0.5"):
        assert any(setting in line for line in table)
    assert len(re.findall(r"\d\.\d{4} ± \d\.\d{4}", "\n".join(table))) >= 16


def test_it_names_metric_direction_and_target_and_explains_itself(store, monkeypatch, capsys):
    lines = shown(store, 130, monkeypatch, capsys)

    assert "fmnist_2c2d: test accuracy, higher is better; target: valid accuracy 0.9198" in lines
    assert "quadratic_deep: test loss, lower is better; target: valid loss 87.7" in lines
    text = " ".join(lines)
    for words in (
        "n: completed of planned runs",
        "±: standard deviation over seeds",
        "at best valid: when the validation metric was best",
        "to target: median epochs (runs that got there/with a record)",
    ):
        assert words in text
    assert "median: " not in text  # no setting diverged in part


def test_a_setting_that_diverged_in_part_shows_the_median_run(tmp_path, monkeypatch, capsys):
    """Beside the mean of those that completed, which is another number with each run that fails."""
    store = make_sweep(
        tmp_path / "sweep",
        problems=["digits_mlp"],
        optimizers={"SGD": [{"lr": 0.1}], "Adam": [{"lr": 0.1}]},
        seeds=range(10),
        epochs=3,
        diverges=lambda one: 2 if one.optimizer == "SGD" and one.run.seed > 2 else None,
    )
    lines = shown(store, 100, monkeypatch, capsys)
    text = " ".join(lines)

    assert "median: of completed and diverged runs; a diverged one is worse than any" in text
    (sgd,) = [line for line in lines if line.startswith("SGD ")]
    assert re.search(r"3/10 +7 +diverged +0\.\d{4} ± 0\.\d{4}", sgd)
    (adam,) = [line for line in lines if line.startswith("Adam ")]
    assert re.search(r"10/10 +0\.\d{4} +0\.\d{4} ± ", adam)


def test_the_selected_settings_are_named_with_what_they_were_selected_by(
    store, monkeypatch, capsys
):
    text = " ".join(line.strip() for line in shown(store, 80, monkeypatch, capsys))

    assert (
        "fmnist_2c2d SGD: lr=0.1, momentum=0.9 of 5 settings (15 runs) by final valid accuracy"
        " on seeds 42..44; reported on the same seeds"
    ) in text
    assert "! selected and reported on the same seeds" in text


def test_a_run_that_learned_nothing_is_counted(tmp_path, monkeypatch, capsys):
    store = make_sweep(tmp_path / "sweep", problems=["digits_mlp"], epochs=3)
    path = store.run(store.sweep().runs[0].run.id).record_file
    content = json.loads(path.read_text())
    content["curves"]["train_accuracy"] = [0.1] * 4
    path.write_text(json.dumps(content))
    lines = shown(store, 100, monkeypatch, capsys)

    assert any(re.search(r"SGD +3/3 +1 +0\.", line) for line in lines)
    assert any("1 run completed and ended no better than untrained" in line for line in lines)


def test_what_has_no_column_is_not_explained(store, monkeypatch, capsys):
    text = " ".join(shown(store, 60, monkeypatch, capsys))

    assert "±: standard deviation over seeds" in text
    assert "at best valid" not in text


def test_one_seed_has_no_deviation_and_large_losses_stay_short(tmp_path, monkeypatch, capsys):
    store = make_sweep(tmp_path / "one", problems=["quadratic_deep"], seeds=[1], epochs=1)
    for planned in store.sweep().runs:
        path = store.run(planned.run.id).record_file
        path.write_text(
            re.sub(r'("test_loss": \[[^,]*, )[^]]*', r"\g<1>123456.789", path.read_text())
        )
    text = "\n".join(shown(store, 80, monkeypatch, capsys))

    assert "1.235e+05" in text
    assert not re.search(r"\d ±", text)


LABELS = ["SGD [ours]", "SGD [theirs]", "x[/y]", "[red]", ":smile:", r"$\frac{1}{2$", "a|b #1 100%"]


def test_labels_are_shown_as_they_are(tmp_path: Path, monkeypatch, capsys):
    """In the table, in findings and in failures; so is the folder's name."""
    settings = {label: [{"lr": 0.1}] for label in LABELS}
    store = make_sweep(
        tmp_path / "[my] sweep", problems=["digits_mlp"], optimizers=settings, epochs=1
    )
    for label in LABELS:
        run = next(one.run.id for one in store.sweep().runs if one.optimizer == label)
        folder = store.run(run)
        folder.record_file.unlink()
        folder.claim().release()
        note(folder, "ended", fence=1, failure="exception", message="KeyError: '[/x]'")
    lines = shown(store, 100, monkeypatch, capsys)

    for label in LABELS:
        assert any(line.startswith(f"{label} ") for line in lines), label
        assert any(f"digits_mlp {label} seed 42: KeyError: '[/x]'" in line for line in lines)
    assert lines[0].startswith("[my] sweep: 21 runs")
    assert lines[-1] == f"next: probprec status '{store.root}'"


def test_failures_are_named_although_many_runs_wait(tmp_path, monkeypatch, capsys):
    store = make_sweep(
        tmp_path / "sweep", problems=["digits_mlp"], seeds=range(20), is_recorded=lambda _: False
    )
    folder = store.run(store.sweep().runs[-1].run.id)
    folder.claim().release()
    note(folder, "ended", fence=1, failure="oom", message="over the limit")

    assert any(line.startswith(f"x {folder.id}") for line in shown(store, 100, monkeypatch, capsys))
