"""The lab: a real Slurm that comes up, can be hurt, and goes away without a trace."""

import contextlib
import json
import os
import pwd
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from cluster.lab import Lab, Settings, cgroups, command, conf, daemons, mounts, processes
from jobs.errors import InputError
from tests.helpers import wait_for

# Slurm's packages are part of the development install: without them these tests fail.
pytestmark = pytest.mark.slurm
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="mounting takes root")
QUICK = Settings(kill_wait=2, grace_time=1, node_timeout=5)


@contextlib.contextmanager
def in_folder():
    """A folder for a lab, with a short path; whatever happens, nothing of it is left."""
    parent = Path(tempfile.mkdtemp(prefix="lab-", dir="/tmp"))
    parent.chmod(0o755)
    try:
        yield parent / "lab"
    finally:
        Lab(parent / "lab").down()
        shutil.rmtree(parent)


@pytest.fixture
def folder():
    with in_folder() as path:
        yield path


@pytest.fixture(scope="module")
def hurt():
    """A lab that is hurt; all tests of `scripts/test --all` that do so share it."""
    with in_folder() as path:
        lab = Lab(path)
        lab.up(QUICK)
        yield lab


@pytest.fixture
def shared(lab):
    """The lab of all tests, which these leave as it was."""
    return lab


def submit(lab, script, *options):
    """Submit a script of bash; the job's id."""
    path = Path(tempfile.mkstemp(dir=lab.folder, suffix=".sh")[1])
    path.write_text(f"#!/bin/bash\n{script}\n")
    chosen = ["--parsable", "--chdir=/", "--output=/dev/null", "--mem=100", *options]
    return lab.run("sbatch", *chosen, str(path)).stdout.strip()


def wait_lines(path, count):
    """Wait until a file has so many lines; they."""

    def lines():
        found = path.read_text().splitlines() if path.exists() else []
        return found if len(found) >= count else []

    return wait_for(lines, what=f"{count} lines in {path.name}")


def naming(folder):
    """The processes whose command line or environment names a folder, us left out."""
    found = []
    for one in processes.everything():
        with contextlib.suppress(OSError):
            proc = Path(f"/proc/{one.process.pid}")
            text = (proc / "environ").read_bytes() + (proc / "cmdline").read_bytes()
            if str(folder).encode() in text and one.process.pid != os.getpid():
                found.append(one)
    return [one for one in found if one.state != "Z"]


def assert_no_trace(folder):
    assert naming(folder) == []
    assert str(folder) not in Path("/proc/self/mountinfo").read_text()
    assert not folder.exists()


def test_up_and_down(folder):
    lab = Lab(folder)
    lab.up(QUICK)
    job = submit(lab, "setsid sleep 1000 & sleep 1000")
    lab.wait_for(job, "RUNNING")

    status = lab.status()

    assert lab.is_up()
    assert status["nodes"].keys() == {"node1", "node2"}
    assert all(daemon["alive"] for daemon in status["daemons"].values())
    assert len(naming(folder)) > 5
    jobs = conf.job_ids(lab.place)
    with pytest.raises(InputError, match="up already"):
        lab.up(QUICK)

    lab.down()
    lab.down()

    assert not lab.is_up()
    assert_no_trace(folder)
    groups = (path.name for path in cgroups.ROOT.glob("*/slurm_node*/uid_*/job_*"))
    assert not [name for name in groups if int(name.removeprefix("job_")) in jobs]


def test_two_labs_side_by_side(shared, folder):
    """They share no port, no key, no job id; the end of one does not touch the other."""
    other = Lab(folder)
    other.up(Settings(nodes=1, gpus=0))
    job = submit(shared, "sleep 1000")
    shared.wait_for(job, "RUNNING")

    assert other.run("squeue", "--noheader").stdout == ""
    wrong_key = other.run("munge", "-n", "-S", str(other.place.munge_socket)).stdout
    (folder / "credential").write_text(wrong_key)
    heard = shared.run(
        "unmunge",
        f"--socket={shared.place.munge_socket}",
        f"--input={folder}/credential",
        check=False,
    )
    assert heard.returncode != 0

    other.down()

    assert_no_trace(folder)
    assert shared.job(job)["JobState"] == "RUNNING"
    shared.run("scancel", job)


def test_an_array_uses_both_nodes(shared):
    out = shared.folder / "array"
    submit(
        shared,
        f'echo "$SLURMD_NODENAME $SLURM_ARRAY_TASK_ID" >>{out}; sleep 5',
        "--array=1-4",
        f"--cpus-per-task={shared.settings.cpus // 2}",
        "--exclude=node[3-11]",
    )

    lines = [line.split() for line in wait_lines(out, 4)]

    assert {node for node, _ in lines} == {"node1", "node2"}
    assert {task for _, task in lines} == {"1", "2", "3", "4"}


