"""The commands that look at a spec: what they print, where, and their exit codes."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.commands.check import check, explain, schema
from jobs.datasets.catalog import DATASETS
from jobs.datasets.find import VARIABLE
from jobs.spec import load
from tests.helpers import short_folder

SPEC = """\
description: A first look [at it]
seeds: [42..44, 50]
problems:
  fmnist_2c2d: {epochs: 2}
  roos: {problem: cifar10_roos, init: {values: [deepobs, torch]}}
optimizers:
  Momentum: {lr: tuned, when: {problem: fmnist_2c2d}}
  PreconditionedSGD:
  lion: {optimizer: "no_pkg:Lion", lr: {log_grid: [1e-5, 1, 6]}}
"""


@pytest.fixture
def spec(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with short_folder() as folder:
        monkeypatch.setenv(VARIABLE, str(folder))
        for file in DATASETS["cifar10"].files:  # what `check` finds, as far as it looks
            (folder / file.name).touch()
        path = folder / "look.yaml"
        path.write_text(SPEC)
        yield path


def test_check_shows_what_would_run(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = check(spec, [], as_json=False)

    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == ("look: 88 runs in 22 cells, 4 seeds (42..44, 50), 2 problems, 3 optimizers")
    assert lines[1] == "A first look [at it]"
    assert "lion 6 12" in lines
    assert "Momentum 1 -" in lines
    assert "fmnist_2c2d 2 128 (default) deepobs (default) test_accuracy 0.91981" in lines
    assert "roos 5 (default) 128 (default) deepobs, torch -" in lines
    assert any("momentum = 0.9" in line and "lr = tuned" in line for line in lines)
    assert any("lr = 1e-05, 0.0001," in line for line in lines)
    assert any("not known here" in line for line in lines)
    assert any("est_rank = 2" in line for line in lines)
    first = load(spec).runs[0].run.id
    assert f"{first} fmnist_2c2d Momentum 42 2 128" in lines
    assert lines[-4] == "... and 80 more"
    assert lines[-2] == "constructed 2 settings of the optimizers, on a tiny model"
    assert "no_pkg.Lion was not imported" in lines[-1]


def test_check_as_json_is_one_object(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = check(spec, ["seeds=42"], as_json=True)

    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "schema": 1,
        "runs": 22,
        "cells": 22,
        "array_tasks": 22,
        "runs_to_follow": 0,
        "hours_at_most": None,
        "constructed": 2,
        "notes": [
            f"{spec}:9:21: optimizers.lion: no_pkg.Lion was not imported: no 'no_pkg' in this Python"
        ],
        "missing_data": [],
        "errors": [],
    }


def test_check_says_what_it_costs_where_the_spec_says_a_time(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec.write_text(f"{SPEC}resources: {{time: 30min, gpus: 1}}\n")

    assert check(spec, [], as_json=False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "at most 44 GPU-hours, requeues aside (88 tasks x 30 min x 1 GPU)" in lines
    assert check(spec, [], as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["hours_at_most"] == {"GPU": 44.0}


def test_mistakes_go_to_stderr_with_exit_code_2(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec.write_text(SPEC.replace("lr: tuned", "lr: tuend").replace("seeds", "seed"))

    code = check(spec, [], as_json=False)

    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert f"{spec}:2:1: seed: unknown key 'seed'; did you mean 'seeds'?" in err
    assert f"{spec}:7:18: optimizers.Momentum.lr: expected a number" in err
    assert err.endswith("2 mistakes\n")


def test_mistakes_as_json_go_to_stdout(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = check(spec, ["seeds=42-51"], as_json=True)

    out, err = capsys.readouterr()
    assert (code, err) == (2, "")
    assert json.loads(out) == {
        "schema": 1,
        "runs": 0,
        "cells": 0,
        "array_tasks": 0,
        "errors": [
            {
                "file": "--set seeds",
                "line": 0,
                "column": 0,
                "path": "seeds",
                "message": "expected seeds like 42 or 42..51, found '42-51'; "
                "a range is written 42..51",
            }
        ],
    }


def test_explain_names_the_line_of_every_value(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = load(spec, ["epochs=1"]).runs[0].run

    code = explain(spec, run.id[:7], ["epochs=1"])

    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == f"run {run.id}: Momentum on fmnist_2c2d, seed 42"
    assert f"seed 42 {spec}:2:9" in lines
    assert "epochs 1 --set epochs" in lines
    assert "batch_size 128 default of problem fmnist_2c2d" in lines
    assert "momentum 0.9 pinned by Momentum" in lines
    assert "lr 0.02069138081114788 DeepOBS baseline" in lines
    assert "nesterov false default of torch.optim.SGD" in lines
    assert f"optimizer torch.optim.SGD {spec}:7:3" in lines


def test_explain_as_json(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planned = load(spec).runs[-1]

    code = explain(spec, planned.run.id, [], as_json=True)

    content = json.loads(capsys.readouterr().out)
    assert code == 0
    assert (content["schema"], content["id"]) == (1, planned.run.id)
    fields = {field["name"]: (field["value"], field["source"]) for field in content["fields"]}
    assert fields["init"] == ("torch", f"{spec}:5:58")
    assert fields["lr"] == (1.0, f"{spec}:9:40")
    assert fields["protocol"] == ("default", "default")


@pytest.mark.parametrize("as_json", [True, False])
def test_explain_of_an_unknown_run(
    spec: Path, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    first = load(spec).runs[0].run.id

    assert explain(spec, first[:-1] + "x", [], as_json=as_json) == 2
    out, err = capsys.readouterr()
    assert f"of the 88 in this sweep; nearest: {first}" in (out if as_json else err)

    assert explain(spec, "", [], as_json=as_json) == 2


def test_explain_of_a_prefix_of_several_runs(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [planned.run.id for planned in load(spec).runs]
    common = next(one[0] for one in ids if sum(other[0] == one[0] for other in ids) > 1)

    assert explain(spec, common, []) == 2
    assert f"{common!r} begins " in capsys.readouterr().err


def test_explain_of_a_wrong_spec(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec.write_text("seeds: 1\n")

    assert explain(spec, "a", [], as_json=True) == 2
    assert len(json.loads(capsys.readouterr().out)["errors"]) == 2


def test_schema_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert schema() == 0
    assert json.loads(capsys.readouterr().out)["title"] == "A sweep of probprec"
