"""Runs and sweeps as JSON, and the ids that name them."""

import json

import pytest

from jobs.canonical import canonical, digest
from jobs.sweep import PlannedRun, Run, Sweep, Target

RUN = Run(
    problem="digits_mlp",
    optimizer="torch.optim.SGD",
    hyperparameters={"lr": 0.1, "betas": [0.0, 0.9], "nesterov": True},
    seed=42,
    epochs=5,
    batch_size=32,
)


def test_golden_id() -> None:
    """Ids name results on disk: whoever changes them must raise PROTOCOL_VERSION."""
    assert (RUN.id, RUN.cell) == ("862b78cfb735", "0c2306942550")


def with_hyperparameters(**values: object) -> Run:
    return Run.from_json({**RUN.to_json(), "hyperparameters": values})


def test_equal_runs_and_only_they_have_equal_ids() -> None:
    same = with_hyperparameters(nesterov=True, betas=[0, 0.9], lr=0.1 + 1e-17)
    others = [
        with_hyperparameters(nesterov=1, betas=[0, 0.9], lr=0.1),
        with_hyperparameters(nesterov=True, betas=[0, 0.9], lr=0.1 + 1e-11),
        with_hyperparameters(nesterov=True, betas=[0.9, 0], lr=0.1),
        with_hyperparameters(betas=[0, 0.9], lr=0.1),
        with_hyperparameters(nesterov=True, betas=[0, 0.9], lr="0.1"),
    ]

    assert same.id == RUN.id
    assert len({RUN.id, *(other.id for other in others)}) == 6


def test_an_id_is_the_hash_of_all_of_the_run() -> None:
    for values in ({}, {"seed": 7}, {"text": 'a "seed":3, b'}, {"nested": {"seed": [1.0, None]}}):
        run = with_hyperparameters(**values)
        content = run.to_json()

        assert run.id == digest(content)
        del content["seed"]
        assert run.cell == digest(content)


def test_a_last_bit_that_differs_between_machines_is_not_in_the_id() -> None:
    assert with_hyperparameters(lr=9.999999999999999e-06).id == with_hyperparameters(lr=1e-5).id
    assert with_hyperparameters(lr=0.9999999999999999).id == with_hyperparameters(lr=1).id


def test_a_cell_is_all_seeds_of_one_setting() -> None:
    other = Run.from_json({**RUN.to_json(), "seed": 43})

    assert other.id != RUN.id
    assert other.cell == RUN.cell


def test_a_run_comes_back_from_json_as_it_was() -> None:
    again = Run.from_json(json.loads(json.dumps(RUN.to_json())))

    assert again == RUN
    assert again.id == RUN.id
    assert isinstance(again.hyperparameters["betas"], list)
    assert isinstance(again.hyperparameters["betas"][0], float)


def test_a_run_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="protocol version 99, this code implements"):
        Run.from_json({**RUN.to_json(), "version": 99})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, 1),
        (-0.0, 0),
        (True, True),
        (0.1, 0.1),
        (1e300, int(1e300)),
        (0.1 + 0.2, 0.3),
        ([1.0, {"b": 2.0, "a": None}], [1, {"a": None, "b": 2}]),
        ("1.0", "1.0"),
    ],
)
def test_canonical_values(value: object, expected: object) -> None:
    found = canonical(value)  # type: ignore[arg-type]  # any JSON

    assert json.dumps(found) == json.dumps(expected)


def test_infinities_have_no_id() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        _ = with_hyperparameters(lr=float("inf")).id


def test_a_sweep_comes_back_from_json_as_it_was() -> None:
    sweep = Sweep(
        name="a",
        description="b",
        runs=(PlannedRun(run=RUN, problem="p", optimizer="o", varied={"lr": 0.1}),),
        problems=("p",),
        optimizers=("o",),
        targets={"p": Target(metric="test_loss", value=0.5)},
        data=None,
        code=("/c",),
        sources={"a.yaml": "text"},
    )

    content = json.loads(json.dumps(sweep.to_json()))

    assert Sweep.from_json(content) == sweep
    assert content["schema"] == 1
    assert content["runs"][0]["id"] == RUN.id