def test_a_gpu_is_scheduled(shared):
    """Two on a node: the third job waits, or goes to the other node."""
    out = shared.folder / "gpus"
    submit(
        shared,
        f'echo "$CUDA_VISIBLE_DEVICES" >>{out}; sleep 5',
        "--gpus-per-node=gtx1080ti:1",
        "--nodelist=node1",
        "--array=1-3",
    )

    devices = wait_lines(out, 3)

    assert set(devices[:2]) == {"0", "1"}
    assert devices[2] in {"0", "1"}


@pytest.mark.nightly  # the kill matrix stands on it
def test_requeue_and_start_now(hurt):
    """TERM, KILL after KillWait, and the next start at once instead of in two minutes."""
    out = hurt.folder / "requeued"
    script = f"""
        trap 'echo TERM >>{out}' TERM
        echo "start $SLURM_RESTART_COUNT" >>{out}
        while true; do sleep 0.1; done"""
    job = submit(hurt, script, "--requeue")
    wait_lines(out, 1)

    hurt.requeue(job)
    hurt.start_now(job)

    assert wait_lines(out, 3) == ["start ", "TERM", "start 1"]
    assert hurt.job(job)["Restarts"] == "1"
    hurt.run("scancel", job)


@pytest.mark.nightly  # the kill matrix stands on it
def test_preempt(hurt):
    """The job gets its signal at once, is killed after its grace, and starts again."""
    out = hurt.folder / "preempted"
    script = f"""
        trap 'echo USR2 >>{out}' USR2
        trap 'echo TERM >>{out}' TERM
        echo "start $SLURM_RESTART_COUNT" >>{out}
        while true; do sleep 0.1; done"""
    asked = ["--partition=preemptible", "--requeue", "--signal=B:USR2@30", "--nodelist=node2"]
    job = submit(hurt, script, *asked)
    wait_lines(out, 1)

    urgent = hurt.preempt(["node2"], seconds=1)

    assert wait_lines(out, 2) == ["start ", "USR2"]
    # Slurm looks every 30 s whether a grace is over.
    hurt.wait_for(urgent, "RUNNING", "COMPLETED", seconds=120)
    hurt.start_now(job)
    assert wait_lines(out, 4) == ["start ", "USR2", "TERM", "start 1"]
    hurt.run("scancel", job)


@pytest.mark.nightly  # the kill matrix stands on it
def test_a_node_dies_and_comes_back(hurt):
    """Its jobs are requeued; what they started may live on beside the next attempt."""
    out = hurt.folder / "dead"
    job = submit(
        hurt,
        f'echo "start $SLURMD_NODENAME $$" >>{out}; exec sleep 1000',
        "--requeue",
        "--nodelist=node1",
    )
    [first] = wait_lines(out, 1)
    orphan = processes.stat(int(first.split()[2]))

    hurt.kill("slurmd:node1", with_steps=True)
    hurt.wait_for(job, "PENDING", seconds=40)

    assert not hurt.status()["daemons"]["slurmd:node1"]["alive"]
    assert hurt.status()["nodes"]["node1"].startswith("down")
    assert processes.is_alive(orphan.process)
    assert orphan.process in hurt.orphans()

    hurt.restart("slurmd:node1")
    hurt.start_now(job)

    assert len(wait_lines(out, 2)) == 2
    assert hurt.status()["daemons"]["slurmd:node1"]["alive"]
    hurt.run("scancel", job)
    processes.send(orphan.process, signal.SIGKILL)


@pytest.mark.nightly  # the kill matrix stands on it
def test_the_controller_dies_and_comes_back(hurt):
    """Running jobs do not notice, if it had written down that they run."""
    job = submit(hurt, "sleep 1000")
    hurt.wait_for(job, "RUNNING")
    hurt.save_state()

    hurt.kill("slurmctld")
    assert hurt.status()["nodes"] == {}
    hurt.restart("slurmctld")

    assert hurt.job(job)["JobState"] == "RUNNING"
    wait_for(lambda: "unknown" not in " ".join(hurt.status()["nodes"].values()))
    hurt.run("scancel", job)
    with pytest.raises(InputError, match="no daemon 'slurmdbd'"):
        hurt.kill("slurmdbd")


def test_drain_and_resume(shared):
    shared.drain("node2", "a reason")
    assert shared.status()["nodes"]["node2"].startswith("drain")
    assert "a reason" in shared.run("sinfo", "--list-reasons").stdout

    shared.resume("node2")
    assert not shared.status()["nodes"]["node2"].startswith("drain")


@needs_root
def test_scratch_is_filled_to_the_last_byte(shared):
    filler = shared.fill_scratch()
    with pytest.raises(OSError, match="No space left"):
        (shared.scratch / "more").write_bytes(b"x" * 4096)

    shared.free_scratch()

    (shared.scratch / "more").write_bytes(b"x" * 4096)
    assert not filler.exists()


