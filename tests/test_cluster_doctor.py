"""What `doctor` says of a cluster, of a profile, and of what a node answers.

Slurm and Apptainer are scripts early on PATH here; what real Slurm makes of it is tested with a lab.
"""

import dataclasses
import hashlib
import io
import json
import os
import re
import sys
import time
import types
from pathlib import Path

import pytest
from rich.console import Console

from cluster import cli
from cluster.doctor import command, controller, disks, images, job, judge, node, proposal
from cluster.doctor.finding import Check, Group
from cluster.doctor.request import gpus_of
from cluster.profile.profile_file import read_profile
from cluster.slurm import partitions
from cluster.slurm.site import Association, NodeKind
from containers import runtime
from containers.images import SCHEMA, Images
from jobs.errors import InputError
from jobs.profile import Limits, Profile
from jobs.resources import Resources
from jobs.training import probe
from tests.fake_slurm import FakeSlurm

CONFIG = """\
ClusterName = tiny
SLURM_VERSION = 23.11.4
MaxArraySize = 1001
MaxJobCount = 10000
MinJobAge = 300 sec
JobRequeue = 1
PreemptMode = OFF
PreemptType = preempt/none
"""
PARTITIONS = """\
welcome to the cluster
day*|up|1-00:00:00|1:00:00|2|1/1|16|64000|gpu:a100:4(S:0-1)|(null)
day*|up|1-00:00:00|1:00:00|1|0/1|32|64000|(null)|big
night|up|infinite|n/a|2|0/2|16|64000|(null)|(null)
old|down|1:00:00|10:00|1|0/0|4|8000|gpu:2|(null)
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A cluster that answers, and takes every job."""
    monkeypatch.chdir(tmp_path)
    fake = FakeSlurm(tmp_path / "fake", monkeypatch, 1, sent=False)
    fake._canned("scontrol", CONFIG)
    fake._canned("sinfo", PARTITIONS)
    fake.command("sbatch", "echo 'sbatch: Job 1 to start at 2026-01-01T00:00:00' >&2")
    fake.command(
        "sacctmgr",
        'case "$*" in *assoc*format=Account*) echo "lab||normal,long";; *) echo "200||";; esac',
    )
    fake.accounting([])
    return fake


@pytest.fixture
def make(tmp_path):
    """Writes a profile."""

    def make(text="", name="here", **resources):
        asked = {"partition": "day", "time": "02:00:00"} | resources
        listed = ", ".join(f"{key}: {value}" for key, value in asked.items() if value is not None)
        path = tmp_path / f"{name}.yaml"
        path.write_text(f"engine: slurm\nresources: {{{listed}}}\n{text}")
        return path

    return make


