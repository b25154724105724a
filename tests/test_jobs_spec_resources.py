"""`resources:` in a spec: who wins, where it comes from, and what is a mistake."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from cluster.commands.check import check, explain
from jobs.resources import Resources
from jobs.spec import SpecError, explain_run, json_schema, load, make_plan
from jobs.sweep import Sweep
from tests.helpers import short_folder

SPEC = """\
problems:
  a: {problem: digits_mlp, resources: {mem_per_cpu: 500M, time: 2h}}
  b: {problem: digits_2c2d}
optimizers:
  SGD: {lr: 0.1}
  Adam: {resources: {gpus: 'gtx1080ti:1', time: 90min}}
seeds: 1..3
resources:
  time: 03:30:00
  mem: 3G
  partition: day
  exclude: node[1-2]
"""


def spec_of(folder: Path, text: str = SPEC) -> Path:
    path = folder / "spec.yaml"
    path.write_text(text)
    return path


def resources_of(sweep: Sweep) -> dict[str, Resources]:
    return {f"{one.problem} {one.optimizer}": one.resources for one in sweep.runs}


def found_in(folder: Path, overrides: Sequence[str] = (), text: str = SPEC) -> dict[str, Any]:
    return {
        cell: found.to_json()
        for cell, found in resources_of(load(spec_of(folder, text), overrides)).items()
    }


def test_the_spec_then_the_problem_then_the_optimizer(tmp_path: Path) -> None:
    common = {"partition": "day", "exclude": ["node[1-2]"]}

    assert found_in(tmp_path) == {
        "a SGD": {"time": 7200, "mem_per_cpu": 500, **common},
        "a Adam": {"time": 5400, "mem_per_cpu": 500, "gpus": "gtx1080ti:1", **common},
        "b SGD": {"time": 12600, "mem": 3072, **common},
        "b Adam": {"time": 5400, "mem": 3072, "gpus": "gtx1080ti:1", **common},
    }


def test_ids_and_hyperparameters_know_nothing_of_them(tmp_path: Path) -> None:
    plain = SPEC[: SPEC.index("resources:\n")].replace(
        ", resources: {mem_per_cpu: 500M, time: 2h}", ""
    )
    plain = plain.replace("{resources: {gpus: 'gtx1080ti:1', time: 90min}}", "{}")

    asking, without = load(spec_of(tmp_path)), load(spec_of(tmp_path, plain))

    assert [one.run for one in asking.runs] == [one.run for one in without.runs]
    assert {one.resources for one in without.runs} == {Resources()}
    assert Sweep.from_json(asking.to_json()) == asking
    assert Sweep.from_json(without.to_json()) == without


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["resources.time=00:10:00"], [600, 600, 600, 600]),
        (["resources={time: 10min}"], [600, 600, 600, 600]),
        (["optimizers.SGD.resources.time=5min"], [300, 5400, 300, 5400]),
        (["problems.a.resources.time=5min"], [300, 300, 12600, 5400]),
        (["resources.time=1h", "optimizers.SGD.resources.time=5min"], [300, 3600, 300, 3600]),
        (["optimizers.SGD.resources.time=5min", "resources.time=1h"], [300, 3600, 300, 3600]),
    ],
)
def test_the_command_line_wins(tmp_path: Path, overrides: list[str], expected: list[int]) -> None:
    assert [found["time"] for found in found_in(tmp_path, overrides).values()] == expected


def test_the_command_line_takes_back_the_other_way_to_say_it(tmp_path: Path) -> None:
    found = found_in(tmp_path, ["resources.mem_per_cpu=1G", "resources.gres=gpu:2"])

    assert {one["mem_per_cpu"] for one in found.values()} == {1024}
    assert {one["gres"] for one in found.values()} == {"gpu:2"}
    assert not any("mem" in one or "gpus" in one for one in found.values())


def test_optimizers_in_a_list_get_resources_by_set(tmp_path: Path) -> None:
    text = "problems: [digits_mlp]\noptimizers: [SGD, torch.optim.Adam]\nseeds: 1\n"

    found = found_in(tmp_path, ["optimizers.torch.optim.Adam.resources.mem=4G"], text)

    assert found == {"digits_mlp SGD": {}, "digits_mlp torch.optim.Adam": {"mem": 4096}}


def test_extends_merges_them_key_by_key(tmp_path: Path) -> None:
    spec_of(tmp_path).rename(tmp_path / "base.yaml")
    text = """\