def test_without_a_file_system_of_its_own_scratch_is_not_filled(shared, monkeypatch):
    monkeypatch.setattr(mounts, "is_mounted", lambda _: False)

    with pytest.raises(InputError, match="ordinary folder"):
        shared.fill_scratch()


def test_the_environment_names_this_slurm_alone(shared, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SBATCH_PARTITION", "another")
    monkeypatch.setenv("UNTOUCHED", "1")

    environment = shared.environment()

    assert environment["SLURM_CONF"] == str(shared.conf)
    assert environment["UNTOUCHED"] == "1"
    assert not {"SLURM_JOB_ID", "SBATCH_PARTITION"} & set(environment)


def test_accounting_and_cap(folder):
    """`sacct` knows the job, the cap rejects what is too much, and nothing of it is accepted."""
    lab = Lab(folder)
    lab.up(Settings(nodes=1, accounting=True, max_submit=3, max_array_size=11))
    job = submit(lab, "exit 3")
    lab.wait_for(job, "FAILED")

    refused = lab.run("sbatch", "--array=1-4", "--wrap=true", check=False)
    too_large = lab.run("sbatch", "--array=11", "--wrap=true", check=False)
    asked = ("sacct", "-nPX", "-j", job, "--format=State,ExitCode")
    wait_for(lambda: lab.run(*asked).stdout == "FAILED|3:0\n", what="sacct knows it")

    assert refused.returncode == 1
    assert "QOSMaxSubmitJobPerUserLimit" in refused.stderr
    assert "Job violates accounting/QOS policy" in refused.stderr
    assert "Invalid job array specification" in too_large.stderr
    assert lab.run("squeue", "--noheader").stdout == ""

    lab.kill("slurmdbd")
    assert lab.run("sacct", check=False).returncode != 0
    lab.restart("slurmdbd")
    lab.run("sacct")
    lab.down()
    assert_no_trace(folder)


def test_down_after_everything_was_killed(folder):
    """Also what hides: in its own session, without environment, its slurmstepd gone."""
    lab = Lab(folder)
    lab.up(Settings(nodes=1))
    out = folder / "pid"
    script = f"env -i setsid bash -c 'echo $$ >{out}; exec sleep 1000' & sleep 1000"
    submit(lab, script)
    [pid] = wait_lines(out, 1)
    hidden = processes.stat(int(pid)).process
    lab.kill("slurmd:node1", with_steps=True)
    for daemon in lab.status()["daemons"]:
        lab.kill(daemon)

    assert not lab.is_up()
    assert processes.is_alive(hidden)
    lab.up(Settings(nodes=1, gpus=0))  # the dead one makes room

    assert not processes.is_alive(hidden)
    lab.down()
    assert_no_trace(folder)


def test_a_start_that_fails_leaves_nothing(folder, monkeypatch):
    good = conf.slurm_conf
    monkeypatch.setattr(conf, "slurm_conf", lambda *a, **k: good(*a, **k) + "Nonsense=1\n")

    with pytest.raises(RuntimeError, match=r"slurmctld did not start:[\s\S]*Nonsense"):
        Lab(folder).up(QUICK)

    assert_no_trace(folder)


def test_what_is_no_lab_is_left_alone(folder):
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")

    for change in (Lab(folder).down, lambda: Lab(folder).up(QUICK)):
        with pytest.raises(InputError, match="no lab"):
            change()

    assert (folder / "thesis.tex").read_text() == "years of work"
    (folder / "thesis.tex").unlink()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"nodes": 0}, "nodes is 0"),
        ({"max_submit": 5}, "needs accounting"),
        ({"accounting": True, "max_submit": 0}, "max_submit is 0"),
        ({"nodes": 65, "cpus": 0}, "cpus is 0.*nodes is 65"),
    ],
)
def test_settings_that_make_no_sense(folder, settings, says):
    with pytest.raises(InputError, match=says):
        Lab(folder).up(Settings(**settings))


@pytest.mark.parametrize("name", ["with space", "a%n", "x" * 80])
def test_folders_that_slurm_cannot_use(name):
    with pytest.raises(InputError, match="lab: /tmp/"):
        Lab(Path("/tmp") / name)