def doctor(capsys, *arguments):
    """The exit code and the report."""
    code = cli.main(["doctor", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def lines(report, group, name=None):
    return [
        check
        for check in report["checks"]
        if check["group"] == group and name in {None, check["name"]}
    ]


@pytest.mark.usefixtures("slurm")
def test_a_cluster_in_general(capsys):
    code, report = doctor(capsys)

    assert (code, report["schema"], report["profile"], report["node"]) == (0, 1, None, None)
    assert "23.11.4, cluster tiny" in lines(report, "Slurm", "controller")[0]["found"]
    day, night, old = lines(report, "Slurm", "partition")
    assert (
        "day (default): up, at most 1-00:00:00; 2 nodes (1 idle) of 16 CPUs, gpu:a100:4"
        in day["found"]
    )
    assert (night["state"], old["state"]) == ("ok", "note")
    assert "at most 200 of yours" in lines(report, "Slurm", "limits")[0]["found"]
    assert lines(report, "Slurm", "sacct")[0]["state"] == "ok"
    assert not lines(report, "Profile")
    assert {one["name"] for one in lines(report, "Data")} >= {"digits", "mnist", "cifar10"}


@pytest.mark.usefixtures("slurm")
def test_a_profile_that_is_all_right(make, capsys):
    path = make(
        "limits: {max_array: 500, max_submit: 100}\n",
        gpus=2,
        cpus=4,
        mem="8G",
        account="lab",
        qos="long",
    )
    code, report = doctor(capsys, "--on", path)

    assert code == 0
    assert report["profile"] == "here"
    assert {one["state"] for one in lines(report, "Profile")} == {"ok"}
    assert "Slurm would take it: Job 1" in lines(report, "Profile", "sbatch")[0]["found"]


@pytest.mark.usefixtures("slurm")
@pytest.mark.parametrize(
    ("resources", "more", "name", "found", "advice"),
    [
        ({"partition": "dya"}, "", "partition", "did you mean 'day'", "{partition: day}"),
        ({"partition": "old", "time": "00:10:00"}, "", "partition", "takes no jobs", "sinfo"),
        ({"time": "2-00:00:00"}, "", "time", "at most 1-00:00:00", "{time: 1-00:00:00}"),
        ({"cpus": 64}, "", "cpus", "no node has more than 32", "{cpus: 32}"),
        ({"cpus": 8, "mem_per_cpu": "9G"}, "", "mem", "73728M asked", "{mem: 64000M}"),
        ({"gpus": 5}, "", "gpus", "any:5 asked, nodes have a100:4", "{gpus: a100:1}"),
        ({"gpus": "v100:1"}, "", "gpus", "v100:1 asked", "{gpus: a100:1}"),
        ({"partition": "night", "gres": "gpu:1"}, "", "gpus", "nodes have none", "sinfo"),
        ({"account": "lap"}, "", "account", "did you mean 'lab'", "{account: lab}"),
        ({"qos": "lnog"}, "", "qos", "did you mean 'long'", "{qos: long}"),
        ({}, "limits: {max_array: 5000}", "limits", "MaxArraySize 1001", "{max_array: 1001}"),
        ({}, "limits: {max_submit: 5000}", "limits", "200 jobs", "{max_submit: 200}"),
    ],
)  # fmt: skip
def test_what_a_profile_asks_for_in_vain(make, capsys, resources, more, name, found, advice):
    code, report = doctor(capsys, "--on", make(more, **resources))
    [line] = lines(report, "Profile", name)

    assert code == 1
    assert line["state"] == "problem"
    assert found in line["found"]
    assert advice in line["advice"]


def test_what_slurm_would_refuse(slurm, make, capsys):
    slurm.command("sbatch", "echo 'sbatch: error: no budget left' >&2; exit 1")
    code, report = doctor(capsys, "--on", make())

    assert code == 1
    assert "no budget left" in lines(report, "Profile", "sbatch")[0]["found"]


def test_what_is_not_asked_for(slurm, make, capsys):
    """Defaults are named; where there is none, it is a problem."""
    _, report = doctor(capsys, "--on", make(partition=None, time=None))

    assert "the cluster's default" in lines(report, "Profile", "partition")[0]["found"]
    assert "gives 01:00:00" in lines(report, "Profile", "time")[0]["found"]
    slurm._canned("sinfo", PARTITIONS.replace("*", ""))
    code, report = doctor(capsys, "--on", make(partition=None, time=None))
    assert code == 1
    assert "day" in lines(report, "Profile", "partition")[0]["advice"]


def test_without_accounting_it_is_a_note(slurm, make, capsys):
    slurm.accounting(None)
    slurm.command("sacctmgr", "exit 1")
    code, report = doctor(capsys, "--on", make(account="x", qos="y"))

    assert code == 0
    assert "300 sec" in lines(report, "Slurm", "sacct")[0]["found"]
    assert lines(report, "Profile", "account")[0]["state"] == "note"
    slurm.command("sacctmgr", 'case "$*" in *assoc*Account*) echo "a||"; echo "b||";; esac')
    _, report = doctor(capsys, "--on", make())
    assert "your default of a, b" in lines(report, "Profile", "account")[0]["found"].replace(
        "'", ""
    )


def test_preemption_is_told(slurm, capsys):
    for mode, state in (("REQUEUE", "ok"), ("CANCEL", "note")):
        slurm._canned("scontrol", f"{CONFIG}PreemptType = preempt/qos\nPreemptMode = {mode}\n")
        _, report = doctor(capsys)
        [line] = lines(report, "Slurm", "requeue")
        assert (line["state"], mode in line["found"]) == (state, True)


def test_many_partitions_are_cut(slurm, capsys):
    slurm._canned("sinfo", "".join(f"p{n}|up|1:00|1:00|1|0/1|4|8000|(null)|\n" for n in range(9)))
    _, report = doctor(capsys)

    assert "3 more: p6, p7, p8" in lines(report, "Slurm", "partition")[-1]["found"]
    slurm._canned("sinfo", "")
    code, report = doctor(capsys)
    assert code == 1
    assert lines(report, "Slurm", "partitions")[0]["state"] == "problem"


def test_no_controller_is_one_problem(slurm, make, capsys):
    """The rest is still looked at; no job is sent."""
    slurm.command(
        "scontrol", "echo 'Unable to contact slurm controller (connect failure)' >&2; exit 1"
    )
    file = Path("proposed.yaml")
    code, report = doctor(capsys, "--on", make(), "--node", "--write", file)

    assert code == 1
    problems = [
        (one["group"], one["name"]) for one in report["checks"] if one["state"] == "problem"
    ]
    assert problems == [("Slurm", "controller"), ("Profile", "proposal"), ("Node", "job")]
    assert lines(report, "Disk and clock", "room")
    assert not file.exists()
    assert not slurm.calls("sbatch")


def test_wrong_input(slurm, capsys, tmp_path):
    there = tmp_path / "there.yaml"
    there.write_text("mine")

    assert cli.main(["doctor", "--on", "nowhere"]) == 2
    assert "no cluster 'nowhere'" in capsys.readouterr().err
    assert cli.main(["doctor", "--write", str(there)]) == 2
    assert there.read_text() == "mine"
    assert cli.main(["doctor", "--write", str(tmp_path / "profile")]) == 2
    assert "profile.yaml" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert cli.main(["doctor", "--node", "--write", str(tmp_path / "file" / "p.yaml")]) == 2
    assert "is no folder" in capsys.readouterr().err
    assert not slurm.calls("scontrol")


def test_a_folder_that_is_not_yours_is_told_before_anything_is_asked(
    slurm, capsys, tmp_path, monkeypatch
):
    monkeypatch.setattr(os, "access", lambda *_: False)

    assert cli.main(["doctor", "--node", "--write", str(tmp_path / "new" / "p.yaml")]) == 2
    assert f"{tmp_path} is not yours to write to" in capsys.readouterr().err
    assert not slurm.calls("scontrol")


@pytest.mark.usefixtures("slurm")
def test_several_partitions(make, capsys):
    """The most that one of them gives is what can be had."""
    path = make(partition="'day,night'", time="3-00:00:00", gpus=4, cpus=32)
    code, report = doctor(capsys, "--on", path)

    assert code == 0
    assert "no limit" in lines(report, "Profile", "time")[0]["found"]
    assert "4 asked, nodes have a100:4" in lines(report, "Profile", "gpus")[0]["found"]
    code, report = doctor(capsys, "--on", make(partition="'day,old'", time="3-00:00:00"))
    assert code == 1
    assert "at most 1-00:00:00" in lines(report, "Profile", "time")[0]["found"]


def test_one_accounting_for_several_clusters(slurm, make, capsys):
    """Accounts and limits are those of this one."""
    doctor(capsys, "--on", make("limits: {max_submit: 100}\n"))
    asked = [call for call in slurm.calls("sacctmgr") if "show assoc" in call]

    assert len(asked) == 3
    assert all("cluster=tiny" in call for call in asked)


@pytest.mark.usefixtures("slurm")
def test_the_screen_fits_a_terminal(make, capsys):
    """80 columns; the problems stand once more at the end."""
    profile = read_profile(make(partition="dya", gpus="v100:1", name="a-rather-long-name"))
    offer = controller.ask()
    found = command._of_login_node(profile, offer, is_chosen=True)
    output = io.StringIO()
    Console(file=output, width=80, force_terminal=True, color_system=None).print(
        command.screen(found, profile, node=False)
    )
    text = output.getvalue()

    assert max(map(len, text.splitlines())) <= 80
    end = text[text.rindex("problem, ") :]
    assert "Profile, partition: no partition 'dya'" in end
    assert "-> write in the profile: resources: {partition: day}" in end
    assert cli.main(["doctor"]) == 0
    assert "next: probprec doctor --node" in capsys.readouterr().out


def test_an_error_of_the_machine_is_a_line():
    def look():
        raise PermissionError(13, "Permission denied", "/secret")

    [line] = Group("Data").look("folder", look)
    assert (line.state, line.name) == ("problem", "folder")
    assert "/secret" in line.found


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1-00:00:00", 86400), ("10:00", 600), ("1:00:00", 3600), ("infinite", None), ("n/a", None)],
)
def test_times_of_slurm(text, seconds):
    assert partitions.seconds_of(text) == seconds


def test_gpus_of_all_nodes():
    assert gpus_of("gpu:a100:4(S:0-1),gpu:2,tmpdisk:20") == {"a100": 4, "": 2}


def test_file_systems(tmp_path):
    """The innermost mount counts; names are escaped as the kernel does."""
    shared = tmp_path / "with space"
    (shared / "local").mkdir(parents=True)
    escaped = str(shared).replace(" ", "\\040")
    table = tmp_path / "mountinfo"
    table.write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda rw\n"
        f"2 1 0:5 / {escaped} rw shared:1 - nfs4 server:/home rw\n"
        f"3 2 0:6 / {escaped}/local rw - tmpfs tmpfs rw\nnonsense\n"
    )

    assert disks.mount_of(shared / "not" / "yet", table).kind == "nfs4"
    assert disks.mount_of(shared / "not", table).is_shared
    assert disks.mount_of(shared / "local", table).where == "tmpfs, of this machine alone"
    assert disks.mount_of(tmp_path, table).point == Path("/")


