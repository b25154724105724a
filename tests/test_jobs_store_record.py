"""A record is read with suspicion: what its series of training time must be, and those without."""

import math

import pytest

from jobs.store import record
from tests.make_sweep import make_record, plan

PLANNED = plan("fmnist_2c2d", "SGD", {"lr": 0.1}, 42, 2, varied=False)


def test_training_time_reads_back():
    content = make_record(PLANNED)
    found = record.parse(content)

    assert found.time == content["time"]
    assert found.to_json() == content


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda time: time["wall_s"].pop(), "2 values for 3 evaluations", id="short"),
        pytest.param(lambda time: time["steps"].append(9999), "4 values for 3", id="long"),
        pytest.param(lambda time: time["cpu_s"].reverse(), "cpu_s does not grow", id="falling"),
        pytest.param(lambda time: time.update(steps=[-1, 3, 6]), "steps does not", id="negative"),
        pytest.param(lambda time: time.update(wall_s=[0, 1, math.inf]), "wall_s does", id="inf"),
        pytest.param(lambda time: time.update(wall_s=[0, math.nan, 1]), "wall_s does", id="nan"),
        pytest.param(lambda time: time.update(wall_s=[0, 1, 10**400]), "wall_s does", id="huge"),
        pytest.param(
            lambda time: time.update(wall_s=[0, None, 1]), "no list of numbers", id="null"
        ),
        pytest.param(lambda time: time.update(steps=[0, 1.5, 2]), "no list of numbers", id="half"),
        pytest.param(lambda time: time.update(steps=[False, 1, 2]), "no list of num", id="false"),
        pytest.param(lambda time: time.update(cpu_s="012"), "no list of numbers", id="text"),
        pytest.param(lambda time: time.pop("cpu_s"), "cpu_s", id="missing"),
    ],
)
def test_training_time_that_cannot_be_is_refused(change, words):
    content = make_record(PLANNED)
    change(content["time"])

    with pytest.raises((ValueError, TypeError, KeyError), match=words):
        record.parse(content)


def test_training_time_is_a_mapping():
    with pytest.raises(TypeError, match="time is no mapping"):
        record.parse(make_record(PLANNED) | {"time": [0, 1, 2]})


def test_a_diverged_run_has_time_for_each_of_its_evaluations():
    found = record.parse(make_record(PLANNED, diverges_in=2))

    assert found.time is not None
    assert {len(series) for series in found.time.values()} == {found.evaluated_epochs} == {2}


def test_an_older_record_has_none():
    content = make_record(PLANNED)
    del content["time"]
    found = record.parse(content)

    assert found.time is None
    assert found.to_json() == content
