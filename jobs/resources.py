"""Resources that an array task requests: time, memory, CPUs, GPUs, partition, account, ...

This module has no dependencies: the login node, the node and the image all import it. None means
"not requested": the cluster decides.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, Self

EXCLUSIVE = {"mem": "mem_per_cpu", "mem_per_cpu": "mem", "gpus": "gres", "gres": "gpus"}
"""Two ways to request the same resource: a request by one of them replaces an inherited other."""

A_TIME = "a time like 03:30:00, 1-12:00:00, 90min or 2h"
A_SIZE = "a size with its unit, like 1500M or 3G"
SOME_GPUS = "a number of GPUs, or one with their type like gtx1080ti:1"
SOME_NODES = "names of nodes like node1 or node[3-5], or a list of them"

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400
_MAX_TIME_S = 10_000 * _DAY_S
_MIB_OF_UNIT = {"M": 1, "G": 1024, "T": 1024**2}
_CLOCK = re.compile(r"(?:([0-9]{1,4})-)?([0-9]{1,3}):([0-5][0-9]):([0-5][0-9])")
_WORDS = re.compile(
    r"(?:([0-9]{1,4})d)?\s*(?:([0-9]{1,5})h)?\s*(?:([0-9]{1,7})min)?\s*(?:([0-9]{1,9})s)?"
)
_DAYS = re.compile(r"([0-9]{1,4})-([0-9]{1,2})(?::([0-5][0-9]))?")  # Slurm's D-HH and D-HH:MM
_NO_LIMIT = re.compile(r"-1|0+|0+(:0+)+|unlimited|infinite|inf|none", re.IGNORECASE)
_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*([MGT])(?:iB)?")
_GPUS = re.compile(r"(?=[^:]*[A-Za-z])[\w.-]+:[0-9]{1,4}", re.ASCII)
_NODE = re.compile(r"[\w.-]+(?:\[[0-9,-]+\][\w.-]*)*", re.ASCII)
_BETWEEN_NODES = re.compile(r",(?![^\[]*\])")  # not the commas of node[1,3]


@dataclass(frozen=True, kw_only=True)
class Resources:
    """The resources of one array task, which its `runs_per_task` runs share."""

    time: int | None = None  # seconds
    mem: int | None = None  # MiB, of the whole task; 0: all memory of its node
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
        """Refuse a resource that is requested in both of its ways."""
        both = [name for name in self.said() if EXCLUSIVE.get(name) in self.said()]
        if both:
            raise ValueError(f"expected {' or '.join(both)}, found both")

    def said(self) -> dict[str, Any]:
        """The fields that are not None, by name."""
        return {
            field.name: value
            for field in fields(self)
            if (value := getattr(self, field.name)) is not None
        }

    def merged(self, other: "Resources") -> "Resources":
        """These resources, with the fields of `other` in the place of their own."""
        said = self.said()
        for name, value in other.said().items():
            said.pop(EXCLUSIVE.get(name, ""), None)
            said[name] = value
        return Resources(**said)

    def to_json(self) -> dict[str, Any]:
        """The fields that are not None, in seconds, MiB and lists of nodes."""
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
    """The seconds of `03:30:00`, `1-12:00:00`, `1-12`, `90min`, `2h`, `1h30min` or a timedelta.

    Raises:
        ValueError: the value is none of these, or zero; a bare number could be minutes or seconds.
    """
    seconds = _seconds(value)
    if seconds is None:
        raise ValueError(f"expected {A_TIME}, found {_shown(value)}{_meant(value)}")
    return seconds


def _seconds(value: object) -> int | None:
    text = value.strip() if isinstance(value, str) else ""
    if isinstance(value, timedelta):
        seconds = int(value.total_seconds())
    elif clock := _CLOCK.fullmatch(text) or _DAYS.fullmatch(text):
        seconds = _total(clock.groups())
    elif text and (words := _WORDS.fullmatch(text)):
        seconds = _total(words.groups())
    else:
        return None
    return seconds if 0 < seconds <= _MAX_TIME_S else None


def parse_size(value: object) -> int:
    """The MiB of `1500M`, `3G`, `3GiB` or `1.5G`; 0 means all memory of a node, as in Slurm.

    Raises:
        ValueError: the value is none of these, has no unit, or is no whole number of MiB.
    """
    if value == "0" or (value == 0 and type(value) is int):
        return 0
    size = _mebibytes(value)
    if size is None:
        is_size = isinstance(value, str) and _SIZE.fullmatch(value.strip())
        why = "; write whole M, at least 1M" if is_size else _unit(value)
        raise ValueError(f"expected {A_SIZE}, found {_shown(value)}{why}")
    return size


def _mebibytes(value: object) -> int | None:
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    size = float(match[1]) * _MIB_OF_UNIT[match[2]] if match else 0.5
    return int(size) if size >= 1 and size.is_integer() else None


def parse_size_per_cpu(value: object) -> int:
    """The MiB of a memory size per CPU, as `parse_size`; 0 is refused.

    Raises:
        ValueError: see `parse_size`.
    """
    size = parse_size(value)
    if size == 0:
        raise ValueError(f"expected {A_SIZE}, found {value}; all memory of a node is mem: 0")
    return size


def parse_gpus(value: object) -> int | str:
    """The GPUs of `2`, `gtx1080ti:1`, or several types with commas, as Slurm takes them.

    Raises:
        ValueError: the value is none of these.
    """
    if type(value) is int and 0 <= value <= 10_000:
        return value
    if isinstance(value, str) and all(_GPUS.fullmatch(part) for part in value.split(",")):
        return value
    raise ValueError(f"expected {SOME_GPUS}, found {_shown(value)}")


def parse_nodes(value: object) -> tuple[str, ...]:
    """The nodes of `node1,node[3-5]` or of a list; an empty list cancels an inherited one.

    Raises:
        ValueError: the value is neither.
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
    """The time as Slurm reads it: `03:30:00` or `1-12:00:00`."""
    days, rest = divmod(seconds, _DAY_S)
    hours, rest = divmod(rest, _HOUR_S)
    minutes, rest = divmod(rest, _MINUTE_S)
    return f"{f'{days}-' if days else ''}{hours:02}:{minutes:02}:{rest:02}"


