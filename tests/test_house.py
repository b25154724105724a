"""The house stands as drawn: who imports whom, what the command line loads, what the wheel holds."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from containers import steps
from jobs.datasets.catalog import DATASETS
from jobs.sweep import Run
from jobs.training import probe

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("probprec", "containers", "jobs", "cluster")
ROOMS = {
    "probprec": (set(), {"torch"}),
    "containers": (set(), {"spython"}),
    "jobs": ({"containers"}, {"numpy"}),  # the ground floor: what all rooms above may import
    "jobs.yaml": (set(), {"pydantic", "pydantic_core", "yaml"}),
    "jobs.store": (set(), {"pydantic_core"}),
    "jobs.datasets": (set(), {"numpy"}),
    "jobs.manifests": ({"jobs.datasets"}, {"zstandard"}),
    "jobs.staging": ({"jobs.manifests"}, set()),
    "jobs.problems": ({"jobs.datasets"}, {"numpy", "scipy", "torch"}),
    "jobs.regime": ({"jobs.problems"}, {"torch"}),
    "jobs.optimizers": ({"jobs.regime"}, {"torch"}),
    "jobs.spec": (
        {"jobs.yaml", "jobs.problems", "jobs.regime", "jobs.optimizers"},
        {"numpy", "pydantic"},
    ),
    "jobs.training": (
        {"jobs.store", "jobs.datasets", "jobs.problems", "jobs.regime", "jobs.optimizers"},
        {"numpy", "torch"},
    ),
    "jobs.train": ({"jobs.store", "jobs.training"}, set()),
    "jobs.node": (
        {"containers", "jobs.store", "jobs.manifests", "jobs.staging", "jobs.problems"},
        set(),
    ),
    "jobs.statistics": (set(), {"numpy", "scipy"}),
    "jobs.results": (
        {"jobs.store", "jobs.problems", "jobs.statistics"},
        {"matplotlib", "numpy", "pandas", "pyarrow"},
    ),
    "jobs.report": (
        {"jobs.statistics", "jobs.results"},
        {"itables", "jinja2", "numpy", "vl_convert"},
    ),
    "cluster": (set(), set()),
    "cluster.terminal": (set(), {"rich"}),
    "cluster.lab": ({"cluster.terminal", "jobs.store"}, {"rich"}),
    "cluster.slurm": (set(), set()),
    "cluster.task": ({"cluster.slurm", "jobs.store", "jobs.node"}, set()),
    "cluster.profile": (
        {"containers", "cluster.terminal", "cluster.slurm", "jobs.yaml", "jobs.spec"},
        {"pydantic", "yaml"},
    ),
    "cluster.recipe": ({"containers", "jobs.yaml"}, {"packaging", "pydantic"}),
    "cluster.status": (
        {"cluster.terminal", "cluster.slurm", "cluster.profile", "jobs.store"},
        {"rich"},
    ),
    "cluster.submit": (
        {
            *("containers", "cluster.slurm", "cluster.profile", "cluster.recipe", "cluster.status"),
            *("jobs.yaml", "jobs.store", "jobs.datasets", "jobs.manifests", "jobs.staging"),
            *("jobs.problems", "jobs.optimizers", "jobs.spec", "jobs.node"),
        },
        {"submitit"},
    ),
    "cluster.feeder": ({"cluster.slurm", "cluster.submit", "jobs.store"}, set()),
    "cluster.doctor": (
        {
            *("containers", "cluster.terminal", "cluster.lab", "cluster.slurm", "cluster.profile"),
            *("cluster.submit", "jobs.yaml", "jobs.datasets", "jobs.staging", "jobs.training"),
        },
        {"rich"},
    ),
    "cluster.commands": (
        {
            *("containers", "cluster.terminal", "cluster.lab", "cluster.slurm", "cluster.profile"),
            *("cluster.recipe", "cluster.status", "cluster.submit", "cluster.doctor"),
            *("jobs.yaml", "jobs.store", "jobs.datasets", "jobs.manifests", "jobs.staging"),
            *("jobs.problems", "jobs.spec", "jobs.training", "jobs.statistics", "jobs.results"),
            "jobs.report",
        },
        {"rich", "shtab"},
    ),
    "cluster.cli": (
        {
            *("cluster.terminal", "cluster.lab", "cluster.profile", "cluster.doctor"),
            *("cluster.commands", "jobs.yaml", "jobs.store", "jobs.results"),
        },
        set(),
    ),
}
"""Each room, from the lowest floor up: the rooms that it may import, and the packages of others.

