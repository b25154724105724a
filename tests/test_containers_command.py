"""The command line and the environment that a training is started with."""

from pathlib import Path

import pytest

from containers.command import Container, plain
from containers.runtime import ContainerError, Runtime
from containers.training import Training
from containers.variables import gpu_variables


@pytest.fixture
def training(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/login/shell")
    monkeypatch.setenv("PYTHONHOME", "/another/python")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    monkeypatch.setenv("MY_TOKEN", "kept")
    return Training(
        run_file=Path("/s/run.json"),
        out=Path("/s/attempts/0001"),
        python="/venv/python",
        data=Path("/data"),
        resume=[Path("/s/attempts/0002"), Path("/s/attempts/0001")],
        until=1000.4,
        checkpoint_every=60,
        manifest="ab12",
        image_sha256=None,
        code=Path("/code.zip"),
        own=[Path("/tmp/own/0")],
        threads=3,
        gpu="1",
        needs_gpu=True,
        scratch=Path("/scratch/7"),
        environment={"OF_THE_PROFILE": "1"},
    ).command(None)


def test_arguments(training):
    assert training.arguments == (
        *("/venv/python", "-m", "jobs.train", "/s/run.json", "--out", "/s/attempts/0001"),
        *("--data", "/data", "--manifest", "ab12", "--code", "/code.zip", "--own", "/tmp/own/0"),
        *("--resume", "/s/attempts/0002", "--resume", "/s/attempts/0001"),
        *("--until", "1000", "--checkpoint-every", "60", "--gpu", "--die-with-parent"),
    )


def test_what_is_not_wanted_is_no_argument():
    bare = Training(
        run_file=Path("r"),
        out=Path("o"),
        python="p",
        data=None,
        resume=[],
        until=None,
        checkpoint_every=600,
        manifest=None,
        image_sha256=None,
        code=Path("/code.zip"),
        own=[],
        threads=1,
        gpu="",
        needs_gpu=False,
        scratch=None,
        environment={},
    ).command(None)

    unwanted = {"--data", "--manifest", "--image", "--own", "--resume", "--until", "--gpu"}
    assert not unwanted & set(bare.arguments)


def test_environment(training):
    """It imports from the snapshot; the shell's Python settings do not reach the run."""
    environment = training.environment

    assert environment["PYTHONPATH"] == "/code.zip"
    assert environment["PYTHONSAFEPATH"] == "1"
    assert "PYTHONHOME" not in environment
    assert environment["CUDA_VISIBLE_DEVICES"] == "1"
    assert environment["OMP_NUM_THREADS"] == "3"
    assert environment["MY_TOKEN"] == "kept"
    assert environment["TMPDIR"] == "/scratch/7"
    assert environment["OF_THE_PROFILE"] == "1"


def box(**more):
    bound = {"writable": (Path("/s"),), "workdir": Path("/scratch/7")}
    apptainer = Runtime(path="/bin/apptainer", name="apptainer", version=(1, 4, 5))
    return Container(**{"runtime": apptainer, "image": Path("/i.sif"), **bound, **more})


def boxed(container=None, gpu="", **more):
    return Training(
        **{
            "run_file": Path("/s/run.json"),
            "out": Path("/s/attempts/0001"),
            "python": "python3",
            "data": None,
            "resume": [],
            "until": None,
            "checkpoint_every": 60,
            "manifest": None,
            "image_sha256": None,
            "code": Path("/code.zip"),
            "own": [],
            "threads": 1,
            "gpu": gpu,
            "needs_gpu": bool(gpu),
            "scratch": Path("/scratch/7"),
            "environment": {},
            **more,
        },
    ).command(container or box())


def test_inside_only_what_is_named_is_seen(monkeypatch, tmp_path):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    monkeypatch.setenv("NVIDIA_VISIBLE_DEVICES", "all")
    monkeypatch.setenv("APPTAINERENV_LD_PRELOAD", "/evil.so")
    started = boxed(environment={"MINE": "a,b"}, data=tmp_path)
    inner = {
        name.removeprefix("APPTAINERENV_"): value
        for name, value in started.environment.items()
        if name.startswith("APPTAINERENV_")
    }
    words = started.arguments

    assert words[:3] == ("/bin/apptainer", "--silent", "exec")
    assert {"--cleanenv", "--contain", "--no-home", "--pid"} <= set(words)
    assert words[words.index("--workdir") + 1] == "/scratch/7"
    assert f"{tmp_path}:{tmp_path}:ro" in words
    assert "/s:/s" in words
    assert not {"--nv", "--rocm"} & set(words)
    assert words[words.index("/i.sif") + 1 :][:3] == ("python3", "-m", "jobs.train")
    assert inner["MINE"] == "a,b"
    assert (inner["SLURM_JOB_ID"], inner["NVIDIA_VISIBLE_DEVICES"]) == ("7", "all")
    assert inner["CUDA_VISIBLE_DEVICES"] == ""
    assert not {"LD_PRELOAD", "NVIDIA_TF32_OVERRIDE", "TMPDIR"} & set(inner)
    assert not [name for name in started.environment if name in {"LD_PRELOAD", "PYTHONPATH"}]


CUDA, ROCR = {"CUDA_VISIBLE_DEVICES": "2"}, {"ROCR_VISIBLE_DEVICES": "2"}


@pytest.fixture
def node(monkeypatch, tmp_path):
    """Puts the drivers of some makers on this node, and the job's variables into its environment."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("ROCR_VISIBLE_DEVICES", raising=False)

    def put(drivers, variables):
        for maker in ("_NVIDIA", "_AMD"):
            monkeypatch.setattr(f"containers.variables.{maker}", tmp_path / maker)
        for maker in drivers:
            (tmp_path / maker).touch()
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return put


@pytest.mark.parametrize(
    ("drivers", "variables", "option", "seen"),
    [
        ((), {}, "--nv", CUDA),
        ((), ROCR, "--rocm", ROCR),
        (("_AMD",), ROCR, "--rocm", ROCR),
        (("_NVIDIA",), ROCR, "--nv", CUDA),
        # Slurm without AutoDetect or Flags sets both, on nodes of either maker.
        (("_NVIDIA",), CUDA | ROCR, "--nv", CUDA),
        ((), CUDA | ROCR, "--nv", CUDA),
        (("_NVIDIA", "_AMD"), CUDA | ROCR, "--nv", CUDA),
        (("_AMD",), CUDA | ROCR, "--rocm", ROCR),
    ],
)
def test_a_gpu_is_passed_in_if_the_task_holds_one(node, drivers, variables, option, seen):
    """NVIDIA's, or AMD's, which must not be numbered twice."""
    node(drivers, variables)
    started = boxed(gpu="2")
    gpus = {"CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"}
    inner = {name.removeprefix("APPTAINERENV_"): v for name, v in started.environment.items()}

    assert {"--nv", "--rocm"} & set(started.arguments) == {option}
    assert {name: inner[name] for name in gpus & set(inner)} == seen


@pytest.mark.parametrize(
    ("drivers", "variables", "seen"),
    [
        (("_NVIDIA",), CUDA | ROCR, CUDA | ROCR),
        (("_AMD",), CUDA | ROCR, ROCR),
        (("_AMD",), ROCR, ROCR),
        (("_NVIDIA",), CUDA, CUDA),
    ],
)
def test_a_gpu_without_an_image(node, drivers, variables, seen):
    """ROCm would number by CUDA_VISIBLE_DEVICES what ROCR_VISIBLE_DEVICES has numbered anew."""
    node(drivers, variables)
    words = plain(["train"], gpu_variables("2"))

    assert words.arguments == ("train",)
    assert {n: v for n, v in words.environment.items() if n.endswith("_VISIBLE_DEVICES")} == seen


def binds(started):
    words = started.arguments
    return [words[number + 1] for number, word in enumerate(words) if word == "--bind"]


def test_what_links_in_the_data_name_is_bound_as_well(tmp_path):
    """The folder alone would hold links that lead nowhere."""
    data = tmp_path / "data" / "mnist"
    blobs = tmp_path / "data" / "blobs"
    sweep = tmp_path / "home" / "sweep"
    for folder in (data / "sub", blobs / "more", sweep / "runs"):
        folder.mkdir(parents=True)
    for file in (data / "plain", blobs / "a", blobs / "b", blobs / "more" / "c"):
        file.touch()
    (tmp_path / "hop").symlink_to(blobs / "b")
    colon = tmp_path / "2024-01-01T12:00"
    colon.touch()
    for name, target in {
        "relative": "../../data/blobs/a",
        "absolute": blobs / "a",
        "hops": tmp_path / "hop",
        "folder": blobs / "more",
        "below it": blobs / "more" / "c",
        "within": "plain",
        "within, absolutely": data / "sub",
        "nowhere": tmp_path / "nowhere",
        "up": "..",
        "root": "/",
        "home": sweep.parent,  # read-only, it would cover the sweep's folder
        "runs": sweep / "runs",
        "colon": colon,
        "of the image": "/usr/bin/env",
        "temporary": "/tmp",
    }.items():
        (data / name).symlink_to(target)

    started = boxed(box(writable=(sweep,)), data=data)

    assert binds(started) == [
        f"{sweep}:{sweep}",
        *(f"{path}:{path}:ro" for path in (data, blobs / "a", blobs / "more", tmp_path / "hop")),
    ]


def test_not_every_one_of_thousands_of_links_is_bound(tmp_path):
    """The kernel limits the words of a command; nobody names its data by hand that often."""
    (tmp_path / "data").mkdir()
    for number in range(200):
        (tmp_path / f"{number}").touch()
        (tmp_path / "data" / f"{number}").symlink_to(tmp_path / f"{number}")

    assert len(binds(boxed(data=tmp_path / "data"))) == 2 + 64


def test_data_that_cannot_be_looked_at_is_left_to_the_training(tmp_path):
    file = tmp_path / "data.zip"
    file.touch()

    assert binds(boxed(data=file)) == ["/s:/s", f"{file}:{file}:ro"]
    assert binds(boxed(data=tmp_path / "nowhere")) == ["/s:/s"]


def test_singularity_has_its_own_prefix():
    singularity = Runtime(path="/bin/singularity", name="singularity", version=(3, 8, 7))
    started = boxed(box(runtime=singularity))

    assert started.environment["SINGULARITYENV_OMP_NUM_THREADS"] == "1"
    assert not [name for name in started.environment if name.startswith("APPTAINER")]


def test_a_path_that_cannot_be_bound_is_refused():
    with pytest.raises(ContainerError, match="a path with : or , cannot be bound"):
        boxed(box(writable=(Path("/s:t"),)))


@pytest.mark.parametrize(
    ("name", "version", "is_literal", "value"),
    [
        ("apptainer", (1, 4, 5), True, "$A"),
        ("apptainer", (1, 0, 3), False, "$(echo '$')A"),
        ("singularity", (3, 10, 0), True, "$A"),
        ("singularity", (3, 8, 7), False, "$(echo '$')A"),
        ("singularity", (3, 5, 3), False, "$A"),
    ],
)
def test_a_value_that_a_shell_would_read(name, version, is_literal, value):
    """Each way that a runtime has taken variables in; of two, real Apptainer has its say, too."""
    started = boxed(
        box(runtime=Runtime(path="/bin/x", name=name, version=version)), environment={"MINE": "$A"}
    )

    assert ("--no-eval" in started.arguments) == is_literal
    assert started.environment[f"{name.upper()}ENV_MINE"] == value


def test_a_value_that_an_old_runtime_would_change():
    old = Runtime(path="/bin/x", name="singularity", version=(3, 8, 7))

    with pytest.raises(
        ContainerError, match=r"singularity 3.8.7 cannot pass 'a\\nb' into an image"
    ):
        boxed(box(runtime=old), environment={"MINE": "a\nb"})
    assert boxed(environment={"MINE": "a\nb"}).environment["APPTAINERENV_MINE"] == "a\nb"
