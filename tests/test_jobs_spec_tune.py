"""What a spec says of tuning: which settings compete, on which seeds, by what; and what is wrong."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from jobs.problems.catalog import PROBLEMS
from jobs.spec import SpecError, explain_run, find_run, json_schema, load, make_plan
from jobs.sweep import Sweep
from jobs.yaml.mistakes import Place
from jobs.yaml.tree import parse_yaml, to_data

VALIDATOR = jsonschema.Draft202012Validator(json_schema())

TUNE = "{seeds: 1..2, choose: valid_accuracy final}"
TOP = f"""\
problems: [digits_mlp]
seeds: 42..43
epochs: 1
tune: {TUNE}
optimizers:
"""
SGD = "  SGD: {lr: {values: [0.1, 0.01]}}\n"
OWN = TOP.replace(f"tune: {TUNE}\n", "")


def sweep_of(folder: Path, text: str, *overrides: str) -> Sweep:
    (folder / "x.yaml").write_text(text)
    return load(folder / "x.yaml", overrides)


def planned(sweep: Sweep) -> list[tuple[str, object, str, int]]:
    """Optimizer, step size, role and seed of each run."""
    return [
        (one.optimizer, one.run.hyperparameters["lr"], one.role, one.run.seed) for one in sweep.runs
    ]


def mistakes_of(folder: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        sweep_of(folder, text, *overrides)
    return [str(one).removeprefix(f"{folder / 'x.yaml'}:") for one in caught.value.mistakes]


def is_valid(text: str) -> bool:
    """Whether an editor would take it."""
    return VALIDATOR.is_valid(to_data(parse_yaml(text, Place("x"))))


# --- which settings, on which seeds -----------------------------------------------------------------


def test_the_top_tunes_the_optimizers_that_have_several_settings(tmp_path: Path) -> None:
    text = TOP + SGD + "  Adam: {lr: 0.001}\n  AdamW: {lr: {values: [0.001]}}\n"

    sweep = sweep_of(tmp_path, text)

    assert planned(sweep) == [
        ("SGD", 0.1, "tuning", 1),
        ("SGD", 0.1, "tuning", 2),
        ("SGD", 0.01, "tuning", 1),
        ("SGD", 0.01, "tuning", 2),
        ("Adam", 0.001, "evaluation", 42),
        ("Adam", 0.001, "evaluation", 43),
        ("AdamW", 0.001, "evaluation", 42),
        ("AdamW", 0.001, "evaluation", 43),
    ]
    (tuning,) = sweep.tunings
    assert (tuning.problem, tuning.optimizer) == ("digits_mlp", "SGD")
    assert tuning.cells == tuple(dict.fromkeys(one.run.cell for one in sweep.runs[:4]))
    assert (tuning.seeds, tuning.evaluation) == ((1, 2), (42, 43))
    assert (str(tuning.criterion), tuning.chosen) == ("valid_accuracy final", None)
    assert is_valid(text)


def test_what_an_optimizer_says_itself_wins(tmp_path: Path) -> None:
    own = "  Adam: {lr: {values: [1, 2]}, tune: {seeds: [5, 7..8], choose: valid_loss best}}\n"

    first, second = sweep_of(tmp_path, TOP + SGD + own).tunings

    assert (first.seeds, str(first.criterion)) == ((1, 2), "valid_accuracy final")
    assert (second.seeds, str(second.criterion)) == ((5, 7, 8), "valid_loss best")
    assert is_valid(TOP + SGD + own)


def test_without_a_word_of_tuning_all_is_evaluated(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, OWN + SGD)

    assert not sweep.tunings
    assert {one.role for one in sweep.runs} == {"evaluation"}
    assert "role" not in json.dumps(sweep.to_json())
    assert "tunings" not in sweep.to_json()


def test_the_axes_of_a_problem_are_axes_still(tmp_path: Path) -> None:
    """Epochs and batch sizes are no settings to choose from: each value has a tuning of its own."""
    text = TOP.replace("epochs: 1", "epochs: {values: [1, 2]}\nbatch_size: {values: [16, 32]}")

    sweep = sweep_of(tmp_path, text + SGD)

    assert len(sweep.tunings) == 4
    runs = [[one.run for one in sweep.competing[tuning.key]] for tuning in sweep.tunings]
    assert [len(own) for own in runs] == [4] * 4
    axes = [{(run.epochs, run.batch_size) for run in own} for own in runs]
    assert all(len(found) == 1 for found in axes)
    assert len({tuning.key for tuning in sweep.tunings}) == 4


def test_every_problem_is_tuned_by_itself(tmp_path: Path) -> None:
    text = TOP.replace("[digits_mlp]", "[digits_mlp, fmnist_2c2d]")

    assert [one.problem for one in sweep_of(tmp_path, text + SGD).tunings] == [
        "digits_mlp",
        "fmnist_2c2d",
    ]


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ("lr: {random: {loguniform: [0.001, 1]}}, samples: 3", 3),
        ("lr: {values: [1, 2]}, momentum: {values: [0, 0.9]}, zip: [lr, momentum]", 2),
        ("lr: {values: [1, 2]}, momentum: {values: [0, 0.9]}", 4),
        (
            "lr: 1, momentum: {values: [0, 0.9]}, nesterov: {values: [true], when: {momentum: 0.9}}",
            2,
        ),
        ("lr: 1, clip_norm: {values: [1, 2, 3]}", 3),
    ],
)
def test_whatever_varies_competes(tmp_path: Path, settings: str, count: int) -> None:
    (tuning,) = sweep_of(tmp_path, f"{TOP}  SGD: {{{settings}}}\n").tunings

    assert len(tuning.cells) == count


def test_draws_that_come_out_alike_compete_once(tmp_path: Path) -> None:
    settings = "lr: 1, momentum: {random: {choice: [0, 0.9]}}, samples: 20"

    sweep = sweep_of(tmp_path, f"{TOP}  SGD: {{{settings}}}\n")

    assert len(sweep.tunings[0].cells) == 2
    assert len(sweep.runs) == 4


def test_a_hyperparameter_that_is_called_tune(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "class Opt:\n    def __init__(self, params, lr=0.1, tune=1): ...\n"
    )
    entry = "  own: {optimizer: 'mine:Opt', hyperparameters: {tune: {values: [1, 2]}}}\n"

    sweep = sweep_of(tmp_path, TOP + entry)

    assert [one.run.hyperparameters for one in sweep.runs[::2]] == [{"tune": 1}, {"tune": 2}]
    assert len(sweep.tunings[0].cells) == 2
    (mistake,) = mistakes_of(tmp_path, TOP + entry.replace("values", "vales"))
    assert "unknown key 'vales'; did you mean 'values'?" in mistake


def test_what_is_overridden(tmp_path: Path) -> None:
    own = OWN + SGD.replace("}}", f"}}, tune: {TUNE}}}")

    assert sweep_of(tmp_path, own, "optimizers.SGD.tune.seeds=1..5").tunings[0].seeds == (
        1,
        2,
        3,
        4,
        5,
    )
    assert sweep_of(tmp_path, TOP + SGD, "tune.choose=valid_loss best").tunings[0].criterion.at == (
        "best"
    )
    for text in (own, TOP + SGD):  # nothing is left to choose from
        sweep = sweep_of(tmp_path, text, "optimizers.SGD.lr=0.1")
        assert not sweep.tunings
        assert [(one.role, one.run.seed) for one in sweep.runs] == [
            ("evaluation", 42),
            ("evaluation", 43),
        ]
    assert mistakes_of(tmp_path, own, "optimizers.SGD.tune.seeds=42") == [
        (
            f"--set optimizers.SGD.tune.seeds: optimizers.SGD.tune.seeds: the seed 42 is among those"
            f" that evaluate, too ({tmp_path / 'x.yaml'}:2:8); what a seed chose, it cannot judge"
        )
    ]


def test_what_is_extended(tmp_path: Path) -> None:
    """A part of `tune` may stand in another file; an editor knows that."""
    (tmp_path / "base.yaml").write_text(TOP + SGD)
    text = "extends: base.yaml\ntune: {seeds: 5}\n"

    assert sweep_of(tmp_path, text).tunings[0].seeds == (5,)
    assert is_valid(text)
    assert mistakes_of(tmp_path, "extends: base.yaml\nseeds: [9, 2]\n") == [
        (
            f"{tmp_path / 'base.yaml'}:4:15: tune.seeds: the seed 2 is among those that evaluate, too"
            f" ({tmp_path / 'x.yaml'}:2:12); what a seed chose, it cannot judge"
        )
    ]


# --- exclusions -------------------------------------------------------------------------------------


def test_a_setting_that_is_excluded_does_not_compete(tmp_path: Path) -> None:
    three = SGD.replace("0.01", "0.01, 0.001")

    sweep = sweep_of(tmp_path, TOP + three + "exclude: [{lr: 0.01}]\n")

    assert [lr for _, lr, _, seed in planned(sweep) if seed == 1] == [0.1, 0.001]
    assert len(sweep.tunings[0].cells) == 2


def test_a_seed_that_is_excluded_for_all_settings(tmp_path: Path) -> None:
    for seed, seeds in ((1, ((2,), (42, 43))), (43, ((1, 2), (42,)))):
        (tuning,) = sweep_of(tmp_path, f"{TOP}{SGD}exclude: [{{seed: {seed}}}]\n").tunings
        assert (tuning.seeds, tuning.evaluation) == seeds


@pytest.mark.parametrize(
    ("exclude", "said"),
    [
        ("{lr: 0.1, seed: 1}", "the settings of 'SGD' on 'digits_mlp' different seeds: they could"),
        (
            "{lr: 0.1, seed: 42}",
            "the settings of 'SGD' on 'digits_mlp' different seeds: they could",
        ),
        ("{lr: 0.1, seed: 1..2}", "the settings of 'SGD' on 'digits_mlp' different seeds"),
        ("{seed: 1..2}", "'SGD' on 'digits_mlp' no seed for tuning"),
        ("{seed: 42..43}", "'SGD' on 'digits_mlp' no seed for evaluation"),
    ],
)
def test_exclusions_that_make_it_impossible(tmp_path: Path, exclude: str, said: str) -> None:
    rest = f"exclude: [{exclude}]\n"

    (top,) = mistakes_of(tmp_path, TOP + SGD + rest)
    (own,) = mistakes_of(tmp_path, OWN + SGD.replace("}}", f"}}, tune: {TUNE}}}") + rest)

    assert top.startswith(f"4:1: tune: `exclude` leaves {said}")
    assert own.startswith(f"5:36: optimizers.SGD.tune: `exclude` leaves {said}")


# --- what is wrong ----------------------------------------------------------------------------------

CHOOSE = (
    "expected one of valid_accuracy, valid_loss, train_accuracy, train_loss,"
    " then final or best, as in valid_accuracy final"
)
MAPPING = "expected a mapping like {seeds: 1..3, choose: valid_accuracy final}"


@pytest.mark.parametrize(
    ("tune", "column", "key", "said"),
    [
        ("{seeds: 1}", 0, "", f"the key 'choose' is missing; {CHOOSE}"),
        ("{choose: valid_loss best}", 0, "", "the key 'seeds' is missing; expected a whole number"),
        ("{}", 0, "", "the key 'seeds' is missing; expected a whole number"),
        ("", -1, "", f"{MAPPING}, found nothing"),
        ("true", 0, "", f"{MAPPING}, found true"),
        ("valid_loss best", 0, "", f"{MAPPING}, found the text 'valid_loss best'"),
        ("[1]", 0, "", f"{MAPPING}, found a list of 1"),
        (
            "{sedes: 1, choose: valid_loss best}",
            1,
            ".sedes",
            "unknown key 'sedes'; did you mean 'seeds'? (known: seeds, choose)",
        ),
        (
            "{seeds: 1, choose: valid_acuracy final}",
            19,
            ".choose",
            f"{CHOOSE}, found 'valid_acuracy final'; did you mean 'valid_accuracy final'?",
        ),
        ("{seeds: 1, choose: valid_loss}", 19, ".choose", f"{CHOOSE}, found 'valid_loss'; did you"),
        (
            "{seeds: 1, choose: test_loss final}",
            19,
            ".choose",
            f"{CHOOSE}, found 'test_loss final'; what test data chose, they cannot judge",
        ),
        ("{seeds: 1, choose: 3}", 19, ".choose", f"{CHOOSE}, found 3"),
        ("{seeds: 1, choose: }", 18, ".choose", f"{CHOOSE}, found nothing"),
        ("{seeds: [], choose: valid_loss best}", 8, ".seeds", "expected a whole number, a range"),
        ("{seeds: 2..1, choose: valid_loss best}", 8, ".seeds", "the range 2..1 runs backwards"),
        ("{seeds: 1-2, choose: valid_loss best}", 8, ".seeds", "expected seeds like 42 or 42..51"),
    ],
)
def test_a_wrong_shape_here_and_in_an_editor(
    tmp_path: Path, tune: str, column: int, key: str, said: str
) -> None:
    top = TOP.replace(f"tune: {TUNE}", f"tune: {tune}") + SGD
    own = OWN + SGD.replace("}}", f"}}, tune: {tune}}}")

    (found,) = mistakes_of(tmp_path, top)
    assert found.startswith(f"4:{7 + column}: tune{key}: {said}")
    (found,) = mistakes_of(tmp_path, own)
    assert found.startswith(f"5:{42 + column}: optimizers.SGD.tune{key}: {said}")
    if ".." not in tune:  # whether a range runs backwards no schema can say
        assert not is_valid(top)
        assert not is_valid(own)


@pytest.mark.parametrize(
    ("seeds", "column", "said"),
    [
        ("[3, 1..4]", 19, "the seed 3 is here twice"),
        ("[3, 42]", 19, "the seed 42 is among those that evaluate, too ({file}:2:8)"),
        ("40..50", 15, "the seeds 42, 43 are among those that evaluate, too ({file}:2:8)"),
    ],
)
def test_seeds_twice(tmp_path: Path, seeds: str, column: int, said: str) -> None:
    """Said once, however many optimizers it is for."""
    text = TOP.replace("1..2", seeds) + SGD + SGD.replace("SGD", "Adam")

    (found,) = mistakes_of(tmp_path, text)

    assert found.startswith(f"4:{column}: tune.seeds: {said.format(file=tmp_path / 'x.yaml')}")


def test_nothing_to_choose_from(tmp_path: Path) -> None:
    for lr in ("0.1", "{values: [0.1]}"):
        text = f"{OWN}  SGD: {{lr: {lr}, tune: {TUNE}}}\n"
        assert mistakes_of(tmp_path, text) == [
            (
                f"5:{18 + len(lr) - 3}: optimizers.SGD.tune: there is nothing to choose from: "
                "no key here has several values"
            )
        ]


def test_a_problem_without_accuracy_cannot_be_chosen_by_it(tmp_path: Path) -> None:
    text = TOP.replace("[digits_mlp]", "[digits_mlp, quadratic_deep]") + SGD

    assert mistakes_of(tmp_path, text) == [
        "4:29: tune.choose: quadratic_deep has no accuracy; choose by a loss, as in valid_loss final"
    ]
    assert sweep_of(tmp_path, text.replace("valid_accuracy", "valid_loss")).tunings


def test_which_problems_have_an_accuracy_is_what_their_classes_say() -> None:
    from jobs.problems.images import Digits, ImageProblem
    from jobs.problems.quadratic import QuadraticDeep
    from jobs.problems.text_gpt import TextGpt

    without = {info.name for info in PROBLEMS.values() if not info.has_accuracy}

    assert without == {"quadratic_deep", "text_gpt"}
    assert (QuadraticDeep.has_accuracy, TextGpt.has_accuracy) == (False, False)
    assert (Digits.has_accuracy, ImageProblem.has_accuracy) == (True, True)


def test_a_run_that_a_choice_could_ask_for_again(tmp_path: Path) -> None:
    """The untuned entry and the tuned one would have the same run, if that setting were chosen."""
    (found,) = mistakes_of(tmp_path, TOP + SGD + "  fixed: {optimizer: SGD, lr: 0.01}\n")

    assert found.startswith("7:22: optimizers.fixed: 'SGD' and 'fixed' ask for the same run ")
    assert found.endswith(
        "(digits_mlp, seed 42); remove one, or let a value differ"
        " ('SGD' asks for it if that setting is chosen)"
    )


def test_a_sweep_that_is_too_large_counts_the_tuning_runs(tmp_path: Path) -> None:
    text = TOP.replace("1..2", "50..149") + "  SGD: {lr: {grid: [0, 1, 2000]}}\n"

    assert mistakes_of(tmp_path, text) == [
        "1:1: 204,000 runs before conditions; a sweep holds at most 200,000"
    ]


# --- where a value comes from -----------------------------------------------------------------------


def test_where_the_seed_of_a_run_comes_from(tmp_path: Path) -> None:
    """Also of a run that is only there once its setting was chosen."""
    (tmp_path / "x.yaml").write_text(TOP + SGD + "  Adam: {lr: 0.001}\n")
    plan = make_plan(tmp_path / "x.yaml")
    (tuning,) = plan.sweep.tunings
    last = next(one for one in plan.sweep.runs if one.run.cell == tuning.cells[1])
    ids = {("SGD", 1): last.run.id}
    ids |= {("Adam", one.run.seed): one.run.id for one in plan.sweep.runs[-2:]}
    ids["SGD", 43] = replace(last.run, seed=43).id

    for (_, seed), run_id in ids.items():
        origins = {one.name: one for one in explain_run(plan, find_run(plan, run_id))}
        line = "4:15" if seed == 1 else "2:8"
        assert origins["seed"].value == seed
        assert origins["seed"].source == f"{tmp_path / 'x.yaml'}:{line}"
    assert origins["lr"].source == f"{tmp_path / 'x.yaml'}:6:28"
