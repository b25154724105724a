"""Optimizers around optimizers, and hyperparameters whose names mean something else in a spec."""

import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch

from jobs import optimizers
from jobs.regime.placeholders import Numbers
from jobs.spec import SpecError, load
from jobs.spec.explain import explain_run
from jobs.spec.plan import make_plan
from tests.helpers import make_run

OWN = '''
import torch


class Around(torch.optim.Optimizer):
    """As SAM: takes a class, and passes what else it gets on to it."""

    def __init__(self, params, base_optimizer: type[torch.optim.Optimizer], rho: float = 0.05, **kwargs):
        self.base = base_optimizer(params, **kwargs)
        super().__init__(self.base.param_groups, {"rho": rho})


class Wrapper(torch.optim.Optimizer):
    """As Lookahead: takes an optimizer."""

    def __init__(self, optimizer: torch.optim.Optimizer, k: int = 5):
        self.base = optimizer
        super().__init__(optimizer.param_groups, {"k": k})


class Free(torch.optim.Optimizer):
    def __init__(self, params, variant, other):
        super().__init__(params, {})


class Renamed(torch.optim.Optimizer):
    def __init__(self, optim_params, lr: float = 0.1):
        super().__init__(optim_params, {"lr": lr})


class Odd(torch.optim.Optimizer):
    """Its hyperparameters have the names of keys of a spec."""

    def __init__(self, params, epochs: int = 1, when: str = "now", zip: float = 0.5, lr: float = 1.0):
        super().__init__(params, {"lr": lr, "epochs": epochs, "when": when, "zip": zip})
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "around.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def settings_of(folder: Path, text: str) -> list[dict[str, Any]]:
    """The hyperparameters of the runs of a spec with these optimizers."""
    (folder / "x.yaml").write_text(
        "problems: [digits_mlp]\nseeds: 1\noptimizers:\n" + textwrap.indent(text, "  ")
    )
    return [dict(planned.run.hyperparameters) for planned in load(folder / "x.yaml").runs]


def mistakes_of(folder: Path, text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        settings_of(folder, text)
    return [str(mistake).removeprefix(f"{folder}/x.yaml:") for mistake in caught.value.mistakes]


def build(name: str, **hyperparameters: Any) -> Any:
    run = make_run(optimizer=f"around.{name}", hyperparameters=hyperparameters)
    return optimizers.build(run, torch.nn.Linear(2, 1), Numbers.of(run, steps_per_epoch=1))


def test_a_class_as_a_hyperparameter(own: Path) -> None:
    """By its dotted path or short name; a mapping gives it hyperparameters of its own."""
    sgd = {"class": "torch.optim.SGD"}
    assert settings_of(
        own,
        "a: {optimizer: around.Around, base_optimizer: torch.optim.SGD, lr: 0.1}\n"
        "b: {optimizer: around.Around, base_optimizer: {class: SGD, lr: 1}, rho: 1}\n"
        "c: {optimizer: around.Around, base_optimizer: {class: Momentum}, lr: 0.2}\n",
    ) == [
        {"base_optimizer": sgd, "lr": 0.1},
        {"base_optimizer": sgd | {"lr": 1.0}, "rho": 1.0},
        {"base_optimizer": sgd | {"momentum": 0.9}, "lr": 0.2},
    ]


def test_a_class_for_a_constructor_that_cannot_be_told(own: Path) -> None:
    (own / "told.py").write_text("import around\nAround = vars(around)['Around']\n")
    (found,) = settings_of(own, "a: {optimizer: told.Around, base_optimizer: SGD, x: SGD}\n")
    assert found == {"base_optimizer": {"class": "torch.optim.SGD"}, "x": "SGD"}


def test_other_texts_stay_texts(own: Path) -> None:
    """Also where a class has that name: the parameter's does not speak of an optimizer."""
    text = "a: {optimizer: around.Free, variant: Adam, other: torch.optim.SGD}\n"
    assert settings_of(own, text) == [{"variant": "Adam", "other": "torch.optim.SGD"}]


def test_parameters_by_any_name(own: Path) -> None:
    """`optim_params` takes parameters, not an optimizer."""
    assert settings_of(own, "a: {optimizer: around.Renamed, lr: 0.1}\n") == [{"lr": 0.1}]


def test_random_draws_under_hyperparameters(own: Path) -> None:
    drawn = "hyperparameters: {epochs: {random: {randint: [1, 9]}}}"
    found = settings_of(own, f"a: {{optimizer: around.Odd, samples: 3, {drawn}}}\n")
    assert 1 < len(found) <= 3
    (mistake,) = mistakes_of(own, f"a: {{optimizer: around.Odd, {drawn}}}\n")
    assert mistake.startswith("4:56: optimizers.a.hyperparameters.epochs: random needs samples")


def test_classes_as_an_axis(own: Path) -> None:
    found = settings_of(
        own,
        "a: {optimizer: around.Around, lr: 0.1,"
        " base_optimizer: {values: [torch.optim.SGD, {class: torch.optim.Adam, lr: 1}]}}\n",
    )
    assert [one["base_optimizer"] for one in found] == [
        {"class": "torch.optim.SGD"},
        {"class": "torch.optim.Adam", "lr": 1.0},
    ]


def test_an_optimizer_to_wrap(own: Path) -> None:
    (found,) = settings_of(
        own,
        "a: {optimizer: around.Wrapper, k: 3, hyperparameters: {optimizer: {class: SGD, lr: 1}}}\n",
    )
    assert found == {"k": 3, "optimizer": {"class": "torch.optim.SGD", "lr": 1.0}}
    built = build("Wrapper", **found)
    assert isinstance(built.base, torch.optim.SGD)
    assert (built.base.defaults["lr"], built.defaults["k"]) == (1.0, 3)


def test_what_is_built_gets_the_class_itself(own: Path) -> None:
    del own
    built = build("Around", base_optimizer={"class": "torch.optim.Adam"}, lr=0.5)
    assert isinstance(built.base, torch.optim.Adam)
    assert built.base.defaults["lr"] == 0.5
    built = build("Around", base_optimizer={"class": "torch.optim.SGD", "momentum": 0.9}, lr=0.5)
    assert built.base.defaults["momentum"] == 0.9


def test_names_that_mean_something_else(own: Path) -> None:
    """Also as axes, in conditions and in `explain`."""
    text = (
        "a:\n  optimizer: around.Odd\n  lr: 0.1\n"
        "  hyperparameters:\n    epochs: {values: [3, 4]}\n    when: later\n    zip: 1\n"
        "  when: {hyperparameters.epochs: 4}\n"
    )
    assert settings_of(own, text) == [{"lr": 0.1, "epochs": 4, "when": "later", "zip": 1.0}]
    plan = make_plan(own / "x.yaml")
    (planned,) = plan.sweep.runs
    assert planned.varied == {"hyperparameters.epochs": 4}
    assert planned.run.epochs != 4
    values = {origin.name: origin.value for origin in explain_run(plan, 0)}
    assert values["hyperparameters.epochs"] == 4
    assert "when" not in values
    assert build("Odd", **planned.run.hyperparameters).defaults["when"] == "later"


def test_what_is_under_hyperparameters_need_not_be_reserved(own: Path) -> None:
    (found,) = settings_of(own, "SGD: {hyperparameters: {lr: 0.1}, momentum: 0.5}\n")
    assert found == {"lr": 0.1, "momentum": 0.5}


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (
            "a: {optimizer: around.Odd, epochs: 3}",
            (
                "4:30: optimizers.a.epochs: 'epochs' stands at the top or in a problem;"
                " that of the class is written hyperparameters: {epochs: ...}"
            ),
        ),
        (
            "a: {optimizer: around.Odd, hyperparameters: {epoch: 3}}",
            (
                "4:48: optimizers.a.hyperparameters.epoch: unknown hyperparameter 'epoch';"
                " did you mean 'epochs'? (it takes epochs, when, zip, lr)"
            ),
        ),
        (
            "a: {optimizer: around.Odd, lr: 1, hyperparameters: {lr: 3}}",
            "4:55: optimizers.a.hyperparameters.lr: 'lr' is given twice",
        ),
        (
            "a: {optimizer: around.Odd, hyperparameters: {epochs: many}}",
            (
                "4:56: optimizers.a.hyperparameters.epochs: expected a whole number (default 1),"
                " found the text 'many'"
            ),
        ),
        (
            "a: {optimizer: around.Odd, hyperparameters: [1]}",
            (
                "4:47: optimizers.a.hyperparameters: expected a mapping of hyperparameters whose names"
                " mean something else here, found a list of 1"
            ),
        ),
        (
            "a: {optimizer: around.Around, base_optimizer: {class: torch.optim.SGD, lr: a}}",
            (
                "4:78: optimizers.a.base_optimizer.lr: expected a number (default 0.001),"
                " found the text 'a'"
            ),
        ),
        (
            "a: {optimizer: around.Around, base_optimizer: {class: torch.optim.SGD, ls: 1}}",
            "4:78: optimizers.a.base_optimizer.ls: unknown hyperparameter 'ls' (it takes lr, mom",
        ),
        (
            "a: {optimizer: around.Around, base_optimizer: {class: torch.optim.SDG}}",
            "4:49: optimizers.a.base_optimizer: module 'torch.optim' has no class 'SDG'",
        ),
        (
            "a: {optimizer: around.Around, base_optimizer: {class: SDG}}",
            "4:49: optimizers.a.base_optimizer: no optimizer 'SDG'; did you mean 'SGD'?",
        ),
        (
            "a: {optimizer: around.Wrapper, hyperparameters: {optimizer: 3}}",
            (
                "4:63: optimizers.a.hyperparameters.optimizer: 'optimizer' is the optimizer to wrap;"
                " write {class: SGD, lr: 0.1}"
            ),
        ),
        (
            "a: {optimizer: around.Wrapper, k: 2}",
            (
                "4:18: optimizers.a: around.Wrapper needs the optimizer that it wraps;"
                " write hyperparameters: {optimizer: {class: SGD, lr: 0.1}}"
            ),
        ),
    ],
)
def test_mistakes_have_a_place(own: Path, text: str, mistake: str) -> None:
    (found,) = mistakes_of(own, text)
    assert found.startswith(mistake), found
