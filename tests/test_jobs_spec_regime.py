"""The keys of an entry that say how it is trained: read, checked where they stand, part of the id."""

from pathlib import Path
from typing import Any

import pytest

from jobs.regime.settings import READERS, Settings
from jobs.regime.values import SettingError
from jobs.spec import load
from jobs.spec.plan import make_plan
from jobs.sweep import PlannedRun
from jobs.yaml.mistakes import SpecError

HEAD = "problems: [digits_mlp]\nseeds: 1\nepochs: 2\noptimizers:\n"


def runs_of(folder: Path, *entries: str) -> list[PlannedRun]:
    (folder / "x.yaml").write_text(HEAD + "".join(f"  {entry}\n" for entry in entries))
    return list(load(folder / "x.yaml").runs)


def regimes_of(folder: Path, *entries: str) -> list[dict[str, Any]]:
    return [dict(planned.run.regime) for planned in runs_of(folder, *entries)]


def mistakes_of(folder: Path, *entries: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        runs_of(folder, *entries)
    return [str(mistake).removeprefix(f"{folder}/x.yaml:") for mistake in caught.value.mistakes]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("schedule: cosine", {"schedule": {"name": "cosine"}}),
        ("schedule: {name: cosine, end: 0, warmup: 0}", {"schedule": {"name": "cosine"}}),
        ("schedule: {warmup: 10}", {"schedule": {"name": "constant", "warmup": 10.0}}),
        (
            "schedule: {name: step, at: [1], factors: [0.1], per: epoch}",
            {"schedule": {"name": "step", "at": [1.0], "factors": [0.1]}},
        ),
        (
            "schedule: {class: 'torch.optim.lr_scheduler:StepLR', step_size: 2, per: step}",
            {"schedule": {"class": "torch.optim.lr_scheduler.StepLR", "step_size": 2}},
        ),
        ("clip_norm: 1, clip_value: 0.5", {"clip_norm": 1.0, "clip_value": 0.5}),
        ("accumulate: 4, precision: bf16", {"accumulate": 4, "precision": "bf16"}),
        ("average: {ema: 0.9}, compile: true", {"average": {"ema": 0.9}, "compile": True}),
        ("create_graph: true", {"create_graph": True}),
        ("closure: true", {"closure": True}),
        (
            "groups: [{dims: 1, weight_decay: 0}, {kinds: [norm, bias], class: Momentum, lr: 1}]",
            {
                "groups": [
                    {"dims": [1], "weight_decay": 0.0},
                    {
                        "kinds": ["bias", "norm"],
                        "class": "torch.optim.SGD",
                        "momentum": 0.9,
                        "lr": 1.0,
                    },
                ]
            },
        ),
    ],
)
def test_what_a_run_keeps(tmp_path: Path, said: str, kept: dict[str, Any]) -> None:
    """The one spelling of it, which reads back as itself."""
    (found,) = regimes_of(tmp_path, f"SGD: {{lr: 0.1, {said}}}")
    assert found == kept
    assert Settings.from_json(found).to_json() == found


@pytest.mark.parametrize(
    "said",
    [
        "schedule: constant",
        "schedule: {name: constant, per: epoch}",
        "accumulate: 1",
        "precision: fp32",
        "compile: false",
        "groups: []",
        "create_graph: false",
    ],
)
def test_what_changes_nothing_is_not_kept(tmp_path: Path, said: str) -> None:
    (plain,) = runs_of(tmp_path, "SGD: {lr: 0.1}")
    (found,) = runs_of(tmp_path, f"SGD: {{lr: 0.1, {said}}}")
    assert found.run.id == plain.run.id


def test_axes_conditions_and_zips(tmp_path: Path) -> None:
    """They vary as hyperparameters do."""
    found = runs_of(
        tmp_path,
        "SGD:",
        "  lr: 0.1",
        "  schedule: {values: [constant, cosine, {name: cosine, warmup: 0.1}]}",
        "  clip_norm: {values: [null, 1.0, 2.0]}",
        "  zip: [schedule, clip_norm]",
        "  accumulate: {values: [1, 2], when: {schedule: cosine}}",
    )
    assert [dict(planned.run.regime) for planned in found] == [
        {},
        {"schedule": {"name": "cosine"}, "clip_norm": 1.0},
        {"schedule": {"name": "cosine"}, "clip_norm": 1.0, "accumulate": 2},
        {"schedule": {"name": "cosine", "warmup": 0.1}, "clip_norm": 2.0},
    ]
    assert found[1].varied == {"schedule": "cosine", "clip_norm": 1.0, "accumulate": 1}


