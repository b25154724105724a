"""What a good spec asks for: labels, defaults, files, overrides, own classes."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from jobs.spec import SpecError, load
from jobs.sweep import PlannedRun, Sweep, Target


def sweep_of(folder: Path, text: str, overrides: Sequence[str] = ()) -> Sweep:
    path = folder / "spec.yaml"
    path.write_text(text)
    return load(path, overrides)


def test_the_shortest_spec(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, "problems: [fmnist_2c2d]\noptimizers: [SGD]\nseeds: 42\n")

    (planned,) = sweep.runs
    assert sweep.name == "spec"
    assert sweep.description == ""
    assert (sweep.problems, sweep.optimizers) == (("fmnist_2c2d",), ("SGD",))
    assert sweep.targets == {"fmnist_2c2d": Target(metric="test_accuracy", value=0.91981)}
    assert sweep.data is None
    assert sweep.code == (str(tmp_path),)
    assert list(sweep.sources) == [str(tmp_path / "spec.yaml")]
    assert planned.run.to_json() == {
        "problem": "fmnist_2c2d",
        "optimizer": "torch.optim.SGD",
        "hyperparameters": {},
        "seed": 42,
        "epochs": 100,
        "batch_size": 128,
        "init": "deepobs",
        "protocol": "default",
        "version": 1,
    }
    assert planned.varied == {}


def test_order_is_problems_optimizers_settings_seeds(tmp_path: Path) -> None:
    text = """\
problems:
  a: {problem: digits_mlp, batch_size: {values: [32, 16]}}
  b: {problem: digits_2c2d}
optimizers: {SGD: {momentum: {values: [0.9, 0]}, lr: {values: [0.2, 0.1]}}, Adam: }
seeds: [44, 42..43]
epochs: 1
"""
    runs = sweep_of(tmp_path, text).runs

    assert len(runs) == (2 * 4 + 2) * 3 + (4 + 1) * 3
    assert [one.run.seed for one in runs[:3]] == [44, 42, 43]
    assert [one.varied for one in runs[:9:3]] == [
        {"batch_size": 32, "momentum": 0.9, "lr": 0.2},
        {"batch_size": 32, "momentum": 0.9, "lr": 0.1},
        {"batch_size": 32, "momentum": 0.0, "lr": 0.2},
    ]
    assert [one.problem for one in runs] == sorted(one.problem for one in runs)
    assert runs[0].run.problem == "digits_mlp"


def test_epochs_and_batch_size_of_the_problem_win(tmp_path: Path) -> None:
    text = """\
problems: {digits_mlp: , digits_2c2d: {epochs: 3}, cifar10_roos: {batch_size: 64}}
optimizers: [SGD]
seeds: 1
epochs: 7
"""
    runs = sweep_of(tmp_path, text).runs
    found = [(one.run.epochs, one.run.batch_size) for one in runs]

    assert found == [(7, 32), (3, 32), (7, 64)]

    narrowed = sweep_of(tmp_path, text, ["epochs=1", "batch_size=8"]).runs
    assert {(one.run.epochs, one.run.batch_size) for one in narrowed} == {(1, 8)}


def test_short_names_pin_what_they_stand_for(tmp_path: Path) -> None:
    text = """\
problems: [fmnist_2c2d]
optimizers:
  Momentum: {lr: tuned}
  strong: {optimizer: Nesterov, momentum: 0.99, lr: tuned}
  Adam: {lr: {values: [tuned, 0.1]}}
seeds: 1
"""
    found = [(one.run.optimizer, one.run.hyperparameters) for one in sweep_of(tmp_path, text).runs]

    assert found == [
        ("torch.optim.SGD", {"momentum": 0.9, "lr": 0.02069138081114788}),
        ("torch.optim.SGD", {"nesterov": True, "momentum": 0.99, "lr": 0.02069138081114788}),
        ("torch.optim.Adam", {"lr": 0.00012742749857031334}),
        ("torch.optim.Adam", {"lr": 0.1}),
    ]


def test_a_list_is_one_value(tmp_path: Path) -> None:
    text = "problems: [digits_mlp]\noptimizers: {Adam: {betas: [0, 0.99]}}\nseeds: 1\n"

    (planned,) = sweep_of(tmp_path, text).runs

    assert planned.run.hyperparameters == {"betas": [0.0, 0.99]}
    assert isinstance(planned.run.to_json()["hyperparameters"]["betas"][0], float)
    assert planned.varied == {}


def test_numbers_are_of_the_kind_that_the_class_takes(tmp_path: Path) -> None:
    text = """\