def test_disks_that_will_not_do(tmp_path, monkeypatch):
    """Read-only, full, over quota, another clock."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    quota = tmp_path / "quota"
    quota.write_text("#!/bin/sh\necho 'Disk quotas for user x:'\necho \"/dev/x 12G* 10G 11G\"\n")
    quota.chmod(0o755)
    real = os.statvfs(tmp_path)

    def full(_):
        fields = list(real)
        fields[4] = 10  # f_bavail
        return os.statvfs_result(fields)

    now = time.time
    monkeypatch.setattr(os, "statvfs", full)
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK | os.X_OK)
    monkeypatch.setattr(disks.time, "time", lambda: now() - 100)
    found = {one.name: one for one in disks.look(tmp_path, tmp_path / "sweeps", is_local=False)}

    assert "not yours" in found["sweeps"].found
    assert "only" in found["room"].found
    assert "12G*" in found["quota"].found
    assert seconds(found["clock"].found, "behind") == pytest.approx(100, abs=5)
    assert all(found[name].state == "problem" for name in ("sweeps", "room", "quota", "clock"))
    assert not disks.nearest(tmp_path / "sweeps").glob("*clock*") or not list(
        tmp_path.glob(".clock*")
    )
    monkeypatch.setattr(disks.time, "time", lambda: now() + 20)
    clock = disks.look(tmp_path, tmp_path, is_local=True)[-1].found
    assert seconds(clock, "ahead of") == pytest.approx(20, abs=5)


def seconds(text: str, what: str) -> float:
    """The seconds before those words."""
    return float(re.search(rf"([0-9.]+) s {what}", text)[1])


FAKE_RUNTIME = """\
#!/bin/sh
if [ "$1" = --version ]; then echo apptainer version 1.4.5; exit; fi
{script}
while [ "$1" != "$IMAGE" ]; do shift; [ $# -gt 0 ] || exit 9; done
shift
for name in PYTHONPATH PYTHONSAFEPATH CUDA_VISIBLE_DEVICES; do
  eval "export $name=\\"\\$APPTAINERENV_$name\\""
done
exec "$@"
"""


@pytest.fixture
def image(tmp_path, monkeypatch):
    """A file for an image, and a runtime that starts commands without one."""
    path = tmp_path / "a.sif"
    path.write_text("an image")
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    file = folder / "apptainer"

    def become(script=""):
        text = FAKE_RUNTIME.replace("{script}", script).replace("$IMAGE", str(path))
        file.write_text(text)
        file.chmod(0o755)

    become()
    return path, become


@pytest.mark.usefixtures("slurm")
def test_an_image(make, capsys, image):
    path, become = image
    profile = make(f"image: {path}\n")
    note = path.with_suffix(".json")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()

    def state(name):
        _, report = doctor(capsys, "--on", profile)
        [line] = [
            one
            for one in report["checks"]
            if one["name"] == name and one["group"] in {"Image", "Container"}
        ]
        return line["state"], line["found"]

    assert state("exec")[0] == "ok"
    assert state("sha256") == ("note", f"{digest[:12]}; no a.json beside it says what it should be")
    note.write_text(json.dumps({"sha256": digest}))
    assert state("sha256")[0] == "ok"
    note.write_text(json.dumps({"sha256": "0" * 64}))
    assert state("sha256")[0] == "problem"
    note.write_text("torn {")
    assert state("sha256")[0] == "problem"
    become("echo 'FATAL: no user namespaces' >&2; exit 255")
    assert state("exec") == ("problem", "no command runs in the image: FATAL: no user namespaces")
    path.unlink()
    assert state("file")[0] == "problem"


def no_runtime():
    """Not by an empty PATH: other threads of the tests start commands."""
    raise runtime.ContainerError("neither apptainer nor singularity is on the PATH")


def test_no_runtime(monkeypatch, tmp_path):
    monkeypatch.setattr(runtime, "find", no_runtime)
    monkeypatch.delenv("MODULEPATH", raising=False)
    plain = Profile(name="x", engine="slurm")
    wanted = dataclasses.replace(plain, image=tmp_path / "a.sif")

    assert next(images.look_at_runtime(plain)).state == "note"
    assert next(images.look_at_runtime(dataclasses.replace(wanted, setup=("x",)))).state == "note"
    line = next(images.look_at_runtime(wanted))
    assert (line.state, "administrators" in line.advice) == ("problem", True)
    monkeypatch.setenv("MODULEPATH", "/modules")
    assert "setup: [module load apptainer]" in next(images.look_at_runtime(wanted)).advice


@pytest.mark.parametrize(
    ("mode", "namespaces", "state"),
    [(0o4755, "0", "ok"), (0o755, "0", "problem"), (0o755, "99", "ok")],
)
def test_how_an_image_is_mounted(monkeypatch, tmp_path, mode, namespaces, state):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(images, "_PROC", tmp_path / "sys")
    (tmp_path / "sys/user").mkdir(parents=True)
    (tmp_path / "sys/user/max_user_namespaces").write_text(namespaces)
    starter = tmp_path / "libexec/apptainer/bin/starter-suid"
    starter.parent.mkdir(parents=True)
    starter.touch()
    starter.chmod(mode)
    found = images.Runtime(path=str(tmp_path / "bin/apptainer"), name="apptainer", version=(1, 4))

    assert images._privileges(Group("Container"), found).state == state


@pytest.mark.usefixtures("slurm")
def test_data_that_is_not_where_the_profile_says(make, capsys):
    code, report = doctor(capsys, "--on", make("data: /no/such/place\n"))

    assert code == 1
    assert "/no/such/place" in lines(report, "Data", "folder")[0]["found"]


BATCH = """\
case "$1" in
  --test-only) echo 'sbatch: Job 1 to start' >&2;;
  *) (SLURMD_NODENAME=node7 setsid bash "$2" >"$2.log" 2>&1 &); echo 7;;
