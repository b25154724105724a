"""Runs inside of the shipped image, on this machine: real Apptainer, real training."""

import contextlib
import json
import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from containers import command, runtime
from containers.command import Container
from jobs.store.attempts import RunFolder
from jobs.store.store import Store
from tests.apptainer import POISON, poison, records, science
from tests.case import ends, payloads
from tests.helpers import probprec, wait_for

pytestmark = pytest.mark.apptainer

SPEC = """\
problems: [digits_mlp]
optimizers:
  SGD: {lr: 0.05}
  Adam: {lr: 1e-3}
  PreconditionedSGD: {}
seeds: 42
epochs: 2
"""

# An optimizer that writes down what it can see, and what it may write to.
LOOKS = """
import json, os, sys
from pathlib import Path

import torch

def may_write(folder):
    try:
        Path(folder, "intruder").touch()
    except OSError:
        return False
    Path(folder, "intruder").unlink()
    return True

class Looks(torch.optim.SGD):
    def __init__(self, params, lr=0.01):
        super().__init__(params, lr=lr)
        code = Path(os.environ["PYTHONPATH"].split(":")[0])
        Path("seen.json").write_text(json.dumps({
            "variables": dict(os.environ),
            "home": Path(HOME).is_dir() and os.listdir(HOME),
            "cwd": os.getcwd(),
            "code": os.access(code, os.W_OK),
            "secret": Path(HIDDEN).exists(),
            "attempt": may_write("."),
            "tmp": may_write(os.environ.get("TMPDIR", "/tmp")),
            "pids": [name for name in os.listdir("/proc") if name.isdecimal()],
        }))
"""

FAULTS = """
import os, signal, time
import torch

class Faulty(torch.optim.SGD):
    def __init__(self, params):
        super().__init__(params, lr=0.01)

class Exits(Faulty):
    def step(self, closure=None):
        os._exit(3)

class Segfaults(Faulty):
    def step(self, closure=None):
        os.kill(os.getpid(), signal.SIGSEGV)

class Killed(Faulty):
    def step(self, closure=None):
        os.kill(os.getpid(), signal.SIGKILL)

class Crawls(Faulty):
    def step(self, closure=None):
        time.sleep(0.1)
        return super().step(closure)
"""


def write_profile(folder: Path, image: Path, more: str = "") -> Path:
    path = folder / "boxed.yaml"
    path.write_text(f"engine: local\nthreads: 1\nimage: {image}\n{more}")
    return path


def run(folder: Path, image: Path, spec: str, *, more="", check=0, environment=None, arguments=()):
    (folder / "boxed-runs.yaml").write_text(spec)
    profile = write_profile(folder, image, more)
    probprec(
        *("run", "boxed-runs.yaml", "--on", profile, "--workers", "1", *arguments),
        cwd=folder,
        check=check,
        environment=environment,
    )
    return Store(folder / "sweeps" / "boxed-runs")


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """The records of the spec's runs on this machine, without an image."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "plain.yaml").write_text(SPEC)
    probprec("run", "plain.yaml", cwd=folder)
    return records(folder / "sweeps" / "plain")


def test_a_run_in_the_image_is_that_of_this_machine(tmp_path, image, outside):
    """Bit for bit: the versions are the same, and that is checked as well."""
    inside = records(run(tmp_path, image, SPEC).root)

    assert inside.keys() == outside.keys()
    for name, found in inside.items():
        ours, theirs = found["provenance"], outside[name]["provenance"]
        assert {key: ours[key] for key in ("torch", "numpy", "code")} == {
            key: theirs[key] for key in ("torch", "numpy", "code")
        }
        assert science(found) == science(outside[name])
        assert ours["image"]["path"] == str(image)
        assert len(ours["image"]["sha256"]) == 64
        assert theirs["image"] is None


def looks(folder, image, **more):
    """What an optimizer sees from inside, and the record's hash of its environment."""
    hidden = folder / "secret.txt"
    hidden.write_text("not for the container")
    (folder / "looks.py").write_text(
        LOOKS.replace("HIDDEN", repr(str(hidden))).replace("HOME", repr(str(Path.home())))
    )
    spec = (
        'problems: [digits_mlp]\noptimizers: {L: {optimizer: "looks:Looks"}}\nseeds: 1\nepochs: 1\n'
    )
    store = run(folder, image, spec, **more)
    (seen,) = store.root.glob("runs/*/attempts/0001/seen.json")
    (record,) = records(store.root).values()
    return json.loads(seen.read_text()), record["provenance"]["environment"]


