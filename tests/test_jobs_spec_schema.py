"""The JSON Schema that editors use: it accepts good specs and refuses unknown keys."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from jobs.spec import json_schema
from jobs.yaml.mistakes import Place
from jobs.yaml.tree import load_yaml, parse_yaml, to_data

SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

GOOD = """\
name: a
description: b
protocol: deepobs-2019
data: d
code: [.]
seeds: [42, 44..46]
epochs: {values: [1, 2]}
batch_size: 32
random_seed: 1
samples: 3
problems:
  digits_mlp:
  roos: {problem: cifar10_roos, init: {values: [deepobs, torch]}, target: {test_loss: 3}}
  own: {problem: 'mine:Blobs', epochs: 1, batch_size: 2, target: 0.9}
optimizers:
  SGD: {lr: {log_grid: [1e-5, 1e2, 8]}, nesterov: {values: [true], when: {momentum: [0.9, 1]}}}
  Adam: {betas: [0.9, 0.99], lr: null, eps: {grid: [0, 1, 3]}, zip: [[a, b], [c, d]]}
  AdamW: {lr: {random: {loguniform: [1, 2]}}, samples: 2, when: {problem: roos}, zip: [a, b]}
  own: {optimizer: 'my_pkg.opt:Lion', x: {random: {choice: [a, b]}}}
  trained:
    optimizer: SGD
    lr: ${steps}
    schedule: {values: [constant, {name: cosine, warmup: 0.1}]}
    clip_norm: {log_grid: [1, 10, 2]}
    average: {ema: 0.9}
    groups: [{dims: 1, class: AdamW, lr: 1}]
  other: {optimizer: SGD, schedule: {class: my_mod.Mine, per: epoch}, compile: true}
exclude:
  - {problem: roos, seed: [44, 45], lr: null}
"""


def data(text: str) -> Any:
    return to_data(parse_yaml(text, Place("x")))


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)

    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_good_specs_are_valid() -> None:
    VALIDATOR.validate(data(GOOD))
    VALIDATOR.validate(data("problems: [digits_mlp, 'my.mod:P']\noptimizers: [SGD]\nseeds: 1..3\n"))
    VALIDATOR.validate(data("extends: other.yaml\n"))


@pytest.mark.parametrize(
    "path",
    sorted((Path(__file__).parents[1] / "configs" / "experiments").rglob("*.yaml")),
    ids=lambda path: path.stem,
)
def test_shipped_specs_are_valid(path: Path) -> None:
    VALIDATOR.validate(to_data(load_yaml(path)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: a", "nam: a"),
        ("name: a", "name: a b"),
        ("name: a", "name:"),
        ("protocol: deepobs-2019", "protocol: deepobs"),
        ("seeds: [42, 44..46]", "seeds: 42-51"),
        ("seeds: [42, 44..46]", "seeds: []"),
        ("batch_size: 32", "batch_size: 0"),
        ("batch_size: 32", "batch_size: [32]"),
        ("batch_size: 32", "batch_size:"),
        ("{values: [1, 2]}", "{vales: [1, 2]}"),
        ("{values: [1, 2]}", "{values: [1, 2], grid: [1, 2, 3]}"),
        ("{values: [1, 2]}", "{when: {problem: a}}"),
        ("[1e-5, 1e2, 8]", "[1e-5, 1e2]"),
        ("loguniform: [1, 2]", "normal: [1, 2]"),
        ("loguniform: [1, 2]", "randint: [1, 2.5]"),
        ("init: {", "inti: {"),
        ("test_loss: 3", "loss: 3"),
        ("cifar10_roos", "cifar_roos"),
        ("'my_pkg.opt:Lion'", "Lion"),
        ("code: [.]", "code: ."),
        ("samples: 2", "samples: a"),
        ("lr: null}", "lr: {a: 1}}"),
    ],
)
def test_wrong_specs_are_not(old: str, new: str) -> None:
    assert old in GOOD

    assert not VALIDATOR.is_valid(data(GOOD.replace(old, new, 1)))


def test_names_are_offered() -> None:
    optimizers = SCHEMA["properties"]["optimizers"]["anyOf"]

    assert "SGD" in optimizers[0]["items"]["anyOf"][0]["enum"]
    assert "PreconditionedSGD" in optimizers[1]["properties"]
    assert all("description" in found for found in SCHEMA["properties"].values())