esac
"""


@pytest.fixture
def cluster(slurm):
    """A cluster whose only node is this machine."""
    slurm.command("sbatch", BATCH)
    slurm.state = slurm.folder / "job"
    slurm.state.write_text("JobId=7 JobState=RUNNING Reason=None NodeList=node7")
    slurm.command(
        "scontrol",
        f'case "$*" in *config*) cat <<END\n{CONFIG}END\n;; *) cat {slurm.state};; esac',
    )
    return slurm


@pytest.mark.usefixtures("cluster")
def test_a_node_answers(make, capsys, image, tmp_path):
    """In an image, with scratch, and a proposal: one job, and nothing of it is left."""
    path, _ = image
    text = (
        f"image: {path}\npython: {sys.executable}\nscratch: {tmp_path}/scratch/$USER\n"
        "environment: {MINE: '1'}\nmail_type: ALL\noptions: {exclusive: true}\n"
    )
    file = tmp_path / "new" / "proposed.yaml"
    code, report = doctor(capsys, "--on", make(text, cpus=4), "--node", "--write", file)

    assert code == 0, [one for one in report["checks"] if one["state"] == "problem"]
    assert "node7" in lines(report, "Node", "host")[0]["found"]
    for name in ("sweeps", "image", "training", "packages", "scratch inside", "code", "variables"):
        assert [one["state"] for one in lines(report, "Node", name)] == ["ok"], name
    assert lines(report, "Image", "place")[0]["state"] == "ok"  # the node has seen it
    assert report["node"]["inside"]["packages"]["torch"]["version"]
    assert not Path("sweeps").exists()
    assert not (tmp_path / "scratch").exists()
    profile = read_profile(file)
    assert (profile.image, profile.scratch) == (path, f"{tmp_path}/scratch/$USER")
    assert profile.resources == Resources(partition="day", time=7200, cpus=4, account="lab")


@pytest.mark.usefixtures("cluster")
def test_a_runtime_that_only_nodes_have(make, capsys, image, monkeypatch):
    """Runs train there: no problem, though images cannot be built here."""
    path, _ = image
    monkeypatch.setattr(runtime, "find", no_runtime)
    monkeypatch.delenv("MODULEPATH", raising=False)
    profile = make(f"image: {path}\npython: {sys.executable}\n")
    code, report = doctor(capsys, "--on", profile)
    assert (code, lines(report, "Container", "runtime")[0]["state"]) == (1, "problem")
    code, report = doctor(capsys, "--on", profile, "--node")

    assert code == 0, [one for one in report["checks"] if one["state"] == "problem"]
    assert lines(report, "Node", "runtime")[0]["state"] == "ok"
    [line] = lines(report, "Container", "runtime")
    assert (line["state"], "the node has one" in line["found"]) == ("note", True)


def test_a_node_that_cannot_start(cluster, make, capsys):
    """The end of its log says why; it is known as soon as the job is over."""
    cluster.state.write_text("JobId=7 JobState=FAILED Reason=NonZeroExitCode NodeList=node7")
    cluster.command("scancel", "exit 1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "_FILE_DELAY_MAX_S", 0.1)
        patch.setattr(job, "_FILE_DELAY_AFTER_LOG_S", 0.5)
        cluster.command("sbatch", BATCH.replace('>"$2.log"', '>"$(dirname "$2")/job.log"'))
        path = make("setup: ['echo no module nix', 'sleep 0.1; exit 3']\n")
        code, report = doctor(capsys, "--on", path, "--node")
    [line] = lines(report, "Node")

    assert code == 1
    assert "is over (FAILED), without an answer" in line["found"]
    assert report["node"] is None
    assert not Path("sweeps").exists()


def test_a_node_that_is_never_free(cluster, make, capsys, monkeypatch):
    monkeypatch.setattr(job, "QUEUE_WAIT_MAX_S", 0.0)
    cluster.state.write_text("JobId=7 JobState=PENDING Reason=Resources NodeList=")
    cluster.command("sbatch", 'test "$1" = --test-only || echo 7')
    _, report = doctor(capsys, "--on", make(), "--node")
    [line] = lines(report, "Node")

    assert "next in line" in line["found"]
    assert cluster.calls("scancel") == ["7"]


def test_ctrl_c_cancels_the_job(cluster, make):
    cluster.state.write_text(
        "JobId=7 JobState=PENDING Reason=Nodes_required_for_job_are_DOWN NodeList="
    )
    cluster.command("sbatch", 'test "$1" = --test-only || echo 7')
    told = []

    def tell(text):
        told.append(text)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job.look(read_profile(make()), Path("sweeps"), tell, candidates=False)
    assert "all nodes that could run it are down" in told[0]
    assert cluster.calls("scancel") == ["7"]
    assert not Path("sweeps").exists()


def test_a_job_that_slurm_refuses(cluster, make, capsys):
    cluster.command("sbatch", "echo 'sbatch: error: Invalid qos' >&2; exit 1")
    code, report = doctor(capsys, "--on", make(), "--node")

    assert code == 1
    assert "Invalid qos" in lines(report, "Node", "job")[0]["found"]
    assert "the group Profile" in lines(report, "Node", "job")[0]["advice"]
    _, report = doctor(capsys, "--node")  # there is no such group
    assert "into a profile" in lines(report, "Node", "job")[0]["advice"]


def test_a_controller_that_is_away_for_a_while(cluster):
    before = {"JobState": "RUNNING"}
    cluster.command("scontrol", "echo 'Unable to contact slurm controller' >&2; exit 1")
    assert job._asked(7, before) == before
    cluster.command("scontrol", "echo 'Invalid job id specified' >&2; exit 1")
    assert job._asked(7, before)["JobState"] == "COMPLETED"


def test_this_machine_is_a_node_of_the_local_engine(slurm, tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text("engine: local\n")
    code, report = doctor(capsys, "--on", path, "--node")

    assert code == 0
    assert lines(report, "Node", "training")[0]["state"] == "ok"
    assert not slurm.calls("sbatch")
    path.write_text("engine: local\nsetup: [exit 3]\n")
    code, report = doctor(capsys, "--on", path, "--node")
    assert code == 1
    assert "failed" in lines(report, "Node", "job")[0]["found"]


ANSWER = {
    "done": True,
    "host": "h",
    "node": "n1",
    "python": "3.11.2",
    "clock_skew": 0.0,
    "folder": {"marker": "m", "inode": 1},
    "cpus": 1,
    "threads_per_core": 1,
    "memory_limit": 4096 << 20,
    "shared_memory": 1 << 30,
    "gpu": "0",
    "driver": "550",
    "scratch": {"path": "/s", "free": 1 << 40, "kind": "xfs", "shared": False},
    "candidates": [],
    "runtime": {"said": "apptainer 1.4.5", "path": "/usr/bin/apptainer"},
    "image": {"sha256": "a" * 64},
    "data": {"mnist": "/d", "cifar10": {"error": "nowhere"}},
    "inside": {
        "python": "3.12.1",
        "seconds": 2.0,
        "packages": {"torch": {"version": "2.9", "error": None}},
        "driver": "550",
        "gpu": {"allocated": ["0"], "visible": ["A100"], "built_for": "12.8", "error": None},
        "shared_memory": 1 << 30,
        "scratch": None,
        "code": "/x/abc.zip/jobs/training/probe.py",
        "leaked": [],
    },
    "here": {"marker": "m", "inode": 1, "asked": {"cpus": 1, "mem": 4096}, "data": ["mnist"]},
}


def judged(**changes):
    """The lines about an answer with changes: `inside__gpu__error="..."`."""
    answer = json.loads(json.dumps(ANSWER))
    for path, value in changes.items():
        *outer, last = path.split("__")
        place = answer
        for key in outer:
            place = place[key]
        place[last] = value
    profile = Profile(
        name="x",
        engine="slurm",
        image=Path("/i.sif"),
        data=Path("/d"),
        unstaged="fail",
        resources=Resources(gpus=1),
    )
    found = judge.judge(profile, answer, sha256="a" * 64, skew=0.0)
    return {check.name: check for check in found}


def test_a_node_as_it_should_be():
    found = judged()

    assert {check.state for check in found.values()} == {"ok"}
    assert "A100: a kernel ran; driver 550, torch is built for CUDA 12.8" in found["gpu"].found


@pytest.mark.parametrize(
    ("changes", "name", "state", "text"),
    [
        ({"clock_skew": 90.0}, "clock", "problem", "90.0 s ahead of"),
        ({"clock_skew": -5.0}, "clock", "note", "5.0 s behind"),
        ({"folder": {"error": "read-only"}}, "sweeps", "problem", "read-only"),
        ({"folder__inode": 2}, "sweeps", "problem", "another folder"),
        ({"cpus": 8}, "cpus", "note", "8 may be used"),
        ({"cpus": 2, "threads_per_core": 2}, "cpus", "ok", "1 asked for, cores of 2 threads"),
        ({"cpus": 4, "threads_per_core": 2}, "cpus", "note", "4 may be used"),
        ({"memory_limit": None}, "memory", "note", "no limit"),
        ({"shared_memory": 1 << 20}, "/dev/shm", "note", "only 1 MiB"),
        ({"shared_memory": {"error": "none"}}, "/dev/shm", "note", "there is none"),
        ({"scratch": {"path": "/s", "error": "No space"}}, "scratch", "problem", "/s: No space"),
        ({"scratch__shared": True}, "scratch", "note", "saves nothing"),
        ({"scratch": None}, "scratch", "note", "names none"),
        ({"runtime": {"error": "nothing on PATH"}}, "runtime", "problem", "nothing on PATH"),
        ({"image": {"error": "No such file"}}, "image", "problem", "No such file"),
        ({"image__sha256": "b" * 64}, "image", "problem", "bbbbbbbbbbbb, on the login node aaaa"),
        ({"data": {"mnist": {"error": "gone"}}}, "data", "problem", "mnist cannot be read: gone"),
        ({"inside": None}, "training", "problem", "ended before"),
        ({"inside": {"error": "exit code 255: FATAL"}}, "training", "problem", "FATAL"),
        (
            {"inside__packages__torch": {"version": None, "error": "No module"}},
            "packages", "problem", "torch: No module",
        ),
        ({"inside__gpu__error": "none visible"}, "gpu", "problem", "none visible"),
        ({"inside__gpu__allocated": []}, "gpu", "problem", "names none"),
        ({"inside__shared_memory": None}, "shm inside", "note", "there is none"),
        ({"inside__scratch": "/s: Read-only"}, "scratch inside", "problem", "Read-only"),
        ({"inside__code": "/opt/jobs/training/probe.py"}, "code", "problem", "not from the snapshot"),
        ({"inside__leaked": ["LD_PRELOAD"]}, "variables", "note", "LD_PRELOAD"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_node(changes, name, state, text):
    check = judged(**changes)[name]

    assert (check.state, text in check.found) == (state, True), check


def test_scratch_on_a_node(tmp_path, monkeypatch):
    """It is made, tried, and taken away again."""
    monkeypatch.delenv("NOT_HERE", raising=False)
    good = node.scratch(f"{tmp_path}/a/$USER")

    assert good["free"] > 0
    assert not list(tmp_path.iterdir())
    assert "$NOT_HERE is not set" in node.scratch("/x/$NOT_HERE")["error"]
    (tmp_path / "file").touch()
    assert "error" in node.scratch(f"{tmp_path}/file/below")


def test_a_jobs_own_folder_is_scratch_only_where_the_site_makes_it(tmp_path, monkeypatch):
    """Else each job would make its own, and nobody would remove it."""
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    names = (f"{tmp_path}/$SLURM_JOB_ID", f"{tmp_path}/$USER", f"{tmp_path}/none/$USER")
    monkeypatch.setattr(node, "CANDIDATES", names)

    assert [place["template"] for place in node._candidates()] == [names[1]]
    (tmp_path / "7").mkdir()
    assert [place["template"] for place in node._candidates()] == list(names[:2])
    assert (tmp_path / "7").is_dir()


def test_data_that_only_the_nodes_have():
    """Not looked for on the login node; that a node has not all of it is worth a note."""
    profile = Profile(name="x", engine="slurm", data=Path("/nowhere"), data_on_nodes=True)
    (here,) = images.look_at_data(profile)
    found = judge._data(ANSWER | {"here": {"data": []}}, profile)

    assert (here.state, here.found) == ("note", "/nowhere: left to the nodes (data_on_nodes)")
    assert [check.state for check in found] == ["note", "ok"]
    assert job._found_here("fmnist", profile) is None


def test_data_that_is_not_mounted_on_a_node(tmp_path):
    """A line of the answer, not its end."""
    look = node.partial(node._read, "mnist", str(tmp_path / "data"), None)
    expected = f"{tmp_path}/data: no file there; is it mounted on this node?"

    assert node._or_error(look) == {"error": expected}
    (tmp_path / "data").mkdir()
    assert node._or_error(look) == {"error": expected}
    (tmp_path / "data" / "file").touch()
    assert node._or_error(look) == str(tmp_path / "data")


@pytest.mark.parametrize(("listed", "count"), [("0\n", 1), ("3,67\n", 2), ("0-3\n", 4), ("?", 1)])
def test_the_threads_of_a_core(tmp_path, listed, count):
    folder = tmp_path / "cpu3" / "topology"
    folder.mkdir(parents=True)
    (folder / "thread_siblings_list").write_text(listed)

    assert node.threads_per_core(3, tmp_path) == count
    assert node.threads_per_core(4, tmp_path) == 1


def test_the_memory_limit_of_a_job(tmp_path, monkeypatch):
    """The smallest of all groups around; version 1's enormous number is none."""
    job_group = tmp_path / "slurm" / "job_7"
    job_group.mkdir(parents=True)
    (job_group / "memory.limit_in_bytes").write_text("1000000\n")
    (tmp_path / "memory.limit_in_bytes").write_text(f"{(1 << 63) - 4096}\n")
    cgroup = tmp_path / "cgroup"
    cgroup.write_text("4:memory:/slurm/job_7/step_batch\n3:cpu:/\n")
    monkeypatch.setattr(node, "_CGROUPS", (str(tmp_path),))

    assert node.memory_limit(cgroup) == 1_000_000
    assert node.memory_limit(tmp_path / "none") is None