def test_missing_packages_are_named(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(daemons, "SYSTEM_PATH", str(tmp_path))

    with pytest.raises(InputError, match=r"apt-get install.* munge slurm-wlm"):
        Lab(folder).up(QUICK)
    with pytest.raises(InputError, match="mariadb-server munge slurm-wlm slurmdbd"):
        Lab(folder).up(Settings(accounting=True))


def test_the_commands(folder, capfd):
    assert command.down(folder) == 0
    with pytest.raises(InputError, match="there is none"):
        command.status(folder)
    with pytest.raises(InputError, match="there is none"):
        command.exec_(folder, ["true"])
    with pytest.raises(InputError, match="none is up"):
        command.fault(folder, "drain", ["node1"])
    capfd.readouterr()

    assert command.up(Settings(nodes=1), folder) == 0
    assert "probprec lab exec -- squeue" in capfd.readouterr().out
    assert command.exec_(folder, ["scontrol", "ping"]) == 0
    assert "is UP" in capfd.readouterr().out
    assert command.exec_(folder, ["sh", "-c", "exit 7"]) == 7
    assert command.exec_(folder, ["sh", "-c", "kill -9 $$"]) == 137
    with pytest.raises(InputError, match="not found"):
        command.exec_(folder, ["no-such-command"])
    with pytest.raises(InputError, match="no command"):
        command.exec_(folder, [])

    assert command.fault(folder, "kill", ["slurmd:node1", "STOP"]) == 0
    assert command.fault(folder, "kill", ["slurmd:node1", "SIGKILL", "with-steps"]) == 0
    capfd.readouterr()
    assert command.status(folder, as_json=True) == 1
    assert not json.loads(capfd.readouterr().out)["daemons"]["slurmd:node1"]["alive"]
    assert command.fault(folder, "restart", ["slurmd:node1"]) == 0
    assert command.status(folder) == 0
    assert "slurmd:node1" in capfd.readouterr().out
    for name, arguments in (
        ("kill", []),
        ("kill", ["slurmctld", "NONSENSE"]),
        ("preempt", ["soon"]),
        ("drain", ["node9"]),
        ("explode", []),
    ):
        with pytest.raises(InputError, match="lab: "):
            command.fault(folder, name, arguments)

    assert command.down(folder) == 0
    assert_no_trace(folder)


def as_user(name, function):
    """Run a function as another user, in a child; its exit code, 0 if it returned."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        entry = pwd.getpwnam(name)
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
        function()
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it is: it must not go on as a second pytest
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


@pytest.mark.skipif(os.getuid() != 0, reason="all other tests are by an ordinary user, then")
def test_an_ordinary_user_has_a_lab(folder):
    """All of it, accounting too, without root: a job runs, and nothing is left."""
    folder.parent.chmod(0o777)
    lab = Lab(folder)

    def try_it():
        lab.up(Settings(nodes=2, accounting=True, max_submit=50))
        out = folder / "out"
        submit(lab, f'echo "$(id -un) $CUDA_VISIBLE_DEVICES" >>{out}', "--gpus-per-node=1")
        assert wait_lines(out, 1) == ["nobody 0"]
        with pytest.raises(InputError, match="takes root"):
            lab.fill_scratch()
        with pytest.raises(InputError, match="need root"):
            Lab(folder.parent / "b").up(Settings(cgroups=True))
        lab.down()

    assert as_user("nobody", try_it) == 0
    assert_no_trace(folder)


@needs_root
def test_others_may_use_a_lab_that_root_runs(folder):
    folder.parent.chmod(0o755)
    lab = Lab(folder)
    lab.up(Settings(nodes=1, gpus=0))
    out = lab.scratch / "other"

    def try_it():
        job = lab.run(
            "sbatch", "--parsable", "--chdir=/", "--output=/dev/null", f"--wrap=id -un >{out}"
        )
        assert job.returncode == 0

    assert as_user("nobody", try_it) == 0
    assert wait_lines(out, 1) == ["nobody"]


@needs_root
def test_a_folder_of_somebody_else_is_refused(folder):
    folder.mkdir()
    os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)

    with pytest.raises(InputError, match="somebody else"):
        Lab(folder).up(QUICK)


FIRST_THREAD_ENDS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).pthread_exit(None)
"""


def test_a_process_is_alive_as_long_as_one_of_its_threads():
    with subprocess.Popen([sys.executable, "-c", FIRST_THREAD_ENDS]) as ours:
        state = wait_for(lambda: (found := processes.stat(ours.pid)).state == "Z" and found)
        assert processes.is_alive(state.process)
        assert processes.send(state.process, signal.SIGKILL)
        assert not processes.wait_gone([state.process], 10)
        assert not processes.is_alive(state.process)
        assert not processes.send(state.process, signal.SIGKILL)


def test_a_pid_that_is_now_a_threads_is_no_process():
    """Pids come again; what is opened by one then says that there is none, in words of its own."""
    pids: queue.Queue[int] = queue.Queue()
    done = threading.Event()
    thread = threading.Thread(target=lambda: (pids.put(threading.get_native_id()), done.wait()))
    thread.start()
    found = processes.Process(pid=pids.get(), start=0)
    assert not processes.is_alive(found)
    assert not processes.send(found, signal.SIGKILL)
    done.set()
    thread.join()