A room is a package, or a module that is a door. All rooms of `jobs` and `cluster` may import the
modules that lie directly in `jobs/`.
"""

NOT_IN_TRAINING = {("jobs.store.record", "_checked")}
"""Functions that read back what trainings left: none of their imports is part of a training."""

# `python -m` as where only some packages are installed; the first argument is the module
WITHOUT = """
import importlib.machinery, runpy, sys

class Hiding(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in ABSENT else super().find_spec(name, path, target)

real = sys.meta_path.index(importlib.machinery.PathFinder)
sys.meta_path[real] = Hiding
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def modules():
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def name_of(path):
    """The dotted name of a module's file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(name):
    """The room in which a module of ours is."""
    parts = name.split(".")
    return next(room for room in (".".join(parts[:2]), parts[0]) if room in ROOMS)


def imported(path):
    """The modules that a module imports at any depth of its code: ours by name, others' packages."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if found_file(name) else node.module for name in names}
    return {
        name if name.partition(".")[0] in PACKAGES else name.partition(".")[0] for name in found
    }


def found_file(name):
    """The file of one of our modules; None if it is none."""
    base = ROOT.joinpath(*name.split("."))
    files = (base.with_suffix(".py"), base / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def imports_of(name):
    """All that a module of ours may import when it is used, save for types and in `NOT_IN_TRAINING`."""
    todo = [ast.parse(found_file(name).read_text())]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            todo += node.orelse
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif (name, getattr(node, "name", None)) not in NOT_IN_TRAINING:
            todo += ast.iter_child_nodes(node)


def reached(start):
    """Every module of ours that can be imported from `start`, and the foreign packages."""
    ours, foreign, todo = set(), set(), [start]
    while todo:
        parts = todo.pop().split(".")
        if parts[0] not in PACKAGES:
            foreign.add(parts[0])
        for length in range(1, len(parts) + 1):  # a module's packages come first
            name = ".".join(parts[:length])
            if parts[0] in PACKAGES and name not in ours and found_file(name):
                ours.add(name)
                todo += imports_of(name)
    return ours, foreign - set(sys.stdlib_module_names)


def installed_by(requirements):
    """The distributions that are here because of these requirements, theirs included."""
    found, todo = set(), list(map(Requirement, requirements))
    while todo:
        one = todo.pop()
        if one.name in found or (one.marker and not one.marker.evaluate({"extra": ""})):
            continue
        try:
            todo += map(Requirement, metadata.requires(one.name) or [])
        except metadata.PackageNotFoundError:  # such as CUDA's, where torch came without
            continue
        found.add(one.name)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in found}


def absent_without(requirements):
    """The packages that could be imported here, but not where only these were installed."""
    there = installed_by([*requirements, "coverage", "setuptools"])  # what measures, what is always
    return {
        package
        for package, owners in metadata.packages_distributions().items()
        if not there & {re.sub(r"[-_.]+", "-", owner).lower() for owner in owners}
    } - set(PACKAGES)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_what_the_table_says(path):
    """Rooms of ours, and packages of others; the ground floor of `jobs` is open to all above it."""
    room = room_of(name_of(path))
    names = imported(path) - set(sys.stdlib_module_names)
    rooms, foreign = ROOMS[room]
    ground = set() if room in {"probprec", "containers"} else {"jobs"}

    assert {room_of(name) for name in names if found_file(name)} <= rooms | ground | {room}
    assert {name for name in names if not found_file(name)} <= foreign


def test_the_table_of_rooms_goes_down_only_and_grants_no_more_than_is_used():
    """No room is imported from a lower floor, and none is open that nobody enters."""
    floors = list(ROOMS)
    used = {room: (set(), set()) for room in ROOMS}
    for path in modules():
        rooms, foreign = used[room_of(name_of(path))]
        for name in imported(path) - set(sys.stdlib_module_names):
            (rooms if found_file(name) else foreign).add(
                room_of(name) if found_file(name) else name
            )

    for room, (rooms, foreign) in ROOMS.items():
        assert rooms <= set(floors[: floors.index(room)]), room
        assert rooms <= used[room][0], f"{room} may import what it does not"
        assert foreign <= used[room][1], f"{room} may import what it does not"


def test_no_modules_import_each_other():
    """Neither directly nor over others: any of them can be tested without what uses it."""
    below = {
        name: {n if found_file(n) else n.rpartition(".")[0] for n in imports_of(name)}
        for name in map(name_of, modules())
    }
    while leaves := {name for name, needs in below.items() if not needs & set(below) - {name}}:
        for name in leaves:
            del below[name]

    assert not below, f"these import each other: {sorted(below)}"


FILE_LINES_MAX, FUNCTION_LINES_MAX = 300, 40


def lines_over_the_limits():
    """The lines of each file, and of each function from its `def` on, that is too long."""
    for path in modules():
        text, name = path.read_text(), str(path.relative_to(ROOT))
        if (count := len(text.splitlines())) > FILE_LINES_MAX:
            yield name, count
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                count = node.end_lineno - node.lineno + 1
                if count > FUNCTION_LINES_MAX:
                    yield f"{name} {node.name}", count


def test_files_and_functions_are_short():
    """Each can be read at a sitting."""
    assert dict(lines_over_the_limits()) == {}


def test_every_room_says_what_it_is_for():
    """In the first sentence of its package, which says who may enter, too."""
    for room in ROOMS:
        file = ROOT.joinpath(*room.split("."), "__init__.py")
        if file.exists():
            doc = ast.get_docstring(ast.parse(file.read_text())) or ""
            assert "enter" in doc, f"{room} does not say who may enter"


def test_only_the_store_knows_the_layout():
    """The sweep's folder, and each run's; no other module spells the name of a file of the sweep folder."""
    names = re.compile(
        r'"(sweep\.json|record\.json|run\.json|journal\.jsonl|progress\.jsonl|outcome\.json)"'
    )
    found = {path.name for path in modules() if names.search(path.read_text())}

    assert found == {"store.py", "attempts.py"}


def test_only_one_module_runs_slurms_commands():
    """Its room spells them, and the lab, which is a Slurm of its own; one module of the room runs them."""
    names = re.compile(r'\[\s*"(sbatch|squeue|scontrol|scancel|sacct|sacctmgr|sinfo|srun)"')
    found = {room_of(name_of(path)) for path in modules() if names.search(path.read_text())}
    room = [path for path in modules() if path.parent.name == "slurm"]

    assert found - {"cluster.lab"} == {"cluster.slurm"}
    assert {path.name for path in room if "subprocess" in imported(path)} == {"process.py"}


@pytest.mark.parametrize(
    ("package", "module"), [("submitit", "submitit_engine.py"), ("spython", "spython_adapter.py")]
)
def test_only_one_module_imports_what_is_not_ours_to_rely_on(package, module):
    """Where a new version of it may break something, it is one file that has to be read."""
    found = {path.name for path in modules() if any(package == name for name in imported(path))}

    assert found == {module}


def test_only_one_module_makes_consoles_and_texts():
    """Elsewhere rich would take what others wrote for markup, and show it with less."""
    made = re.compile(r"(?<!\w)(Console|Text|Text\.assemble)\(|from_markup")
    column = re.compile(r'TextColumn\("[^"]*\{(?![^)]*markup=False)')
    found = {path.name for path in modules() if made.search(path.read_text())}

    assert found == {"plain.py"}
    assert not [path for path in modules() if column.search(path.read_text())]


def test_commands_to_copy_are_quoted():
    """By `plain.command` or shlex, or they hold nothing but letters and digits."""
    safe = {"shlex", "command", "run_id", "name", "one", "known", "place", "file", "wanted"} | {
        "failure",
        "time",
        "FORMAT",
    }
    found = {
        (path.name, word)
        for path in modules()
        for line in path.read_text().splitlines()
        for rest in re.findall(r"probprec [a-z-]+ (.*)", line)
        for word in re.findall(r"\{(\w+)", rest)
    }

    assert {(name, word) for name, word in found if word not in safe} == set()


HEAVY = {"torch", "pandas", "pyarrow", "scipy", "matplotlib", "jinja2", "itables", "vl_convert"}
"""The packages that train, count, draw and write pages: what sends and watches runs does not wait for them."""


def loaded(*names):
    """What is loaded once some modules are imported in a new process: ours, and foreign packages."""
    code = f"import json, sys, {', '.join(names)}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    ours = {name for name in found if name.partition(".")[0] in PACKAGES}
    return ours, {name.partition(".")[0] for name in set(found) - ours} - set(
        sys.stdlib_module_names
    )


def test_the_command_line_is_light():
    """What is typed is known, and every `--help` printed, by the standard library alone."""
    ours, foreign = loaded(*(name_of(path) for path in (ROOT / "cluster" / "cli").glob("*.py")))
    rooms = {room_of(name) for name in ours} - {"containers", "jobs"}

    assert rooms == {"cluster", "cluster.cli", "cluster.terminal"}
    assert not {"rich", "pydantic", "yaml", "numpy", "shtab", *HEAVY} & foreign


def test_the_status_is_light():
    """It seals nothing, reads no spec and no data, and needs no pydantic to import."""
    ours, foreign = loaded("cluster.commands.status")

    assert (
        not {
            "cluster.submit.seal",
            "jobs.training.provenance",
            "jobs.staging.stage",
            "jobs.manifests.manifest",
        }
        & ours
    )
    assert not {name for name in ours if name.startswith(("jobs.spec", "jobs.datasets."))}
    assert not {"pydantic", "pydantic_core", "yaml", "numpy", *HEAVY} & foreign


def test_the_doctor_on_a_node_needs_the_standard_library_alone():
    """And none of what only the login node does: nothing keeps it from looking."""
    ours, foreign = loaded("cluster.doctor.node")
    doctor = {name for name in ours if name.startswith("cluster.doctor.")}

    assert doctor == {"cluster.doctor.node", "cluster.doctor.disks", "cluster.doctor.finding"}
    assert not {"cluster.submit.seal", "cluster.lab", "jobs.spec", "jobs.snapshot"} & ours
    assert not {"rich", "pydantic", "pydantic_core", "yaml", "typing_extensions"} & foreign


def test_submitting_is_light():
    """Neither does everything that a login node needs to submit."""
    _, foreign = loaded(
        "cluster.commands.run",
        "cluster.commands.status",
        "cluster.commands.check",
        "jobs.node.launcher",
    )

    assert not HEAVY & foreign


def test_a_training_imports_what_the_extra_train_installs():
    """No more, or an image that has just that fails every run; and the doctor looks for the same."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = {Requirement(line).name for line in project["optional-dependencies"]["train"]}
    ours, foreign = reached("jobs.train")
    carriers = {one.package[0] for one in DATASETS.values() if one.package}  # of data, not imported
    owners = metadata.packages_distributions()

    assert {"jobs.training", "jobs.problems.images", "jobs.store.record"} <= ours
    assert foreign == {"numpy", "scipy", "torch"}
    assert {owners[package][0] for package in foreign | carriers} == extra
    assert set(probe.PACKAGES) == foreign | carriers


def test_a_training_runs_where_only_the_extra_train_is_installed(tmp_path):
    """The real command, with all that a login node has besides hidden from it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    absent = absent_without(project["optional-dependencies"]["train"])
    code = f"ABSENT = {sorted(absent)!r}\n{WITHOUT}"
    run = Run(
        problem="digits_mlp",
        optimizer="torch.optim.SGD",
        hyperparameters={"lr": 0.1},
        seed=42,
        epochs=1,
        batch_size=128,
    )
    asked = tmp_path / "asked.json"
    asked.write_text(json.dumps(run.to_json()))
    words = ["jobs.train", str(asked), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )

    assert {"pydantic", "pydantic_core", "rich", "yaml", "pandas", "submitit", "spython"} <= absent
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "outcome.json").read_text())["outcome"] == "completed"


