"""`doctor` in a real Slurm: what a node answers, and that nothing of its job is left."""

import json
import os
import shutil
import signal

import pytest

from cluster.profile.profile_file import read_profile
from tests.apptainer import poison
from tests.case import make_profile
from tests.helpers import wait_for

pytestmark = pytest.mark.slurm


def jobs(site):
    """The jobs in the queue that are not over."""
    return site.lab.run("squeue", "--noheader", "--format=%j %T").stdout.split("\n")[:-1]


def doctor(site, folder, *arguments, check):
    done = site.probprec("doctor", *arguments, "--json", cwd=folder, check=check)
    return json.loads(done.stdout)


def states(report, group):
    return {one["name"]: one["state"] for one in report["checks"] if one["group"] == group}


def test_a_node_answers(site, tmp_path):
    """A job of a few seconds; the proposal of what was seen can be used."""
    scratch = str(site.lab.scratch / "$USER")
    profile = make_profile(tmp_path, trained_by=None, scratch=scratch)
    file = tmp_path / "proposed.yaml"
    report = doctor(site, tmp_path, "--on", profile, "--node", "--write", file, check=0)

    node = states(report, "Node")
    assert {node[name] for name in ("host", "clock", "sweeps", "training", "packages")} == {"ok"}
    assert states(report, "Profile")["sbatch"] == "ok"
    assert states(report, "Slurm")["sacct"] == ("ok" if site.accounting else "note")
    assert report["node"]["node"].startswith("node")
    assert not (tmp_path / "sweeps").exists()
    wait_for(lambda: "probprec-doctor" not in " ".join(jobs(site)), what="its job is over")
    proposed = read_profile(file)
    assert (proposed.resources.partition, proposed.resources.time) == ("day", 7200)
    doctor(site, tmp_path, "--on", file, check=0)


@pytest.mark.apptainer
def test_an_image_on_a_node(site, tmp_path, image):
    """Whatever the login shell has set, what is seen in the image is what was built."""
    profile = make_profile(
        tmp_path, trained_by=None, image=str(image), scratch=str(site.lab.scratch / "$USER")
    )
    done = site.probprec(
        "doctor",
        *("--on", profile, "--node", "--json"),
        cwd=tmp_path,
        check=0,
        environment=poison(tmp_path),
    )
    report = json.loads(done.stdout)
    node = states(report, "Node")

    assert states(report, "Container")["exec"] == "ok"
    assert states(report, "Image") == {"file": "ok", "sha256": "ok", "place": "ok"}
    names = ("image", "training", "packages", "scratch inside", "code", "variables")
    assert {name: node[name] for name in names} == dict.fromkeys(names, "ok")


def test_a_gpu_that_is_none(site, tmp_path):
    """The lab's GPUs are scheduled, but there is no device: what was promised does not work."""
    profile = make_profile(tmp_path, trained_by=None, resources={"gpus": 1})
    report = doctor(site, tmp_path, "--on", profile, "--node", check=1)

    assert states(report, "Profile")["gpus"] == "ok"
    assert states(report, "Node")["gpu"] == "problem"
    assert report["node"]["inside"]["gpu"]["allocated"] == [report["node"]["gpu"]]


@pytest.mark.parametrize(
    ("resources", "name"),
    [
        ({"partition": "dya"}, "partition"),
        ({"partition": "short", "time": "05:00:00"}, "time"),
        ({"gpus": "v100:1"}, "gpus"),
        ({"cpus": 1000}, "cpus"),
    ],
)
def test_what_is_wrong_with_a_profile(site, tmp_path, resources, name):
    profile = make_profile(tmp_path, trained_by=None, resources=resources)
    report = doctor(site, tmp_path, "--on", profile, check=1)

    assert states(report, "Profile")[name] == "problem"
    # Slurm itself lets a job wait for ever that asks for too much time (EnforcePartLimits=NO).
    assert states(report, "Profile")["sbatch"] == "problem" or name == "time"


def test_setup_lines_that_fail(site, tmp_path):
    """The job's log is part of the report."""
    profile = make_profile(tmp_path, trained_by=None, setup=["echo no such module; exit 3"])
    report = doctor(site, tmp_path, "--on", profile, "--node", check=1)
    [line] = [one for one in report["checks"] if one["group"] == "Node"]

    assert "FAILED" in line["found"]
    assert "no such module" in line["found"]


SLOW_SBATCH = """\
#!/bin/sh
{real} "$@"
code=$?
sleep 3
exit $code
"""


@pytest.mark.parametrize("is_sbatch_slow", [False, True])
def test_ctrl_c_leaves_nothing(site, tmp_path, is_sbatch_slow):
    """While the job waits, or sbatch has not yet said its number: it is cancelled, its folder removed."""
    path = os.environ["PATH"]
    if is_sbatch_slow:
        (tmp_path / "sbatch").write_text(SLOW_SBATCH.format(real=shutil.which("sbatch")))
        (tmp_path / "sbatch").chmod(0o755)
        path = f"{tmp_path}:{path}"
    profile = make_profile(tmp_path, trained_by=None)
    nodes = site.lab.settings.node_names
    for node in nodes:
        site.lab.drain(node)
    try:
        started = site.start(
            site.command("doctor", "--on", profile, "--node"),
            cwd=tmp_path,
            environment={"PROBPREC_ROOT": str(tmp_path / "root"), "PATH": path},
        )
        wait_for(lambda: "probprec-doctor PENDING" in jobs(site), what="its job waits")
        os.kill(started.pid, signal.SIGINT)
        started.communicate()
        assert started.returncode == 130
        wait_for(lambda: not any("probprec-doctor" in job for job in jobs(site)), what="no job")
        assert not (tmp_path / "root").exists()
    finally:
        for node in nodes:
            site.lab.resume(node)
