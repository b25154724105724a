"""A profile is written as lines of YAML that `read_profile` reads back."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import yaml

from jobs.profile import POLICY, Limits, Profile
from jobs.resources import slurm_mem, slurm_time, written

_DURATIONS = {"time", "signal_lead", "checkpoint_every"}
_SIZES = {"mem", "mem_per_cpu", "max_hashed_data"}
_KEYWORDS = {"null", "true", "false"}


def line(name: str, value: Any) -> str:
    """The line of a key and its value, of a profile or of its `resources:`."""
    if name in _DURATIONS:
        return f"{name}: {slurm_time(value)}"
    return f"{name}: {written(name, value) if name in _SIZES else in_yaml(value)}"


def other_lines(profile: Profile, written_already: frozenset[str]) -> list[str]:
    """The lines of all other keys whose value is not the default."""
    usual = Profile(name=profile.name, engine=profile.engine)
    lines = []
    for name in (field.name for field in fields(Profile)):
        value = getattr(profile, name)
        if name not in written_already and value != getattr(usual, name):
            lines.append(line(name, _as_written(name, value)))
    return lines


def _as_written(name: str, value: Any) -> Any:
    """The value without the entries of a mapping that equal the default."""
    if isinstance(value, Limits):
        usual = asdict(Limits())
        given = {key: limit for key, limit in asdict(value).items() if limit != usual[key]}
        sizes = {key: slurm_mem(limit) for key, limit in given.items() if key in _SIZES}
        return given | sizes
    if name == "policy":
        return {key: action for key, action in value.items() if action != POLICY[key]}
    return value


def in_yaml(value: Any) -> str:
    """The YAML of a value of plain types, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{in_yaml(key)}: {in_yaml(one)}' for key, one in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(in_yaml(one) for one in value)}]"
    return str(value) if isinstance(value, int) else text(str(value))


def text(value: str) -> str:
    """A word of YAML, quoted if it could be read as another type."""
    is_plain = re.fullmatch(r"[A-Za-z][\w-]*|[/$][\w/$.-]*", value, re.ASCII) is not None
    if is_plain and value.lower() not in _KEYWORDS:
        return value
    quoted: str = yaml.safe_dump(value, default_style='"', allow_unicode=True, width=math.inf)
    return quoted.rstrip("\n")
