"""Resources: what is merged with what, how times and sizes are read, and JSON."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from jobs.resources import (
    Resources,
    parse_gpus,
    parse_nodes,
    parse_size,
    parse_size_per_cpu,
    parse_time,
    slurm_mem,
    slurm_time,
    written,
)
from jobs.sweep import PlannedRun
from tests.helpers import make_run

RUN = make_run(hyperparameters={})


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (timedelta(hours=3, minutes=30), 12600),
        ("03:30:00", 12600),
        ("1-12:00:00", 129600),
        ("100:00:00", 360000),
        ("90min", 5400),
        ("2h", 7200),
        ("45s", 45),
        ("1d12h", 129600),
        ("1h 30min", 5400),
        ("1-00:00", 86400),
        ("2-12", 216000),
        ("0-00:05", 300),
    ],
)
def test_times(given: object, seconds: int) -> None:
    assert parse_time(given) == seconds
    assert parse_time(slurm_time(seconds)) == seconds


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (90, "found 90; minutes are written 90min, seconds 90s"),
        ("90", "found '90'"),
        (
            "10:00",
            "found '10:00'; to Slurm these are minutes and seconds: write 00:10:00 or 10:00:00",
        ),
        ("5 minutes", "found '5 minutes'; write 5min"),
        ("5m", "; write 5min"),
        ("2hours", "; write 2h"),
        ("3 days", "; write 3d"),
        ("30min1h", "found '30min1h'"),
        ("", "found ''"),
        ("0s", "found '0s'"),
        ("9999d99999h", "found '9999d99999h'"),
        ("90:30", ": write 01:30:30 or 90:30:00"),
        ("1-00:00:60", "found '1-00:00:60'"),
        ("UNLIMITED", "write the limit that it has, like 7-00:00:00, or leave it out"),
        ("infinite", "leave it out"),
        (0, "leave it out"),
        (-1, "leave it out"),
        ("0-0:0", "found '0-0:0'"),
        ("00:00:00", "leave it out"),
        (True, "found true"),
        (1.5, "found 1.5"),
        (timedelta(0), "found 0:00:00"),
        (timedelta(days=-1), "found -1 day"),
    ],
)
def test_no_times(given: object, said: str) -> None:
    with pytest.raises(ValueError, match="expected a time like 03:30:00, 1-12:00:00") as caught:
        parse_time(given)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("given", "size"),
    [("3G", 3072), ("3 GiB", 3072), ("1500M", 1500), ("1.5G", 1536), ("1T", 1024 * 1024)],
)
def test_sizes(given: str, size: int) -> None:
    assert parse_size(given) == size
    assert parse_size(slurm_mem(size)) == size
    assert parse_size(written("mem", size)) == size


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (3, "found 3; write 3M or 3G"),
        ("3", "found '3'"),
        ("3g", "found '3g'; write 3G (1G is 1024M)"),
        ("3GB", "; write 3G (1G is 1024M)"),
        ("0.1M", "write whole M, at least 1M"),
        ("0G", "write whole M, at least 1M"),
        ("-1G", "found '-1G'"),
        (True, "found true"),
        (["3G"], "found ['3G']"),
    ],
)
def test_no_sizes(given: object, said: str) -> None:
    with pytest.raises(
        ValueError, match="expected a size with its unit, like 1500M or 3G"
    ) as caught:
        parse_size(given)
    assert said in str(caught.value)


SAID = [
    "90",
    90,
    "10:00",
    "90:30",
    "999:59",
    "5 minutes",
    "3 days",
    "12 Hours",
    "UNLIMITED",
    "0:00",
]
SAID += ["99999999999", "7m", 0, -1, "1.5h", "9999 days", "100000 days"]


@pytest.mark.parametrize("given", SAID, ids=repr)
def test_what_is_said_to_write_is_taken(given: object) -> None:
    """Of times and of sizes."""
    for read in (parse_time, parse_size):
        for proposed in re.findall(r"(?<![\w:-])[0-9][\w:.-]*", hint_of(read, given)):
            assert proposed in {"1G", "1024M"} or read(proposed) > 0  # in words: 1G is 1024M


def hint_of(read: Callable[[object], int], given: object) -> str:
    """What an error says after the first semicolon; nothing where there is none."""
    try:
        read(given)
    except ValueError as error:
        return str(error).partition("; ")[2]
    return ""


def test_all_memory_of_a_node() -> None:
    """As Slurm means `--mem=0`; of a CPU's memory it means nothing."""
    assert (parse_size(0), parse_size("0"), slurm_mem(0), written("mem", 0)) == (0, 0, "0", "0")
    for wrong in (False, 0.0, None):
        with pytest.raises(ValueError, match="expected a size"):
            parse_size(wrong)
    with pytest.raises(ValueError, match="all memory of a node is mem: 0"):
        parse_size_per_cpu(0)
    assert parse_size_per_cpu("1G") == 1024