problems: [digits_mlp]
optimizers: {Preconditioner: {est_rank: {grid: [1, 3, 3]}, lr: 1, optim_class: torch.optim.Adam}}
seeds: 1
"""
    first = sweep_of(tmp_path, text).runs[0].run.hyperparameters

    assert first == {"est_rank": 1, "lr": 1.0, "optim_class": "torch.optim.Adam"}
    assert [type(value) for value in first.values()] == [int, float, str]


def test_overrides_may_take_away_what_conditions_name(tmp_path: Path) -> None:
    text = """\
problems: [digits_mlp, digits_2c2d]
optimizers: {SGD: , Adam: {when: {problem: digits_2c2d}}}
seeds: 1..4
exclude: [{seed: 4}, {problem: digits_2c2d, seed: 3}]
"""
    narrowed = sweep_of(tmp_path, text, ["seeds=1", "problems=[digits_mlp]"])

    assert [one.optimizer for one in narrowed.runs] == ["SGD"]
    assert narrowed.sources["--set"] == "seeds=1\nproblems=[digits_mlp]"


def test_overrides_reach_everything(tmp_path: Path) -> None:
    text = "problems: [digits_mlp]\noptimizers: [torch.optim.SGD, Adam]\nseeds: 1\n"
    sweep = sweep_of(
        tmp_path,
        text,
        [
            "seeds=[7, 9..10]",
            "optimizers.torch.optim.SGD.lr={values: [0.1, 0.2]}",
            "optimizers.Adam.lr=1e-3",
            "optimizers.new.optimizer=SGD",
            "optimizers.new.lr=3",
            "problems.digits_mlp.epochs=2",
            "problems.digits_2c2d.batch_size=8",
            "name=other",
        ],
    )

    assert sweep.name == "other"
    assert len(sweep.runs) == 3 * 2 * 4
    assert sweep.optimizers == ("torch.optim.SGD", "Adam", "new")
    assert {one.run.epochs for one in sweep.runs if one.problem == "digits_mlp"} == {2}


def test_extends_merges_down_to_settings(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "base.yaml").write_text(
        "name: base\ndescription: the base\ndata: data\ncode: [.]\nseeds: [1, 2]\nepochs: 3\n"
        "problems: {digits_mlp: {batch_size: 8}}\n"
        "optimizers: {SGD: {lr: {log_grid: [1e-3, 1, 4]}, momentum: 0.9}, Adam: }\n"
    )
    (tmp_path / "more.yaml").write_text("epochs: 4\nproblems: {digits_2c2d: }\n")
    sweep = sweep_of(
        tmp_path,
        "extends: [sub/base.yaml, more.yaml]\nseeds: 5\noptimizers: {SGD: {lr: {values: [0.1]}}}\n",
    )

    found = [(one.problem, one.optimizer, dict(one.run.hyperparameters)) for one in sweep.runs]
    assert found == [
        ("digits_mlp", "SGD", {"lr": 0.1, "momentum": 0.9}),
        ("digits_mlp", "Adam", {}),
        ("digits_2c2d", "SGD", {"lr": 0.1, "momentum": 0.9}),
        ("digits_2c2d", "Adam", {}),
    ]
    assert [(one.run.batch_size, one.run.epochs) for one in sweep.runs] == [(8, 4)] * 2 + [
        (32, 4)
    ] * 2
    assert (sweep.name, sweep.description) == ("spec", "")
    assert sweep.data == str(tmp_path / "sub" / "data")
    assert sweep.code == (str(tmp_path / "sub"),)
    assert [Path(file).name for file in sweep.sources] == ["spec.yaml", "base.yaml", "more.yaml"]


def test_extending_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("extends: spec.yaml\n")

    with pytest.raises(SpecError, match=r"other.yaml:1:10: extends: spec.yaml extends this file"):
        sweep_of(tmp_path, "extends: other.yaml\n")


def test_own_classes_beside_the_spec(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\n\n"
        "class Lion(torch.optim.Optimizer):\n"
        "    def __init__(self, params, lr, betas=(0.9, 0.99)): ...\n\n"
        "class Blobs: ...\n"
    )
    text = """\