def test_what_a_run_sees(tmp_path, image, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "secret")
    monkeypatch.setenv("MINE", "of the shell")
    seen, _ = looks(tmp_path, image, more='environment: {MINE: "seen, with a comma"}\n')

    assert not seen["secret"], "what is not bound is not there, /tmp neither"
    assert not set(seen["home"] or ()) - {".bashrc", ".profile"}, "the image's own, if any"
    assert not seen["code"]
    assert seen["attempt"]
    assert seen["tmp"]
    assert seen["cwd"].endswith("attempts/0001")
    assert len(seen["pids"]) < 10, "the processes of the machine are not there"
    assert "MY_TOKEN" not in seen["variables"]
    assert seen["variables"]["MINE"] == "seen, with a comma"
    assert seen["variables"]["OMP_NUM_THREADS"] == "1"
    assert seen["variables"]["CUDA_VISIBLE_DEVICES"] == ""


READS = """
import torch
from pathlib import Path

class Reads(torch.optim.SGD):
    def __init__(self, params):
        super().__init__(params, lr=0.01)
        there = {path.name: path.read_text() for path in sorted(Path(DATA).iterdir())}
        Path("read.txt").write_text(repr(there))
"""


def test_links_in_the_data_are_followed(tmp_path, image):
    """To files that are named nowhere else: relative, absolute, and over two hops."""
    data, blobs, hops = (tmp_path / name for name in ("sets/mnist", "blobs/deep", "hops"))
    for folder in (data, blobs, hops):
        folder.mkdir(parents=True)
    for name in ("one", "two", "three", "hidden"):
        (blobs / name).write_text(name)
    (hops / "three").symlink_to("../blobs/deep/three")
    (data / "absolute").symlink_to(blobs / "one")
    (data / "relative").symlink_to("../../blobs/deep/two")
    (data / "hops").symlink_to("../../hops/three")
    (tmp_path / "reads.py").write_text(
        READS.replace("DATA", repr(str(data)))
        + f"        assert not Path({str(blobs)!r}, 'hidden').exists()\n"
    )
    store = run(
        tmp_path,
        image,
        f'data: {data}\nproblems: [digits_mlp]\noptimizers: {{R: {{optimizer: "reads:Reads"}}}}\n'
        "seeds: 1\nepochs: 1\n",
    )

    (read,) = store.root.glob("runs/*/attempts/0001/read.txt")
    assert read.read_text() == repr({"absolute": "one", "hops": "three", "relative": "two"})


def test_a_poisoned_shell_changes_nothing(tmp_path, image):
    """Fifty variables that break Python, CUDA or Apptainer; the environment's hash is the same."""
    for name in ("clean", "poisoned"):
        (tmp_path / name).mkdir()
    _, clean = looks(tmp_path / "clean", image)
    seen, poisoned = looks(tmp_path / "poisoned", image, environment=poison(tmp_path))

    assert len(POISON) >= 50
    assert poisoned == clean
    mine = {"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LANG", "PYTHONPATH"}
    for name in POISON.keys() - mine:
        assert seen["variables"].get(name) != poison(tmp_path)[name], name


@pytest.mark.parametrize(
    ("optimizer", "failure", "message"),
    [
        ("Exits", "exception", "exit code 3"),
        ("Segfaults", "exception", "SIGSEGV"),
        ("Killed", "killed", "SIGKILL"),
    ],
)
def test_exit_codes_and_signals_come_through(tmp_path, image, optimizer, failure, message):
    (tmp_path / "faults.py").write_text(FAULTS)
    spec = f'problems: [digits_mlp]\noptimizers: {{F: {{optimizer: "faults:{optimizer}"}}}}\nseeds: 1\nepochs: 1\n'
    store = run(tmp_path, image, spec, check=1)
    (folder,) = store.folders()

    assert ends(store, folder.id)[-1]["failure"] == failure
    assert message in ends(store, folder.id)[-1]["message"]