def test_the_wheel_holds_the_four_packages():
    """Tests, configs and scripts never leak into what is installed, and nobody publishes it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [
        "probprec",
        "cluster",
        "containers",
        "jobs",
    ]
    assert project["project"]["scripts"] == {"probprec": "probprec_command:main"}
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"probprec_command.py": "probprec_command.py"}
    assert {*wheel["packages"], *wheel["force-include"]} < set(steps.TOOLKIT)  # into images
    assert "Private :: Do Not Upload" in project["project"]["classifiers"]
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_links_in_the_documents_lead_somewhere():
    """Every relative link and image of the documents exists."""
    for document in ROOT.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
            if "://" not in target:
                assert (ROOT / target).exists(), f"{document.name}: {target}"


INSIDE = {
    "CheckpointError",
    "ClaimedError",
    "DivergedError",
    "GpuMissingError",
    "InterruptionError",
    "NoSuchClassError",
    "NodeError",
    "StaleAttemptError",
    "TraceError",
    "UnverifiedError",
    "UnusableDataError",
}
"""Errors that are caught where they are meant for: in a launcher, a training, the command itself."""


def test_expected_errors_have_one_base():
    """Whatever else we raise by a name of its own reaches the user as one line."""
    bases = {}
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Error"):
                bases[node.name] = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
    expected = {"ExpectedError", "OSError"}
    for _ in bases:
        expected |= {name for name, of in bases.items() if of & expected}

    assert {name for name in bases if not name.startswith("_")} - expected == INSIDE