def test_gpus() -> None:
    for good in (0, 2, "gtx1080ti:1", "3g.20gb:1", "a100:1,h100:2"):
        assert parse_gpus(good) == good
    for wrong in (-1, True, "2", "1:2", "gtx1080ti", "a100:", "a b:1", 1.0, None):
        with pytest.raises(ValueError, match="expected a number of GPUs"):
            parse_gpus(wrong)


def test_nodes() -> None:
    assert parse_nodes("node1,node[3-5,7],gpu[1-2].site") == (
        "node1",
        "node[3-5,7]",
        "gpu[1-2].site",
    )
    assert parse_nodes(["node1", "node2,node1"]) == ("node1", "node2")
    assert parse_nodes([]) == ()
    for wrong in ("", "a b", "a,,b", "$(x)", 3, [3], None):
        with pytest.raises(ValueError, match="expected names of nodes"):
            parse_nodes(wrong)


def test_what_is_said_later_wins() -> None:
    profile = Resources(time=600, mem_per_cpu=3072, cpus=4, gres="gpu:1", exclude=("a", "b"))
    spec = Resources(time=60, mem=1000, gpus=0, exclude=())

    both = profile.merged(spec)

    assert both == Resources(time=60, mem=1000, cpus=4, gpus=0, exclude=())
    assert both.merged(profile) == profile
    assert profile.merged(Resources()) == Resources().merged(profile) == profile


def test_one_thing_is_said_in_one_way() -> None:
    with pytest.raises(ValueError, match="expected mem or mem_per_cpu, found both"):
        Resources(mem=1, mem_per_cpu=1)
    with pytest.raises(ValueError, match="expected gpus or gres, found both"):
        replace(Resources(gpus=1), gres="gpu:1")


def test_json_holds_what_is_said() -> None:
    resources = Resources(time=600, gpus="a100:1", exclude=("a", "b[1-2]"), nodelist=())

    content = json.loads(json.dumps(resources.to_json()))

    assert content == {"time": 600, "gpus": "a100:1", "exclude": ["a", "b[1-2]"], "nodelist": []}
    assert Resources.from_json(content) == resources
    assert Resources().to_json() == {}
    with pytest.raises(TypeError):
        Resources.from_json({"tmie": 600})


def test_as_a_person_writes_them() -> None:
    assert written("time", 129600) == "1-12:00:00"
    assert written("mem", 3072) == "3G"
    assert written("mem_per_cpu", 1500) == "1500M"
    assert written("exclude", ("a", "b")) == "a,b"
    assert written("gpus", 2) == "2"


def test_resources_are_in_the_sweep_and_not_in_the_id() -> None:
    plain = PlannedRun(run=RUN, problem="a", optimizer="b")
    asking = replace(plain, resources=Resources(mem=3072))

    assert plain.run.id == asking.run.id
    assert "resources" not in plain.to_json()  # as before there were any
    assert PlannedRun.from_json(plain.to_json()) == plain
    assert PlannedRun.from_json(json.loads(json.dumps(asking.to_json()))) == asking


def test_the_node_needs_nothing_to_read_them() -> None:
    code = "import sys, jobs.resources; print(*{'pydantic', 'yaml', 'numpy', 'torch'} & {*sys.modules})"

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == ""