def test_what_cannot_be_started_is_a_fault_of_the_image(tmp_path, image):
    wrong = tmp_path / "wrong.sif"
    wrong.write_bytes(b"this is no image")
    store = run(tmp_path, wrong, SPEC, check=1, arguments=("--only", "optimizer=SGD"))
    (folder,) = store.folders()

    assert ends(store, folder.id)[-1]["failure"] == "image"
    assert "log" in ends(store, folder.id)[-1]["message"]
    assert "FATAL" in folder.attempt(1).log_file.read_text()

    store = run(
        tmp_path,
        image,
        SPEC,
        check=1,
        more="python: /no/such/python\n",
        arguments=("--only", "optimizer=Adam"),
    )
    assert {ends(store, folder.id)[-1]["failure"] for folder in store.folders()} == {"image"}


def test_a_gpu_that_is_none_is_refused_inside(tmp_path, image, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    more = "resources: {gpus: 1}\n"
    store = run(tmp_path, image, SPEC, check=1, more=more, arguments=("--only", "optimizer=SGD"))
    (folder,) = store.folders()
    end = ends(store, folder.id)[-1]

    assert end["failure"] == "gpu_missing"
    assert "1 GPUs allocated, none visible" in end["message"]
    assert "driver not loaded" in end["message"]
    assert os.uname().nodename in end["message"]


@pytest.fixture
def crawling(tmp_path, image):
    """A run in the image that takes its time: the command, and the run's folder."""
    (tmp_path / "faults.py").write_text(FAULTS)
    (tmp_path / "crawl.yaml").write_text(
        'problems: [digits_mlp]\noptimizers: {F: {optimizer: "faults:Crawls"}}\nseeds: 1\nepochs: 4\n'
    )
    profile = write_profile(tmp_path, image, "checkpoint_every: 1s\n")
    words = ["submit", "crawl.yaml", "--on", str(profile), "--workers", "1"]
    probprec(*words, cwd=tmp_path)
    store = Store(tmp_path / "sweeps" / "crawl")
    (folder,) = (
        store.folders() if list(store.folders()) else wait_for(lambda: list(store.folders()))
    )
    wait_for(lambda: folder.attempt(1).has_checkpoint(), what="a checkpoint inside")
    yield words, folder, store
    for line in folder.journal():
        if line.get("event") == "claimed":
            with contextlib.suppress(ProcessLookupError):
                os.kill(line["pid"], signal.SIGKILL)


def claim(folder: RunFolder):
    return [line for line in folder.journal() if line.get("event") == "claimed"][-1]


def session(leader: int) -> list[str]:
    """The commands of a session that are alive."""
    done = subprocess.run(
        ["ps", "-s", str(leader), "-o", "stat=,comm="], capture_output=True, text=True, check=False
    )
    return [line for line in done.stdout.splitlines() if not line.startswith("Z")]


def test_a_killed_launcher_leaves_nothing_behind(crawling):
    """Neither the runtime nor what runs inside of it."""
    _, folder, _ = crawling
    assert payloads(folder.path)
    launcher = claim(folder)["pid"]
    (runtime,) = map(int, Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split())
    os.kill(launcher, signal.SIGKILL)

    wait_for(lambda: not payloads(folder.path), what="the end of the training inside")
    wait_for(lambda: not session(runtime), what="the end of what mounts the image")


def test_a_killed_runtime_leaves_nothing_behind(crawling):
    _, folder, _ = crawling
    launcher = claim(folder)["pid"]
    (runtime,) = map(int, Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split())
    assert session(runtime)
    os.kill(runtime, signal.SIGKILL)

    wait_for(lambda: not payloads(folder.path), what="the end of the training inside")
    wait_for(lambda: any(line["event"] == "ended" for line in folder.journal()))
    wait_for(lambda: not session(runtime), what="the end of what mounts the image")


def test_a_stopped_run_goes_on_bit_for_bit(crawling, tmp_path):
    """The signal reaches the training inside; it saves, and the next attempt goes on from there."""
    words, folder, store = crawling
    step = wait_for(folder.attempt(1).checkpointed_step, what="the step of the checkpoint")
    os.kill(claim(folder)["pid"], signal.SIGTERM)
    wait_for(lambda: any(line["event"] == "ended" for line in folder.journal()))
    end = ends(store, folder.id)[-1]
    assert end["failure"] == "cancelled"
    assert end["step"] >= step

    probprec("run", *words[1:], cwd=tmp_path)
    (found,) = records(store.root).values()
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "faults.py").write_text(FAULTS.replace("time.sleep(0.1)", "pass"))
    (tmp_path / "whole" / "crawl.yaml").write_text((tmp_path / "crawl.yaml").read_text())
    probprec("run", "crawl.yaml", cwd=tmp_path / "whole")
    (whole,) = records(tmp_path / "whole" / "sweeps" / "crawl").values()

    assert found["provenance"]["resumes"] == 1
    assert science(found) == science(whole)