def test_what_a_training_finds(tmp_path, monkeypatch):
    monkeypatch.setenv("LD_AUDIT_X", "1")
    found = probe.look(str(tmp_path))

    assert found["packages"]["torch"]["error"] is None
    assert found["scratch"] is None
    assert found["variables"]["LD_AUDIT_X"] == "1"
    assert found["gpu"]["allocated"] == [] or found["gpu"]["visible"]


def test_what_a_training_misses(tmp_path, monkeypatch):
    """No torch, a GPU that nobody can see, no scratch: each is a line of the answer."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(probe, "_SHARED_MEMORY", str(tmp_path / "none"))
    found = probe.look(str(tmp_path / "nowhere"))

    assert "torch" in found["packages"]["torch"]["error"]
    assert found["gpu"]["error"]
    assert "No such file" in found["scratch"]
    assert found["shared_memory"] is None


@pytest.mark.usefixtures("slurm")
def test_what_is_proposed_without_a_node(tmp_path, capsys, monkeypatch):
    """The default partition and its time, one GPU, the only account; valid as it is."""
    monkeypatch.setenv("PROBPREC_DATA", str(tmp_path))
    path = tmp_path / "proposed.yaml"
    assert cli.main(["doctor", "--write", str(path)]) == 0

    profile = read_profile(path)
    assert profile.resources == Resources(partition="day", time=3600, cpus=4, gpus=1, account="lab")
    assert (profile.data, profile.scratch, profile.image) == (tmp_path, None, None)
    assert "# scratch: /scratch/$USER " in path.read_text()
    assert "written to" in capsys.readouterr().out


def test_what_is_proposed_of_odd_clusters(tmp_path, monkeypatch):
    """No default, no limit, odd names, several accounts, modules: still valid YAML."""
    monkeypatch.setenv("MODULEPATH", "/modules")
    monkeypatch.setattr(runtime, "find", no_runtime)
    monkeypatch.delenv("PROBPREC_DATA", raising=False)
    kind = row("1e3", max_time="infinite", cpus="2", mem="10")
    accounts = [Association(account=name, partition="", qos="") for name in ("a", "b")]
    offer = controller.Offer(config={"ClusterName": "x"}, partitions=[kind], associations=accounts)
    bare = Profile(name="", engine="slurm")
    asked = Resources(partition="1e3", qos="y", mem_per_cpu=3072, gpus="a100:2", account="null")
    for number, profile in enumerate(
        [bare, dataclasses.replace(bare, name="n", resources=asked, setup=("a: b", "c"))]
    ):
        path = tmp_path / f"p{number}.yaml"
        proposal.write(path, profile, offer, None)
        found = read_profile(path)
        assert found.resources.time == 86400
    assert found.resources == dataclasses.replace(asked, time=86400, cpus=2)
    assert found.setup == ("a: b", "c")
    assert read_profile(tmp_path / "p0.yaml").setup == ("module load apptainer",)
    with pytest.raises(InputError, match="left as it is"):
        proposal.write(path, profile, offer, None)
    with pytest.raises(InputError, match=r"cannot be written: (File exists|Not a dir)"):
        proposal.write(path / "below.yaml", profile, offer, None)


FULL = Resources(
    time=90_000,
    mem_per_cpu=1500,
    cpus=64,
    gpus="a100:2",
    partition="day,night",
    account="1e3",
    qos="null",
    constraint="a100|h100",
    reservation="course",
    nodelist=("node1", "node[3,5]"),
    exclude=(),
    runs_per_task=4,
)
"""Each key that does not exclude another one."""


def test_what_a_profile_says_is_kept(tmp_path):
    """Every key of it: only its name and its file differ."""
    usual = Profile(name="x", engine="slurm")
    policy = dict(usual.policy) | {"oom": "stop", "timeout": "time"}
    full = Profile(
        name="x",
        engine="slurm",
        resources=FULL,
        threads=3,
        scratch="/scratch of $USER",
        data=tmp_path / "not: here",
        data_on_nodes=True,
        image=tmp_path / "recipe.yaml",
        stage_image=True,
        unstaged="fail",
        python="/opt/py 3/bin/python",
        setup=("a: 'b' # \"c\"", "echo ä\\n\x7f\u2028"),
        environment={"null": "no", "LIST": "[1, 2]", "LINES": "1\n2 "},
        job_name="true",
        mail_type="END,FAIL",
        mail_user="me@example.org",
        throttle=5,
        limits=Limits(max_submit=7),
        signal_lead=100,
        checkpoint_every=90_061,
        max_attempts=2,
        policy=policy,
        options={"exclusive": True, "nice": 5, "deadline": "01:00:00", "licenses": "a:1"},
        source=tmp_path / "x.yaml",
    )
    names = {field.name for field in dataclasses.fields(Profile)} - {"name", "engine"}
    assert [name for name in names if getattr(full, name) == getattr(usual, name)] == []
    others = dataclasses.replace(FULL, mem_per_cpu=None, gpus=None, mem=2048, gres="5")
    offers = [controller.Offer()]
    for number in (1, 2):  # one account to be proposed, or several
        one = Association(account="a", partition="", qos="")
        accounts = [dataclasses.replace(one, account=f"a{index}") for index in range(number)]
        rows = [row("day", gres="gpu:4"), row("gpu", cpus="2")]
        offers.append(controller.Offer(partitions=rows, associations=accounts))
    for number, offer in enumerate(offers):
        for asked in (FULL, others, dataclasses.replace(FULL, gpus=0)):
            path = tmp_path / f"{number}.yaml"
            path.unlink(missing_ok=True)
            profile = dataclasses.replace(full, resources=asked)
            proposal.write(path, profile, offer, None)
            expected = dataclasses.replace(profile, name=path.stem, source=path)
            assert read_profile(path) == expected


def row(name, **changes):
    """A kind of nodes of a partition."""
    usual = {"is_default": False, "availability": "up", "max_time": "1:00:00"}
    usual |= {"default_time": "n/a", "nodes": "1", "idle": "1", "cpus": "16", "mem": "9000"}
    return NodeKind(partition=name, **usual | {"gres": "(null)"} | changes)


@pytest.mark.parametrize(
    ("partition", "seconds", "cpus"),
    [("a,b", 1800, 4), ("b", 1800, 2), ("endless", 86_400, 4), ("nowhere", 86_400, None)],
)
def test_what_is_proposed_for_a_partition(tmp_path, partition, seconds, cpus):
    """Of several the shortest time; of none that is known no CPUs; what is beyond a year is no limit."""
    rows = [
        row("a"),
        row("b", cpus="2", max_time="30:00"),
        row("endless", max_time="10000-00:00:00"),
    ]
    path = tmp_path / "p.yaml"
    profile = Profile(name="x", engine="slurm", resources=Resources(partition=partition))
    proposal.write(path, profile, controller.Offer(partitions=rows), None)

    expected = Resources(partition=partition, time=seconds, cpus=cpus)
    assert read_profile(path).resources == expected


def test_a_profile_of_this_machine_stays_one(slurm, tmp_path, capsys):
    path = tmp_path / "p.yaml"
    assert cli.main(["doctor", "--on", "local", "--write", str(path)]) == 0

    profile = read_profile(path)
    assert (profile.engine, profile.threads, profile.resources) == ("local", 1, Resources())
    assert "written to" in capsys.readouterr().out
    assert not slurm.calls("scontrol")


def built(folder, name, when):
    """An image as a build leaves it."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-0123456789ab.sif"
    path.write_text(name)
    meta = {"schema": SCHEMA, "size": path.stat().st_size, "name": name, "built": when}
    path.with_suffix(".json").write_text(json.dumps(meta | {"key": "0" * 64, "sha256": "1" * 64}))
    return path