extends: base.yaml
resources: {mem_per_cpu: 1G, qos: long}
problems: {a: {resources: {mem: 2G}}}
optimizers: {Adam: {resources: {time: 1h}}}
"""
    common = {"partition": "day", "qos": "long", "exclude": ["node[1-2]"]}

    assert found_in(tmp_path, text=text) == {
        "a SGD": {"time": 7200, "mem": 2048, **common},
        "a Adam": {"time": 3600, "mem": 2048, "gpus": "gtx1080ti:1", **common},
        "b SGD": {"time": 12600, "mem_per_cpu": 1024, **common},
        "b Adam": {"time": 3600, "mem_per_cpu": 1024, "gpus": "gtx1080ti:1", **common},
    }


def test_explain_names_the_line_of_each(tmp_path: Path) -> None:
    path = spec_of(tmp_path)
    plan = make_plan(path, ["resources.partition=week"])
    index = next(i for i, one in enumerate(plan.sweep.runs) if one.optimizer == "Adam")

    found = [one for one in explain_run(plan, index) if one.name.startswith("resources.")]

    assert [(one.name, one.value, one.source) for one in found] == [
        ("resources.time", "01:30:00", f"{path}:6:49"),
        ("resources.mem_per_cpu", "500M", f"{path}:2:53"),
        ("resources.gpus", "gtx1080ti:1", f"{path}:6:28"),
        ("resources.partition", "week", "--set resources.partition"),
        ("resources.exclude", "node[1-2]", f"{path}:12:12"),
    ]


def test_the_commands_show_them(capsys: pytest.CaptureFixture[str]) -> None:
    with short_folder() as folder:
        path = spec_of(folder)
        run = load(path).runs[0].run.id
        assert check(path, [], as_json=False) == 0
        checked = capsys.readouterr().out
        assert explain(path, run, []) == 0

    lines = [" ".join(line.split()) for line in checked.splitlines()]
    assert "runs problems optimizers ask for" in lines
    assert "3 b SGD time = 03:30:00, mem = 3G, partition = day, exclude = node[1-2]" in lines
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert f"resources.time 02:00:00 {path}:2:65" in lines


def test_check_says_nothing_where_nobody_asks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = spec_of(tmp_path, "problems: [digits_mlp]\noptimizers: [SGD, Adam]\nseeds: 1\n")

    assert check(path, [], as_json=False) == 0
    assert "Resources" not in capsys.readouterr().out

    assert check(path, ["optimizers.SGD.resources.cpus=2"], as_json=False) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "1 digits_mlp SGD cpus = 2" in lines
    assert "1 digits_mlp Adam what the cluster's profile says" in lines


def test_packed_runs_share_array_tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """12 runs: two for each of the four cells that ask for different things."""
    assert check(spec_of(tmp_path), ["resources.runs_per_task=2"], as_json=True) == 0
    assert '"array_tasks": 8' in capsys.readouterr().out


A_TIME = "expected a time like 03:30:00, 1-12:00:00, 90min or 2h"
A_SIZE = "expected a size with its unit, like 1500M or 3G"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "{tmie: 1h}",
            "1:13: resources.tmie: unknown key 'tmie'; did you mean 'time'? (known: time,",
        ),
        ("{time: 90}", f"1:19: resources.time: {A_TIME}, found 90; minutes are written 90min"),
        ("{time: 10:00}", f"1:19: resources.time: {A_TIME}, found '10:00'; to Slurm"),
        ("{time: }", f"1:18: resources.time: {A_TIME}, found nothing"),
        ("{time: 00:00:00}", f"1:19: resources.time: {A_TIME}, found 0:00:00"),
        ("{mem: 3}", f"1:18: resources.mem: {A_SIZE}, found 3; write 3M or 3G"),
        ("{mem: 00:03:00}", "1:18: resources.mem: found the duration 0:03:00; quote it"),
        ("{mem: 3G, mem_per_cpu: 1G}", "1:12: resources: expected mem or mem_per_cpu, found both"),
        ("{gpus: 1, gres: 'gpu:1'}", "1:12: resources: expected gpus or gres, found both"),
        ("{cpus: 0}", "1:19: resources.cpus: expected a whole number of at least 1, found 0"),
        (
            "{cpus: '4'}",
            "1:19: resources.cpus: expected a whole number of at least 1, found the text",
        ),
        ("{cpus: 2.5}", "1:19: resources.cpus: expected a whole number of at least 1, found 2.5"),
        ("{gpus: gtx1080ti}", "1:19: resources.gpus: expected a number of GPUs, or one with"),
        ("{exclude: [a b]}", "1:22: resources.exclude: expected names of nodes like node1"),
        ("{exclude: {a: 1}}", "1:22: resources.exclude: expected names of nodes like node1"),
        (
            "{partition: a b}",
            "1:24: resources.partition: expected a partition, or several: day,week",
        ),
        ("{qos: 3}", "1:18: resources.qos: expected the name of a quality of service, found 3"),
        (
            "[1h]",
            "1:12: resources: expected a mapping like {time: 03:30:00, mem: 3G}, found a list",
        ),
        (
            "1h",
            "1:12: resources: expected a mapping like {time: 03:30:00, mem: 3G}, found the text",
        ),
        ("", "1:11: resources: expected a mapping like {time: 03:30:00, mem: 3G}, found nothing"),
    ],
)
def test_mistakes(tmp_path: Path, line: str, expected: str) -> None:
    text = f"resources: {line}\nproblems: [digits_mlp]\noptimizers: [SGD]\nseeds: 1\n"

    (said,) = mistakes_of(tmp_path, text)

    assert said.startswith(expected), said


def test_mistakes_at_all_levels_at_once(tmp_path: Path) -> None:
    text = """\