def test_random_draws_and_exclusions(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(
        HEAD + "  SGD: {lr: 0.1, samples: 5, clip_norm: {random: {loguniform: [0.1, 10]}},\n"
        "        precision: {values: [fp32, bf16]}}\nexclude: [{precision: bf16}]\n"
    )
    found = [dict(planned.run.regime) for planned in load(tmp_path / "x.yaml").runs]
    assert len({regime["clip_norm"] for regime in found}) == 5
    assert all(regime.keys() == {"clip_norm"} for regime in found)


def test_every_mistake_stands_where_it_is(tmp_path: Path) -> None:
    assert mistakes_of(
        tmp_path,
        "SGD: {lr: 0.1, schedule: {name: cosinus}, accumulate: 0, precision: fp16}",
        "A: {optimizer: AdamW, schedule: {name: cosine, warm_up: 3}, clip_norm: -1}",
        "B: {optimizer: AdamW, schedule: {name: step, at: [3, 2], factors: [0.1, 0.2]}}",
        "C: {optimizer: AdamW, average: {ema: 2}, compile: 1, create_graph: {values: [no]}}",
        "D: {optimizer: AdamW, schedule: {values: [cosine, {name: wsd, decay: 1.5}]}}",
    ) == [
        (
            "5:35: optimizers.SGD.schedule.name: no schedule 'cosinus' (known: constant, linear, cosine,"
            " step, polynomial, wsd; or class: a dotted path)"
        ),
        "5:57: optimizers.SGD.accumulate: expected a whole number of at least 1, found 0",
        (
            "5:71: optimizers.SGD.precision: expected fp32 or bf16, found 'fp16'; fp16 would need scaled"
            " losses, bf16 does not"
        ),
        "6:59: optimizers.A.schedule.warm_up: unknown key 'warm_up' (known: name, per, warmup, end)",
        "6:74: optimizers.A.clip_norm: expected a number above 0, found -1",
        "7:52: optimizers.B.schedule.at: expected growing epochs (or steps), or growing shares below 1",
        "8:40: optimizers.C.average.ema: expected a number between 0 and 1, found 2",
        "8:53: optimizers.C.compile: expected true or false, found 1",
        "8:80: optimizers.C.create_graph: expected true or false, found 'no'",
        "9:72: optimizers.D.schedule.decay: expected a whole number, or a share below 1, found 1.5",
    ]


def test_mistakes_in_groups_and_classes(tmp_path: Path) -> None:
    assert mistakes_of(
        tmp_path,
        "A:",
        "  optimizer: AdamW",
        "  schedule: {class: torch.optim.lr_scheduler.StepLR, stepsize: 3}",
        "  groups:",
        "    - {match: '(', lr: 3}",
        "    - {kinds: biases}",
        "    - {lr: 1}",
        "B:",
        "  optimizer: AdamW",
        "  schedule: torch.optim.lr_scheduler.Stepp",
        "  groups: [{dims: 1, weightdecay: 0}, {dims: 0, class: SDG}, {dims: 2, lr: high}]",
    ) == [
        "7:23: optimizers.A.schedule: torch.optim.lr_scheduler.StepLR needs 'step_size'",
        (
            "7:66: optimizers.A.schedule.stepsize: unknown hyperparameter 'stepsize'; did you mean"
            " 'step_size'? (it takes step_size, gamma, last_epoch)"
        ),
        (
            "9:17: optimizers.A.groups[0].match: '(' is no regular expression: missing ), unterminated"
            " subpattern at position 0"
        ),
        "10:17: optimizers.A.groups[1].kinds: expected some of bias, norm, embedding, found 'biases'",
        (
            "11:9: optimizers.A.groups[2]: expected a mapping with at least one of match: 'a regular"
            " expression', dims: [0, 1] and kinds: [bias, norm, embedding]"
        ),
        (
            "14:15: optimizers.B.schedule: module 'torch.optim.lr_scheduler' has no class 'Stepp'; did"
            " you mean 'StepLR'?"
        ),
        (
            "15:37: optimizers.B.groups[0].weightdecay: unknown hyperparameter 'weightdecay'; did you mean"
            " 'weight_decay'? (it takes lr, betas, eps, weight_decay, amsgrad, maximize, foreach,"
            " capturable, differentiable, fused)"
        ),
        (
            "15:41: optimizers.B.groups[1]: no optimizer 'SDG'; did you mean 'SGD'? (known: SGD, Momentum,"
            " Nesterov, Adam, AdamW, Preconditioner, PreconditionedSGD, AdaptiveSGD, OnlyAdaptiveSGD,"
            " PreconditionedTunedSGD, PreconditionedTunedMomentum, ThesisPreconditionedSGD,"
            " ThesisAdaptiveSGD, ThesisOnlyAdaptiveSGD, ThesisPreconditionedTunedSGD,"
            " ThesisPreconditionedTunedMomentum; or a dotted path like my_pkg.mod:Name)"
        ),
        "15:78: optimizers.B.groups[2].lr: expected a number (default 0.001), found the text 'high'",
    ]


def test_a_class_of_schedule_is_a_dotted_path(tmp_path: Path) -> None:
    assert mistakes_of(tmp_path, "SGD: {lr: 0.1, schedule: {class: StepLR, step_size: 3}}") == [
        (
            "5:36: optimizers.SGD.schedule: 'StepLR' is no dotted path like"
            " torch.optim.lr_scheduler.StepLR"
        )
    ]


def test_numbers_of_a_class_are_as_it_takes_them(tmp_path: Path) -> None:
    step = "class: torch.optim.lr_scheduler.StepLR, step_size: 3.0, gamma: 1"
    (regime,) = regimes_of(tmp_path, f"SGD: {{lr: 0.1, schedule: {{{step}}}}}")
    assert str(regime["schedule"]).endswith("'step_size': 3, 'gamma': 1.0}")


def test_two_that_do_not_go_together(tmp_path: Path) -> None:
    assert mistakes_of(tmp_path, "SGD: {lr: 0.1, create_graph: true, compile: true}") == [
        "5:3: optimizers.SGD: create_graph and compile: torch differentiates a compiled model once"
    ]
    groups = "groups: [{dims: 1, class: SGD}]"
    assert mistakes_of(tmp_path, f"SGD: {{lr: 0.1, closure: true, {groups}}}") == [
        "5:3: optimizers.SGD: closure and groups with a class: several optimizers share a pass"
    ]
    assert mistakes_of(
        tmp_path, "SGD: {lr: {values: [0.1, 1]}, accumulate: {values: [2, 999]}}"
    ) == ["5:58: optimizers.SGD.accumulate: 999 parts of a minibatch of 32"]


def test_a_hyperparameter_of_that_name(tmp_path: Path) -> None:
    """Which of the two is meant has to be said."""
    (tmp_path / "mine.py").write_text(
        "import torch\n\n\nclass Clipped(torch.optim.SGD):\n"
        "    def __init__(self, params, lr=0.1, clip_norm=1.0):\n        super().__init__(params, lr)\n"
    )
    assert mistakes_of(tmp_path, "A: {optimizer: mine.Clipped, clip_norm: 2.0}") == [
        (
            "5:32: optimizers.A.clip_norm: the class has a hyperparameter 'clip_norm', too: if that is"
            " meant, write hyperparameters: {clip_norm: ...}"
        )
    ]
    (own,) = runs_of(tmp_path, "A: {optimizer: mine.Clipped, hyperparameters: {clip_norm: 2}}")
    assert (own.run.hyperparameters, own.run.regime) == ({"clip_norm": 2.0}, {})
    (both,) = runs_of(
        tmp_path, "A: {optimizer: mine.Clipped, clip_norm: 3, hyperparameters: {clip_norm: 2}}"
    )
    assert (both.run.hyperparameters, both.run.regime) == ({"clip_norm": 2.0}, {"clip_norm": 3.0})


def test_references(tmp_path: Path) -> None:
    (found,) = runs_of(tmp_path, "SGD: {lr: 0.1, momentum: '${epochs}'}")
    assert found.run.hyperparameters == {"lr": 0.1, "momentum": "${epochs}"}
    assert mistakes_of(tmp_path, "SGD: {lr: 0.1, momentum: '${epoch}'}") == [
        (
            "5:28: optimizers.SGD.momentum: no number ${epoch}; did you mean 'epochs'? (known: ${steps},"
            " ${epochs}, ${steps_per_epoch}, ${batch_size})"
        )
    ]


def test_where_it_comes_from_is_explained(tmp_path: Path) -> None:
    from jobs.spec.explain import explain_run

    runs_of(tmp_path, "SGD: {lr: 0.1, schedule: cosine}")
    found = {one.name: one.source for one in explain_run(make_plan(tmp_path / "x.yaml"), 0)}
    assert found["schedule"].endswith("x.yaml:5:28")


def test_every_setting_refuses_nonsense() -> None:
    for name in READERS:
        for value in ({"a": 1}, [None], "nonsense", -1):
            with pytest.raises(SettingError):
                Settings.from_json({name: value})