@pytest.mark.usefixtures("slurm")
@pytest.mark.parametrize("variable", [None, "elsewhere"])
def test_the_newest_image_is_proposed(tmp_path, monkeypatch, capsys, make, variable):
    """Unless a profile does without one; of the folder that `build` fills."""
    monkeypatch.delenv("PROBPREC_IMAGES", raising=False)
    if variable:
        monkeypatch.setenv("PROBPREC_IMAGES", variable)
    folder = tmp_path / (variable or "images")
    built(folder, "old", 1.0)
    newest = built(folder, "a-new", 3.0)
    built(folder, "z-old", 2.0)
    (folder / "torn-0123456789ab.sif").touch()

    assert cli.main(["doctor", "--write", "p.yaml"]) == 0
    assert read_profile(Path("p.yaml")).image == newest
    assert cli.main(["doctor", "--on", str(make()), "--write", "q.yaml"]) == 0
    assert read_profile(Path("q.yaml")).image is None
    assert f"# image: {newest}" in Path("q.yaml").read_text()
    assert capsys.readouterr().out
    with monkeypatch.context() as patch:
        patch.setattr(Images, "all", forbidden)
        assert proposal._image(Profile(name="", engine="slurm"))[0].startswith("# image: /PATH")


def forbidden(_):
    raise PermissionError(13, "Permission denied")


