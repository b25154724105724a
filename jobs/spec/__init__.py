"""The spec: one strict YAML file in, one `Sweep` out, or every mistake in it with its position.

Whoever checks or submits may enter, by these:

load(path, overrides)       the sweep
make_plan(path, overrides)  the sweep and where each value comes from
json_schema()               what editors complete and validate specs with
load_yaml(path)             strict YAML for other files, with the position of every value
"""

from collections.abc import Sequence
from pathlib import Path

from jobs.spec.explain import Origin, default_of, defaults, explain_run, find_run
from jobs.spec.plan import Plan, make_plan
from jobs.spec.schema import json_schema
from jobs.sweep import Sweep
from jobs.yaml.mistakes import Mistake, Place, SpecError
from jobs.yaml.tree import load_yaml

__all__ = [
    "Mistake",
    "Origin",
    "Place",
    "Plan",
    "SpecError",
    "default_of",
    "defaults",
    "explain_run",
    "find_run",
    "json_schema",
    "load",
    "load_yaml",
    "make_plan",
]


def load(path: Path, overrides: Sequence[str] = ()) -> Sweep:
    """The sweep that the spec in `path` asks for, with the `key.path=value` overrides.

    Raises:
        SpecError: with every mistake there is.
    """
    return make_plan(path, overrides).sweep
