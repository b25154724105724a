"""From axes to runs: grids, zipped axes, conditions, exclusions."""

from pathlib import Path

import numpy as np
import pytest

from jobs.spec import load
from jobs.sweep import Sweep


def sweep_of(folder: Path, text: str) -> Sweep:
    path = folder / "spec.yaml"
    path.write_text(text)
    return load(path)


def settings_of(folder: Path, settings: str) -> list[dict[str, object]]:
    """The hyperparameters of the runs of an SGD with these settings."""
    text = f"problems: [fmnist_2c2d]\nseeds: 42\noptimizers:\n  SGD: {{{settings}}}\n"
    return [dict(planned.run.hyperparameters) for planned in sweep_of(folder, text).runs]


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        ("{log_grid: [1e-5, 1e2, 10]}", np.logspace(-5, 2, 10)),
        ("{log_grid: [1e-5, 1e2, 20]}", np.logspace(-5, 2, 20)),
        ("{log_grid: [100, 3e-4, 7]}", np.logspace(2, np.log10(3e-4), 7)),
        ("{grid: [0, 1, 7]}", np.linspace(0, 1, 7)),
        ("{grid: [0.3, 0.1, 3]}", np.linspace(0.3, 0.1, 3)),
    ],
)
def test_grids_are_those_of_numpy_bit_for_bit(tmp_path: Path, axis: str, expected: object) -> None:
    found = [one["lr"] for one in settings_of(tmp_path, f"lr: {axis}")]

    np.testing.assert_array_equal(found, expected)


def test_zip_advances_together(tmp_path: Path) -> None:
    axes = "lr: {values: [1, 2]}, momentum: {values: [3, 4]}, dampening: {values: [5, 6]}"

    pairs = settings_of(tmp_path, f"{axes}, zip: [lr, dampening]")

    assert pairs == [
        {"lr": 1, "dampening": 5, "momentum": 3},
        {"lr": 1, "dampening": 5, "momentum": 4},
        {"lr": 2, "dampening": 6, "momentum": 3},
        {"lr": 2, "dampening": 6, "momentum": 4},
    ]
    groups = f"{axes}, weight_decay: {{values: [7, 8]}}, zip: [[lr, dampening], [momentum, weight_decay]]"
    assert len(settings_of(tmp_path, groups)) == 4


def test_a_setting_whose_condition_does_not_hold_is_left_out(tmp_path: Path) -> None:
    nested = "nesterov: {values: [false, true], when: {momentum: [0.9, 0.99]}}"

    found = settings_of(tmp_path, f"{nested}, lr: 0.1, momentum: {{values: [0, 0.9]}}")

    assert found == [
        {"lr": 0.1, "momentum": 0},
        {"nesterov": False, "lr": 0.1, "momentum": 0.9},
        {"nesterov": True, "lr": 0.1, "momentum": 0.9},
    ]


def test_conditions_on_conditional_settings(tmp_path: Path) -> None:
    """What asks about a setting that is left out does not hold, in whichever order they stand."""
    found = settings_of(
        tmp_path,
        "dampening: {values: [0.5], when: {nesterov: false}},"
        "nesterov: {values: [false], when: {momentum: 0.9}}, momentum: {values: [0, 0.9]}",
    )

    assert found == [{"momentum": 0}, {"dampening": 0.5, "nesterov": False, "momentum": 0.9}]


def test_conditions_on_the_problem(tmp_path: Path) -> None:
    text = """\
problems:
  small: {problem: digits_mlp}
  large: {problem: digits_2c2d, epochs: {values: [2], when: {optimizer: SGD}}}
optimizers:
  SGD: {lr: {values: [1, 2], when: {problem: small}}, weight_decay: {values: [3], when: {epochs: 2}}}
  Adam: {when: {problem: [large]}}
  AdamW: {when: {problem: large, epochs: 20}, lr: 0.1}
seeds: 1
"""
    runs = sweep_of(tmp_path, text).runs

    found = [
        (one.problem, one.optimizer, one.run.epochs, dict(one.run.hyperparameters)) for one in runs
    ]
    assert found == [
        ("small", "SGD", 20, {"lr": 1}),
        ("small", "SGD", 20, {"lr": 2}),
        ("large", "SGD", 2, {"weight_decay": 3}),
        ("large", "Adam", 20, {}),
        ("large", "AdamW", 20, {"lr": 0.1}),
    ]


def test_exclude_drops_what_has_all_values(tmp_path: Path) -> None:
    text = """\
problems: [digits_mlp, digits_2c2d]
optimizers: {SGD: {lr: {log_grid: [1e-2, 1, 3]}}, Momentum: {lr: 0.1}}
seeds: 1..4
exclude:
  - {problem: digits_mlp, seed: [1, 3..4]}
  - {optimizer: SGD, lr: [1e-2, 1.0]}
  - {momentum: 0.9, batch_size: 32, epochs: 20, init: deepobs, seed: 2}
"""
    runs = sweep_of(tmp_path, text).runs

    found = [(one.problem, one.optimizer, one.run.seed) for one in runs]
    assert found == [
        ("digits_mlp", "SGD", 2),
        *(("digits_2c2d", "SGD", seed) for seed in (1, 2, 3, 4)),
        *(("digits_2c2d", "Momentum", seed) for seed in (1, 3, 4)),
    ]


def test_what_is_excluded_altogether_has_no_label(tmp_path: Path) -> None:
    text = (
        "problems: [digits_mlp]\noptimizers: [SGD, Adam]\nseeds: 1\nexclude: [{optimizer: SGD}]\n"
    )

    assert sweep_of(tmp_path, text).optimizers == ("Adam",)