VALUES = {
    "A": "$(echo hi)",
    "B": "pa$$word",
    "C": "/scratch/$USER/t",
    "D": "`id` and ${HOME}",
    "E": "~",
    "F": 'it\'s "quoted", #1; a,b=c & d|e < f > (g) *',
}


@pytest.mark.parametrize("version", [None, (1, 0, 3)], ids=["as it is", "before --no-eval"])
def test_the_values_of_a_profile_come_as_they_are_written(image, version):
    """No shell on their way evaluates them."""
    found = runtime.find()
    values = VALUES if version else {**VALUES, "H": "two\nlines\n", "G": "back\\slash \\n \\$x \\"}
    started = command.inside(
        Container(runtime=replace(found, version=version or found.version), image=image),
        ["python3", "-c", "import json, os; print(json.dumps(dict(os.environ)))"],
        cwd=Path("/"),
        variables=values,
    )

    done = subprocess.run(
        started.arguments, env=started.environment, capture_output=True, text=True, check=True
    )
    seen = json.loads(done.stdout)
    assert {name: seen.get(name) for name in values} == values


SINGULARITY_3 = """\
#!/bin/sh
# A host that has only Singularity 3: it says so, and refuses what that did not know.
[ "$1" = --version ] && {{ echo "singularity-ce version 3.8.7"; exit 0; }}
for word in "$@"; do
  case "$word" in
    --silent|exec|--userns|--cleanenv|--contain|--no-home|--pid|--workdir|--pwd|--bind|--nv|--rocm) ;;
    *.sif) break ;;
    --*) echo "Error for command \\"exec\\": unknown flag: $word" >&2; exit 1 ;;
  esac
done
if env | grep -q ^APPTAINER; then echo "a variable that 3.8 does not know" >&2; exit 1; fi
exec {apptainer} "$@"
"""


def test_a_host_with_only_singularity_3(tmp_path, image, outside):
    """A stand-in for its command line: no Singularity 3 is to be had where there is Apptainer."""
    real = subprocess.run(
        ["which", "apptainer"], capture_output=True, text=True, check=True
    ).stdout.strip()
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "singularity").write_text(SINGULARITY_3.format(apptainer=real))
    (commands / "singularity").chmod(0o755)
    for name in (
        "sh",
        "env",
        "grep",
        "squashfuse_ll",
        "squashfuse",
        "fusermount3",
        "newuidmap",
        "newgidmap",
        "git",
    ):
        found = subprocess.run(["which", name], capture_output=True, text=True, check=False).stdout
        if found:
            (commands / name).symlink_to(found.strip())
    inside = records(
        run(
            tmp_path,
            image,
            SPEC,
            check=1,  # the other runs are missing
            environment={"PATH": str(commands)},
            arguments=("--only", "optimizer=SGD"),
        ).root
    )

    assert len(inside) == 1
    for name, found in inside.items():
        assert science(found) == science(outside[name])