def test_a_scratch_that_a_node_cannot_use_stays_with_a_word():
    """What the profile says is kept; what is usable there stands beside it."""
    good = {"template": "/l/$USER", "free": 1 << 40, "shared": False}
    bad = {"template": "/s", "path": "/s", "error": "No space"}
    profile = Profile(name="x", engine="slurm", scratch="/s")
    [line] = proposal._scratch(profile, {"candidates": [good], "scratch": bad})

    assert line == "scratch: /s   # no disk of the node's own with room; but: /l/$USER"
    assert proposal._scratch(profile, None) == ["scratch: /s"]


def test_candidates_for_scratch():
    """Local, and with room."""
    good = {"template": "/l/$USER", "free": 1 << 40, "shared": False}
    assert judge.is_usable(good)
    assert not judge.is_usable({**good, "shared": True})
    assert not judge.is_usable({**good, "free": 10})
    assert not judge.is_usable({"template": "x", "error": "no"})
    lines_of = proposal._scratch(
        Profile(name="", engine="slurm"), {"candidates": [good], "scratch": None}
    )
    assert lines_of[0].startswith("scratch: /l/$USER ")


def test_a_path_that_a_node_saw_is_confirmed():
    place = Check(group="Image", name="place", state="note", found="/x", advice="look")
    seen = Check(group="Node", name="image", state="ok", found="")

    def confirmed(one):
        return command._confirmed(place, [one], in_image=True)

    assert confirmed(seen).state == "ok"
    assert confirmed(dataclasses.replace(seen, state="problem")) == place