def slurm_mem(mebibytes: int) -> str:
    """The memory as Slurm reads it: `3072M`."""
    return f"{mebibytes}M" if mebibytes else "0"


def written(name: str, value: Any) -> str:
    """The value of a field as a person would write it."""
    if name == "time":
        return slurm_time(value)
    if name in ("mem", "mem_per_cpu"):
        return f"{value // 1024}G" if value and value % 1024 == 0 else slurm_mem(value)
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _total(parts: tuple[str | None, ...]) -> int:
    """The seconds of (days, hours, minutes, seconds), or of the first few of them."""
    lengths = (_DAY_S, _HOUR_S, _MINUTE_S, 1)
    return sum(int(part or 0) * length for part, length in zip(parts, lengths, strict=False))


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, str) else str(value)


def _meant(value: object) -> str:
    """A hint how to correct a malformed time; `parse_time` accepts what it suggests."""
    text = str(value).strip()
    if _NO_LIMIT.fullmatch(text) or value == timedelta(0):
        return (
            "; write the limit that it has, like 7-00:00:00, or leave it out: as the cluster says"
        )
    if re.fullmatch(r"[0-9]+", text) and _taken(_seconds, f"{text}min", f"{text}s"):
        return f"; minutes are written {text}min, seconds {text}s"
    if match := re.fullmatch(r"([0-9]{1,3}):([0-5][0-9])", text):
        seconds = int(match[1]) * _MINUTE_S + int(match[2])
        said = _taken(_seconds, slurm_time(seconds), f"{match[1]:0>2}:{match[2]}:00")
        return f"; to Slurm these are minutes and seconds: write {said}"
    if match := re.fullmatch(r"([0-9]+)\s*(h|d|m)[a-z]*", text, re.IGNORECASE):
        unit = {"h": "h", "m": "min", "d": "d"}[match[2].lower()]
        said = _taken(_seconds, f"{match[1]}{unit}")
        return said and f"; write {said}"
    return ""


def _unit(value: object) -> str:
    """A hint how to correct a malformed size; `parse_size` accepts what it suggests."""
    text = str(value).strip()
    if re.fullmatch(r"[0-9]+", text):
        said = _taken(_mebibytes, f"{text}M", f"{text}G")
        return said and f"; write {said}"
    match = re.fullmatch(r"([0-9.]+)\s*([mgt])(i?b)?", text, re.IGNORECASE)
    said = _taken(_mebibytes, f"{match[1]}{match[2].upper()}") if match else ""
    return said and f"; write {said} (1G is 1024M)"


def _taken(read: Callable[[object], int | None], *texts: str) -> str:
    """The texts that `read` accepts, joined as in `90min or 90s`."""
    return " or ".join(text for text in texts if read(text) is not None)