problems: {'mine:Blobs': {epochs: 2, batch_size: 8, target: {test_loss: 0.5}}}
optimizers: {lion: {optimizer: 'mine:Lion', lr: 1e-4}}
seeds: 1
"""
    sweep = sweep_of(tmp_path, text)

    (planned,) = sweep.runs
    assert (planned.run.problem, planned.run.optimizer) == ("mine.Blobs", "mine.Lion")
    assert sweep.targets == {"mine:Blobs": Target(metric="test_loss", value=0.5)}
    assert (
        sweep_of(tmp_path, text.replace(":Lion", ".Lion").replace(":Blobs", ".Blobs")).runs[0].run
        == planned.run
    )
    with pytest.raises(SpecError, match=r"mine.Lion needs the hyperparameter 'lr'"):
        sweep_of(tmp_path, text.replace(", lr: 1e-4", ""))
    with pytest.raises(SpecError, match=r"unknown hyperparameter 'beta'; did you mean 'betas'"):
        sweep_of(tmp_path, text.replace("lr: 1e-4", "lr: 1e-4, beta: 3"))


def test_a_package_that_is_not_here_is_left_to_the_node(tmp_path: Path) -> None:
    text = "problems: [digits_mlp]\noptimizers: {a: {optimizer: 'no_pkg.opt:A', x: 1}}\nseeds: 1\n"

    assert sweep_of(tmp_path, text).runs[0].run.optimizer == "no_pkg.opt.A"


def test_the_target_of_the_spec_wins_and_is_no_part_of_the_run(tmp_path: Path) -> None:
    text = "problems: {fmnist_2c2d: {target: 0.5}}\noptimizers: [SGD]\nseeds: 1\n"
    with_target = sweep_of(tmp_path, text)
    without = sweep_of(tmp_path, text.replace("{target: 0.5}", ""))

    assert with_target.targets["fmnist_2c2d"].value == 0.5
    assert with_target.runs[0].run.id == without.runs[0].run.id


def test_one_run_under_two_names_is_a_mistake(tmp_path: Path) -> None:
    text = "problems: [digits_mlp]\noptimizers: {%s}\nseeds: 1..3\n"
    same = "Momentum: {lr: 1}, x: {optimizer: torch.optim.SGD, momentum: 0.90, lr: 1.0}"

    with pytest.raises(SpecError, match="'Momentum' and 'x' ask for the same run") as caught:
        sweep_of(tmp_path, text % same)
    assert len(caught.value.mistakes) == 1


GOLDEN = {
    "fmnist_2c2d SGD 0": "1d0940b6d0fc",
    "fmnist_2c2d SGD 1": "58af38cf6301",
    "fmnist_2c2d SGD 2": "da59cd6ea460",
    "fmnist_2c2d Nesterov 3": "c16fdb5c4f6a",
    "fmnist_2c2d AdamW 4": "e986627bb944",
    "fmnist_2c2d PreconditionedSGD 5": "3b9a4423f4f2",
    "roos SGD 6": "7eeaee24d502",
    "roos SGD 7": "989a15693671",
    "roos SGD 8": "16c6d87ba7d7",
    "roos Nesterov 9": "8be2e8d5f7b0",
    "roos AdamW 10": "dac4fb8eacee",
    "roos PreconditionedSGD 11": "bdb1b26a513d",
}


def test_golden_ids(tmp_path: Path) -> None:
    """Ids name results on disk: whoever changes them must raise PROTOCOL_VERSION."""
    text = """\
problems: {fmnist_2c2d: , roos: {problem: cifar10_roos, init: torch, batch_size: 32}}
optimizers:
  SGD: {lr: {log_grid: [1e-5, 1e2, 3]}}
  Nesterov: {lr: 0.1}
  AdamW: {betas: [0.9, 0.99], samples: 1, lr: {random: {loguniform: [1e-5, 1e-1]}}}
  PreconditionedSGD:
seeds: 42
protocol: deepobs-2019
"""
    runs: Sequence[PlannedRun] = sweep_of(tmp_path, text).runs

    assert {
        f"{one.problem} {one.optimizer} {index}": one.run.id for index, one in enumerate(runs)
    } == GOLDEN
    assert runs[0].run.cell == "f1d57b404401"


def test_a_login_node_loads_no_torch() -> None:
    code = (
        "import sys, jobs.spec; print(*{'torch', 'pandas', 'matplotlib', 'numpy'} & {*sys.modules})"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == ""


@pytest.mark.parametrize(
    "path",
    sorted((Path(__file__).parents[1] / "configs" / "experiments").rglob("*.yaml")),
    ids=lambda path: path.stem,
)
def test_the_shipped_experiments_are_good(path: Path) -> None:
    assert load(path).runs
