"""What must hold for every spec: ids that depend on content only, draws that never change."""

import json
import math
import random
from pathlib import Path
from statistics import correlation
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.spec import load
from jobs.spec.axes import Draws, read_setting
from jobs.spec.draws import draw, uniform
from jobs.spec.model import Axis, Draw
from jobs.yaml.mistakes import Place
from jobs.yaml.tree import ScalarNode

SETTINGS = settings(max_examples=60, deadline=None)
NUMBERS = st.floats(1e-6, 1e6).map(lambda number: float(f"{number:.6g}")) | st.integers(1, 9999)
VALUES = st.lists(NUMBERS, min_size=1, max_size=4, unique=True)


@st.composite
def specs(draw_from: st.DrawFn) -> dict[str, Any]:
    """A good spec as data: some axes, optimizers and seeds."""
    names = draw_from(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3, unique=True))
    optimizers = {}
    for index, name in enumerate(names):
        axes = st.dictionaries(
            st.sampled_from(["lr", "momentum", "dampening"]),
            VALUES.map(lambda values: {"values": values}) | NUMBERS,
            max_size=3,
        )
        # weight_decay keeps the runs of different labels apart
        optimizers[name] = {"optimizer": "SGD", **draw_from(axes), "weight_decay": index}
    return {
        "problems": draw_from(st.sampled_from([["digits_mlp"], ["digits_2c2d", "digits_mlp"]])),
        "optimizers": optimizers,
        "seeds": draw_from(st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True)),
        "epochs": draw_from(st.integers(1, 9)),
    }


def spelled(value: Any, rng: random.Random) -> str:
    """`value` as YAML in some spelling: key order, comments, layout and numbers vary."""
    if isinstance(value, dict):
        items = list(value.items())
        rng.shuffle(items)
        pairs = [
            f"{rng.choice([key, json.dumps(key)])}: {spelled(item, rng)}" for key, item in items
        ]
        return "{" + _joined(pairs, rng) + "}"
    if isinstance(value, list):
        return "[" + _joined([spelled(item, rng) for item in value], rng) + "]"
    if isinstance(value, float):
        return rng.choice([repr(value), f"{value:.17e}", f"{value:.12g}", f"+{value!r}"])
    return str(value)


def _joined(parts: list[str], rng: random.Random) -> str:
    gap = rng.choice([", ", " ,  ", ",\n  ", ", # a comment: 1, 2\n  "])
    return gap.join(parts)


def ids(folder: Path, text: str) -> list[str]:
    path = folder / "spec.yaml"
    path.write_text(text)
    return [planned.run.id for planned in load(path).runs]


@SETTINGS
@given(spec=specs(), seed=st.integers(0, 2**32))
def test_ids_depend_on_content_only(
    tmp_path_factory: pytest.TempPathFactory, spec: dict[str, Any], seed: int
) -> None:
    folder = tmp_path_factory.getbasetemp()

    plain = ids(folder, json.dumps(spec))
    other = ids(folder, spelled(spec, random.Random(seed)))

    assert sorted(other) == sorted(plain)
    assert len(set(plain)) == len(plain)


