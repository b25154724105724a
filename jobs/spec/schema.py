"""The JSON Schema of a spec, for editors: generated from the same types that validate it."""

from typing import Any

from jobs.optimizers import OPTIMIZERS
from jobs.problems.catalog import PROBLEMS
from jobs.regime.settings import READERS
from jobs.resources import EXCLUSIVE
from jobs.spec.model import AXES, DRAWS, Spec


def json_schema() -> dict[str, Any]:
    """A JSON Schema (2020-12) that completes keys and names and refuses unknown keys."""
    schema: dict[str, Any] = _without_nulls(Spec.model_json_schema())
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "A sweep of probprec"
    definitions = schema["$defs"]
    # A key that is inherited through `extends` need not be in the file.
    tune = {"tune": {"required": definitions["Tune"].pop("required")}}
    of_optimizers = {"additionalProperties": {"properties": tune}}
    schema["anyOf"] = [
        {
            "required": ["problems", "optimizers", "seeds"],
            "properties": {**tune, "optimizers": of_optimizers},
        },
        {"required": ["extends"]},
    ]
    for section, key, names in (
        ("problems", "problem", list(PROBLEMS)),
        ("optimizers", "optimizer", list(OPTIMIZERS)),
    ):
        _suggest(schema["properties"][section], names)
        entry = definitions[key.capitalize()]["properties"][key]
        entry["anyOf"] = [{"enum": names}, {"type": "string", "pattern": r"[.:]"}]
        del entry["type"]
    for name in READERS:  # a mapping may be an axis or a value
        found = definitions["Optimizer"]["properties"][name]
        found["anyOf"] = found.pop("oneOf")
    definitions["Axis"]["oneOf"] = [{"required": [name]} for name in AXES]
    definitions["Resources"]["allOf"] = [
        {"not": {"required": [name, other]}} for name, other in EXCLUSIVE.items() if name < other
    ]
    definitions["Draw"]["oneOf"] = [{"required": [name]} for name in DRAWS]
    return schema


def _without_nulls(schema: Any) -> Any:
    """A key that may be left out may not be null: drop that branch, which only says "left out"."""
    if isinstance(schema, list):
        return [_without_nulls(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _without_nulls(value) for key, value in schema.items()}
    if "default" in found and found["default"] is None:
        del found["default"]
        branches = [branch for branch in found["anyOf"] if branch != {"type": "null"}]
        if len(branches) == 1:
            del found["anyOf"]
            found |= {key: value for key, value in branches[0].items() if key not in found}
        else:
            found["anyOf"] = branches
    return found


def _suggest(section: dict[str, Any], names: list[str]) -> None:
    """Offer `names` as items of the list form and as keys of the mapping form."""
    for branch in section["anyOf"]:
        if branch["type"] == "array":
            branch["items"] = {"anyOf": [{"enum": names}, {"type": "string", "pattern": r"[.:]"}]}
        else:
            branch["properties"] = dict.fromkeys(names, branch["additionalProperties"])