resources: {mme: 3G}
problems: {digits_mlp: {resources: {time: 5}}, digits_2c2d: {resources: 3}}
optimizers: {SGD: {lr: 1, resources: {memory: 3G}}, Adam: {resources: {gpus: x, time: 1h}}}
seeds: 1
"""
    said = mistakes_of(tmp_path, text)

    assert len(said) == 5
    beginnings = [
        "1:13: resources.mme: unknown key 'mme'; did you mean 'mem'?",
        f"2:43: problems.digits_mlp.resources.time: {A_TIME}, found 5",
        "2:73: problems.digits_2c2d.resources: expected a mapping like",
        "3:39: optimizers.SGD.resources.memory: unknown key 'memory'; did you mean 'mem'?",
        "3:78: optimizers.Adam.resources.gpus: expected a number of GPUs",
    ]
    for found, beginning in zip(said, beginnings, strict=True):
        assert found.startswith(beginning), found


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "resources.tmie=1h",
            "--set resources.tmie: resources.tmie: unknown key 'tmie'; did you mean",
        ),
        ("resources.time=5", f"--set resources.time: resources.time: {A_TIME}, found 5"),
        ("resources.time=", f"--set resources.time: resources.time: {A_TIME}, found nothing"),
        (
            "resources={mem: 1G, mem_per_cpu: 1G}",
            "--set resources: resources: expected mem or mem_per_cpu, found both",
        ),
        (
            "optimizers.SGD.resources.mem=lots",
            "--set optimizers.SGD.resources.mem: optimizers.SGD.resources.mem: expected a size",
        ),
    ],
)
def test_mistakes_on_the_command_line(tmp_path: Path, override: str, expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        load(spec_of(tmp_path), [override])

    assert str(caught.value).startswith(expected)


def test_a_duration_means_nothing_elsewhere(tmp_path: Path) -> None:
    """Not even as the hyperparameter `time` of an optimizer that is called `resources`."""
    text = """\
problems: [digits_mlp]
optimizers: {resources: {optimizer: 'no_pkg:X', time: 00:10:00}}
seeds: 1
"""
    (said,) = mistakes_of(tmp_path, text)

    assert said.startswith("2:55: optimizers.resources.time: found the duration 0:10:00")


def test_conditions_cannot_ask_for_them(tmp_path: Path) -> None:
    (said,) = mistakes_of(tmp_path, f"{SPEC}exclude: [{{resources: 3}}]\n")

    assert "exclude[0].resources: no setting 'resources' here" in said


def mistakes_of(folder: Path, text: str) -> list[str]:
    path = spec_of(folder, text)
    with pytest.raises(SpecError) as caught:
        load(path)
    return [str(mistake).removeprefix(f"{path}:") for mistake in caught.value.mistakes]


VALIDATOR = jsonschema.Draft202012Validator(json_schema())
GOOD = {"time": "03:30:00", "mem": "3G", "gpus": "a100:1", "exclude": ["node1"], "runs_per_task": 2}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"time": "1-12:00:00"},
        {"time": "1h 30min"},
        {"gpus": 0},
        {"exclude": "node[1-3]"},
    ],
)
def test_the_schema_takes_good_ones(change: dict[str, Any]) -> None:
    asked = {**GOOD, **change}
    spec = {
        "seeds": 1,
        "resources": asked,
        "problems": {"digits_mlp": {"resources": asked}},
        "optimizers": {"SGD": {"resources": asked}},
    }

    VALIDATOR.validate(spec)


@pytest.mark.parametrize(
    "change",
    [
        {"time": "10:00"},
        {"time": 90},
        {"time": "90 minutes"},
        {"mem": 3},
        {"mem": "3GB"},
        {"mem_per_cpu": "1G"},
        {"gres": "gpu:1"},
        {"gpus": -1},
        {"cpus": 0},
        {"tmie": "1h"},
        {"exclude": 3},
        {"partition": None},
    ],
)
def test_the_schema_refuses_wrong_ones(change: dict[str, Any]) -> None:
    spec = {"seeds": 1, "problems": ["digits_mlp"], "optimizers": {"SGD": {}}}

    assert not VALIDATOR.is_valid({**spec, "resources": {**GOOD, **change}})