@SETTINGS
@given(spec=specs(), value=st.integers(10_000, 20_000), data=st.data())
def test_a_new_value_of_an_axis_leaves_the_other_runs_alone(
    tmp_path_factory: pytest.TempPathFactory, spec: dict[str, Any], value: int, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp()
    axes = [
        setting["values"]
        for optimizer in spec["optimizers"].values()
        for setting in optimizer.values()
        if isinstance(setting, dict)
    ]
    before = ids(folder, json.dumps(spec))

    axis = data.draw(st.sampled_from([*axes, spec["seeds"]]))
    axis.append(value)
    after = ids(folder, json.dumps(spec))

    assert set(before) < set(after)
    assert [one for one in after if one in set(before)] == before


@SETTINGS
@given(start=st.floats(1e-8, 1e8), stop=st.floats(1e-8, 1e8), count=st.integers(2, 50))
def test_log_grid_is_numpys_logspace(start: float, stop: float, count: int) -> None:
    if start == stop:
        return
    axis = Axis(log_grid=[start, stop, count])

    setting = read_setting("lr", axis, ScalarNode(None, Place("x")), "lr", Draws())

    expected = np.logspace(math.log10(start), math.log10(stop), count)
    np.testing.assert_array_equal([choice.value for choice in setting.choices], expected)


RANDOM_CHOICE = """\
problems: [digits_mlp]
optimizers:
  SGD: {samples: %d, lr: 0.1, momentum: {random: {choice: [0, 0.5, 0.9]}}}
seeds: [1, 2]
epochs: 1
"""
RANDOM = """\
problems: [digits_mlp]
seeds: 1
optimizers:
  SGD: {samples: %d, lr: {random: {loguniform: [1e-5, 1e-1]}}%s}
"""


def drawn(folder: Path, samples: int, more: str = "", top: str = "") -> list[dict[str, Any]]:
    path = folder / "spec.yaml"
    path.write_text(RANDOM % (samples, more) + top)
    return [dict(planned.run.hyperparameters) for planned in load(path).runs]


def test_more_samples_and_parameters_leave_the_draws_alone(tmp_path: Path) -> None:
    momentum = ", momentum: {random: {uniform: [0, 1]}}"
    few = drawn(tmp_path, 5)
    many = drawn(tmp_path, 50)
    both = drawn(tmp_path, 50, momentum)
    swapped = [
        {"lr": one["lr"], "momentum": one["momentum"]}
        for one in drawn(tmp_path, 50, momentum + ", nesterov: {random: {choice: [true, false]}}")
    ]

    assert many[:5] == few
    assert [one["lr"] for one in both] == [one["lr"] for one in many]
    assert swapped == both
    assert len({one["lr"] for one in many}) == 50
    assert drawn(tmp_path, 5, top="random_seed: 0\n") == few
    assert drawn(tmp_path, 5, top="random_seed: 1\n") != few


def test_golden_draws() -> None:
    """Draws are part of a study: they must be the same in every version and on every machine."""
    assert [uniform(0, "lr", index) for index in range(3)] == [
        0.846840402806687,
        0.4831570932217748,
        0.0417607722932134,
    ]
    assert draw(Draw(loguniform=[1e-5, 1e-1]), 0.846840402806687) == 0.0243984148397


@SETTINGS
@given(seed=st.integers(), name=st.text(min_size=1), index=st.integers(0))
def test_numbers_lie_in_the_unit_interval(seed: int, name: str, index: int) -> None:
    assert 0 <= uniform(seed, name.encode("utf8", "ignore").decode(), index) < 1


def test_streams_are_uniform_and_independent() -> None:
    """Means, variances and correlations of 4,000 numbers lie within 4 standard errors."""
    count = 4000
    names = ["lr", "momentum", "weight_decay", "lr2", "l"]
    streams = [[uniform(seed, name, i) for i in range(count)] for name in names for seed in (0, 1)]

    for index, stream in enumerate(streams):
        assert abs(np.mean(stream) - 0.5) < 4 * (1 / 12 / count) ** 0.5
        assert abs(np.var(stream) - 1 / 12) < 4 * (1 / 180 / count) ** 0.5
        assert abs(correlation(stream[1:], stream[:-1])) < 4 / count**0.5
        for other in streams[:index]:
            assert abs(correlation(stream, other)) < 4 / count**0.5


@SETTINGS
@given(
    bounds=st.lists(st.floats(1e-300, 1e300), min_size=2, max_size=2, unique=True).map(sorted),
    number=st.floats(0, 1, exclude_max=True),
)
def test_draws_lie_within_their_bounds(bounds: list[float], number: float) -> None:
    low, high = bounds

    for distribution in (Draw(uniform=bounds), Draw(loguniform=bounds)):
        value = draw(distribution, number)
        assert isinstance(value, float)
        assert low <= value <= high
    assert draw(Draw(choice=["a", "b"]), number) == ("a" if number < 0.5 else "b")
    assert draw(Draw(randint=[3, 6]), number) == 3 + int(4 * number)


def test_whole_numbers_are_drawn_with_both_ends() -> None:
    numbers = [uniform(0, "layers", index) for index in range(100)]
    drawn = [draw(Draw(randint=[-1, 1]), number) for number in numbers]
    assert set(drawn) == {-1, 0, 1}
    assert all(type(value) is int for value in drawn)


@pytest.mark.parametrize("name", ["grid", "log_grid"])
def test_a_grid_of_one_point(name: str) -> None:
    axis = Axis.model_validate({name: [0.1, 0.1, 1]})
    setting = read_setting("lr", axis, ScalarNode(None, Place("x")), "lr", Draws())
    assert [choice.value for choice in setting.choices] == pytest.approx([0.1])


def test_draws_that_come_out_equal_are_one_run(tmp_path: Path) -> None:
    """And more of them never change the runs that there were."""
    text = RANDOM_CHOICE
    few, many = (ids(tmp_path, text % samples) for samples in (3, 40))
    assert len(many) == 3 * 2
    assert [one for one in many if one in set(few)] == few
