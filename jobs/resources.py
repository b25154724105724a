"""What a run asks of the cluster: time, memory, CPUs, GPUs, and which part of it.

No dependencies: the login node, the node and the image all read it. None means "not said"; what
nobody says, the cluster decides.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, Self

EXCLUSIVE = {"mem": "mem_per_cpu", "mem_per_cpu": "mem", "gpus": "gres", "gres": "gpus"}
"""Two ways to say one thing: whoever says one of them takes back the other."""

A_TIME = "a time like 03:30:00, 1-12:00:00, 90min or 2h"
A_SIZE = "a size with its unit, like 1500M or 3G"
SOME_GPUS = "a number of GPUs, or one with their type like gtx1080ti:1"
SOME_NODES = "names of nodes like node1 or node[3-5], or a list of them"

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_MAX_TIME = 10_000 * _DAY
_UNITS = {"M": 1, "G": 1024, "T": 1024**2}
_CLOCK = re.compile(r"(?:([0-9]{1,4})-)?([0-9]{1,3}):([0-5][0-9]):([0-5][0-9])")
_WORDS = re.compile(
    r"(?:([0-9]{1,4})d)?\s*(?:([0-9]{1,5})h)?\s*(?:([0-9]{1,7})min)?\s*(?:([0-9]{1,9})s)?"
)
_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*([MGT])(?:iB)?")
_GPUS = re.compile(r"(?=[^:]*[A-Za-z])[\w.-]+:[0-9]{1,4}", re.ASCII)
_NODE = re.compile(r"[\w.-]+(?:\[[0-9,-]+\][\w.-]*)*", re.ASCII)
_BETWEEN_NODES = re.compile(r",(?![^\[]*\])")  # not the commas of node[1,3]


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one array task may use; all of it belongs to the `runs_per_task` runs in it together."""

    time: int | None = None  # seconds
    mem: int | None = None  # MiB, of the whole task
    mem_per_cpu: int | None = None  # MiB
    cpus: int | None = None
    gpus: int | str | None = None  # how many, or with a type: "gtx1080ti:1"
    gres: str | None = None  # as Slurm writes it: "gpu:1,tmpdisk:20"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    reservation: str | None = None
    nodelist: tuple[str, ...] | None = None
    exclude: tuple[str, ...] | None = None  # nodes
    runs_per_task: int | None = None

    def __post_init__(self) -> None:
        """Refuse two ways to say one thing."""
        both = [name for name in self.said() if EXCLUSIVE.get(name) in self.said()]
        if both:
            raise ValueError(f"expected {' or '.join(both)}, found both")

    def said(self) -> dict[str, Any]:
        """The fields that say something."""
        return {
            field.name: value
            for field in fields(self)
            if (value := getattr(self, field.name)) is not None
        }

    def merged(self, other: "Resources") -> "Resources":
        """These, with what `other` says instead."""
        said = self.said()
        for name, value in other.said().items():
            said.pop(EXCLUSIVE.get(name, ""), None)
            said[name] = value
        return Resources(**said)

    def to_json(self) -> dict[str, Any]:
        """What is said: seconds, MiB, lists of nodes."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.said().items()
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`."""
        said: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in content.items()
        }
        return cls(**said)


NAMES = tuple(field.name for field in fields(Resources))


def parse_time(value: object) -> int:
    """The seconds of `03:30:00`, `1-12:00:00`, `90min`, `2h`, `1h30min` or a timedelta.

    Raises:
        ValueError: it is none of these, or nothing; a bare number could be minutes or seconds.
    """
    if isinstance(value, timedelta):
        seconds = int(value.total_seconds())
    elif isinstance(value, str) and (clock := _CLOCK.fullmatch(value.strip())):
        seconds = _total(clock.groups())
    elif isinstance(value, str) and (words := _WORDS.fullmatch(value.strip())) and words[0]:
        seconds = _total(words.groups())
    else:
        raise ValueError(f"expected {A_TIME}, found {_shown(value)}{_meant(value)}")
    if not 0 < seconds <= _MAX_TIME:
        raise ValueError(f"expected {A_TIME}, found {_shown(value)}")
    return seconds


def parse_size(value: object) -> int:
    """The MiB of `1500M`, `3G`, `3GiB` or `1.5G`.

    Raises:
        ValueError: it is none of these, has no unit, or is no whole number of MiB.
    """
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"expected {A_SIZE}, found {_shown(value)}{_unit(value)}")
    size = float(match[1]) * _UNITS[match[2]]
    if size < 1 or not size.is_integer():
        raise ValueError(f"expected {A_SIZE}, found {_shown(value)}; write whole M, at least 1M")
    return int(size)


def parse_gpus(value: object) -> int | str:
    """`2`, `gtx1080ti:1`, or several types with commas.

    Raises:
        ValueError: it is none of these.
    """
    if type(value) is int and 0 <= value <= 10_000:
        return value
    if isinstance(value, str) and all(_GPUS.fullmatch(part) for part in value.split(",")):
        return value
    raise ValueError(f"expected {SOME_GPUS}, found {_shown(value)}")


def parse_nodes(value: object) -> tuple[str, ...]:
    """The nodes of `node1,node[3-5]` or of a list; an empty list takes back what others said.

    Raises:
        ValueError: it is neither.
    """
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise ValueError(f"expected {SOME_NODES}, found {_shown(value)}")
    names = [name for part in parts for name in _BETWEEN_NODES.split(part)]
    for name in names:
        if not _NODE.fullmatch(name):
            raise ValueError(f"expected {SOME_NODES}, found {name!r}")
    return tuple(dict.fromkeys(names))


def slurm_time(seconds: int) -> str:
    """`03:30:00` or `1-12:00:00`, as Slurm reads it."""
    days, rest = divmod(seconds, _DAY)
    hours, rest = divmod(rest, _HOUR)
    minutes, rest = divmod(rest, _MINUTE)
    return f"{f'{days}-' if days else ''}{hours:02}:{minutes:02}:{rest:02}"


def slurm_mem(mebibytes: int) -> str:
    """`3072M`, as Slurm reads it."""
    return f"{mebibytes}M"


def written(name: str, value: Any) -> str:
    """The value of a field as a person would write it."""
    if name == "time":
        return slurm_time(value)
    if name in ("mem", "mem_per_cpu"):
        return slurm_mem(value) if value % 1024 else f"{value // 1024}G"
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _total(parts: tuple[str | None, ...]) -> int:
    lengths = (_DAY, _HOUR, _MINUTE, 1)
    return sum(int(part or 0) * length for part, length in zip(parts, lengths, strict=True))


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, str) else str(value)


def _meant(value: object) -> str:
    """What a time that is none probably was meant to be."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"; minutes are written {value}min, seconds {value}s"
    match = re.fullmatch(r"([0-9]{1,3}):([0-5][0-9])", str(value))
    if match:
        first = f"{match[1]:0>2}:{match[2]}"
        return f"; to Slurm these are minutes and seconds: write 00:{first} or {first}:00"
    match = re.fullmatch(r"([0-9]+)\s*(hours?|hrs?|minutes?|mins?|m|days?)", str(value))
    if match:
        unit = {"h": "h", "m": "min", "d": "d"}[match[2][0]]
        return f"; write {match[1]}{unit}"
    return ""


def _unit(value: object) -> str:
    """What a size that is none probably was meant to be."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"; write {value}M or {value}G"
    match = re.fullmatch(r"([0-9.]+)\s*([mgt])(i?b)?", str(value), re.IGNORECASE)
    return f"; write {match[1]}{match[2].upper()} (1G is 1024M)" if match else ""
