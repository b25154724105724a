"""What a sweep is called: one name for the same overrides, another one for others, safe everywhere."""

import itertools
import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.spec import load
from jobs.spec.naming import LONGEST, named_with
from jobs.yaml.mistakes import SpecError

SPEC = "problems: [digits_mlp]\noptimizers: {SGD: {lr: 0.1}}\nseeds: 1..3\nepochs: 2\n"


def name_of(folder, *overrides):
    (folder / "quick.yaml").write_text(SPEC)
    return load(folder / "quick.yaml", overrides).name


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], "quick"),
        (["epochs=1", "seeds=42"], "quick@epochs=1+seeds=42"),
        (["optimizers.SGD.lr=0.5"], "quick@optimizers.SGD.lr=0.5"),
        (["resources.time=01:00:00", "optimizers.SGD.resources.mem=3G"], "quick"),
        (["resources={time: 01:00:00}"], "quick"),
        (["description=for a talk"], "quick"),
        (["resources.time=01:00:00", "epochs=1"], "quick@epochs=1"),
        (["name=smoke", "epochs=1"], "smoke"),
        (["epochs=1", 'name="smoke"'], "smoke"),
    ],
)
def test_what_changes_runs_is_in_the_name(tmp_path, overrides, expected):
    assert name_of(tmp_path, *overrides) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["epochs=1"], ["epochs= 1"]),
        (["optimizers.SGD.lr=1e-3"], ["optimizers.SGD.lr=0.001"]),
        (["optimizers.SGD.lr=1.0"], ["optimizers.SGD.lr=1"]),
        (["epochs=3", "epochs=1"], ["epochs=1"]),
        (["problems.digits_mlp.epochs=3", "epochs=1"], ["epochs=1"]),
        (["optimizers.SGD={lr: 3}", "optimizers.SGD.lr=1"], ["optimizers.SGD={lr: 3}"] * 2),
    ],
)
def test_what_has_no_effect_changes_no_name(one, other):
    is_same = one[-1] != "optimizers.SGD.lr=1"
    assert (named_with("quick", one) == named_with("quick", other)) == is_same


def test_the_order_does_not_matter():
    overrides = ["seeds=1", "epochs=1", "optimizers.SGD.lr=3", "random_seed=2"]
    names = {named_with("quick", order) for order in itertools.permutations(overrides)}

    assert len(names) == 1


def test_what_later_overrides_take_back_does():
    """`epochs` for all takes away those of one problem; the other way round both hold."""
    names = [
        named_with("quick", order)
        for order in itertools.permutations(["epochs=1", "problems.digits_mlp.epochs=3"])
    ]
    assert names == ["quick@epochs=1+problems.digits_mlp.epochs=3", "quick@epochs=1"]


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), min_size=1, max_size=12))
def test_every_name_is_safe(pairs):
    """No colon, comma, space, percent sign, slash or quote, and not long, whatever is overridden."""
    overrides = [f"optimizers.{label}.lr={value}" for label, value in pairs]
    try:
        name = named_with("quick", overrides)
    except SpecError:  # no YAML: refused before there is a name
        return
    assert re.fullmatch(r"[A-Za-z0-9._@+=-]+", name)
    assert len(name) <= len("quick@") + LONGEST
    assert shlex.quote(name) == name


def test_long_ones_and_what_a_name_cannot_hold_are_told_apart():
    many = [f"optimizers.o{number}.lr={number}" for number in range(20)]
    odd = ["optimizers.SGD.lr={log_grid: [1e-5, 1e+2, 20]}"]
    texts = [many, [*many[:-1], "optimizers.o19.lr=7"], odd, ["optimizers.SGD.lr=[1, 2]"]]

    assert len({named_with("quick", overrides) for overrides in texts}) == len(texts)