@pytest.mark.parametrize(
    ("name", "by_node", "in_image", "said"),
    [
        ("runtime", "runtime", False, "has one"),
        ("exec", "training", True, "can"),
        ("privileges", "training", True, "can"),
        ("runtime", "training", True, None),
        ("exec", "runtime", True, None),
        ("privileges", "training", False, None),  # the node has trained without an image
    ],
)
def test_what_only_nodes_can_is_no_problem(name, by_node, in_image, said):
    here = Check(group="Container", name=name, state="problem", found="no", advice="ask")
    there = Check(group="Node", name=by_node, state="ok", found="")
    found = command._confirmed(here, [there], in_image=in_image)

    if said is None:
        assert found == here
    else:
        assert (found.state, found.found) == ("note", f"no; the node {said}")
        assert found.advice == "images have to be built there, or elsewhere"
    failed = dataclasses.replace(there, state="problem")
    assert command._confirmed(here, [failed], in_image=in_image) == here


@pytest.mark.parametrize(("works", "error"), [(True, None), (False, "GPU 0 is visible but not")])
def test_a_gpu_is_used_once(monkeypatch, works, error):
    """Visible is not enough: a kernel has to run."""

    def ones(*_, **__):
        if not works:
            raise RuntimeError("CUDA error: no kernel image\nmore")
        return types.SimpleNamespace(sum=lambda: types.SimpleNamespace(item=lambda: 2.0))

    cuda = types.SimpleNamespace(
        is_available=lambda: True, device_count=lambda: 1, get_device_name=lambda _: "A100"
    )
    torch = types.SimpleNamespace(
        cuda=cuda, ones=ones, version=types.SimpleNamespace(cuda="12.6"), __version__="2.9"
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    found = probe._gpu()

    assert (found["visible"], found["built_for"]) == (["A100"], "12.6")
    assert found["error"] is None if works else error in found["error"]


def test_what_a_training_finds_is_one_line(monkeypatch, capsys):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert probe.main([]) == 0
    assert json.loads(capsys.readouterr().out)["scratch"] is None


def test_a_python_that_does_not_start(tmp_path):
    """What it said last is the error; a killed one is told apart."""
    profile = Profile(name="x", engine="slurm")
    for script, text in (
        ("echo oh no >&2; exit 4", "exit code 4: oh no"),
        ("kill -9 $$", "memory"),
    ):
        started = node.command.Command(arguments=("/bin/sh", "-c", script), environment={})
        with pytest.raises(ValueError, match=text):
            node._answer(tmp_path, started, profile)


def test_a_recipe_that_was_never_built(slurm, make, capsys, tmp_path):
    """The profile may name the recipe; without its image that is the problem, and the build the advice."""
    recipe = tmp_path / "own.yaml"
    recipe.write_text("base: {localimage: tree}\n")
    (tmp_path / "tree").mkdir()
    assert slurm
    code, report = doctor(capsys, "--on", str(make(f"image: {recipe}\n")))
    (line,) = lines(report, "Image")

    assert code == 1
    assert "has not been built" in line["found"]
    assert line["advice"] == f"probprec build {recipe}"
    doctor(capsys, "--on", str(tmp_path / "here.yaml"), "--write", "kept.yaml")
    assert read_profile(Path("kept.yaml")).image == recipe
