"""Sweeps in the lab: their spec and profile, how their runs are held at a step, what became of them.

A pytest plugin (`conftest.py` loads it); the plain functions are imported: `from tests.case import ...`.

Runs are started, stopped and resumed as everybody's; what is started is `tests/trainer.py`, light, or
`jobs.train` itself. It waits between two steps while the file `hold` of the sweep says so. That way
a fault hits exactly the runs that it is meant for, without spending the CPU on long trainings.
"""

import contextlib
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from jobs.store import record
from jobs.store.store import Store
from jobs.sweep import Run
from tests import trainer
from tests.helpers import ALL, probprec, wait_for
from tests.slurm import OVER, SETTINGS, Site

OPTIMIZERS = {
    "SGD": "{lr: 0.05}",
    "Adam": "{lr: 1e-3}",
    "PreconditionedSGD": "{}",
}
Trainer = Literal["light", "torch"]
Expected = Callable[[Run], Mapping[str, Any]]
"""Of a run: what the record of an undisturbed one says."""

_TRAINER = """\
#!/bin/sh
{unset}
exec {python} {trainer} "$@"
"""


def make_spec(
    folder: Path,
    *,
    runs: int = 3,
    epochs: int = 3,
    problem: str = "digits_mlp",
    name: str = "small",
    more: str = "",
    optimizers: Mapping[str, str] = OPTIMIZERS,
    seeds: str | None = None,
) -> Path:
    """A spec of so many runs (a multiple of 3: SGD, Adam and PreconditionedSGD)."""
    assert runs % len(OPTIMIZERS) == 0
    listed = "\n".join(f"  {label}: {settings}" for label, settings in optimizers.items())
    seeds = seeds or f"42..{41 + runs // len(OPTIMIZERS)}"
    path = folder / f"{name}.yaml"
    path.write_text(
        f"problems: [{problem}]\noptimizers:\n{listed}\nseeds: {seeds}\nepochs: {epochs}\n{more}"
    )
    return path


def make_profile(
    folder: Path,
    *,
    name: str = "site",
    trained_by: Trainer | None = "light",
    nodes: tuple[int, ...] = (),
    nice: int = 10,
    resources: Mapping[str, Any] | None = None,
    **more: Any,
) -> Path:
    """A profile of the lab, whose runs obey the file `hold` in `folder` (see `Case`).

    Hours are its limit: what a run is held counts as the length of its epoch, and a training whose
    next epoch would not end in time leaves.

    Args:
        folder: for the profile, and the files `hold`.
        name: its own.
        trained_by: `tests.trainer`, `jobs.train` with a hold, or, None, `jobs.train` as it is.
        nodes: the numbers of those that are used; default: all.
        nice: of its trainings; those that a time limit ends must not wait for the others.
        resources: what else a run asks for.
        more: other keys of the profile.
    """
    asked = {"partition": "day", "cpus": 1, "mem": "1500M", "time": "02:00:00"} | (resources or {})
    if nodes:
        others = sorted(set(range(1, SETTINGS["nodes"] + 1)) - set(nodes))
        asked["exclude"] = "[" + ", ".join(f"node{number}" for number in others) + "]"
    content = {"engine": "slurm", "checkpoint_every": "1s", "resources": asked} | more
    if trained_by is not None:
        is_light = trained_by == "light"
        python = folder / f"{trained_by}-python"
        unset = "unset COVERAGE_PROCESS_CONFIG" if is_light else ""
        text = _TRAINER.format(unset=unset, python=sys.executable, trainer=trainer.__file__)
        python.write_text(text)
        python.chmod(0o755)
        content["python"] = str(python)
        content["environment"] = {
            **content.get("environment", {}),
            "PROBPREC_TEST_HOLD": str(folder / "hold"),
            "PROBPREC_TEST_NICE": str(nice),
            "PROBPREC_TEST_TRAINER": trained_by,
        }
    path = folder / f"{name}.yaml"
    path.write_text("\n".join(f"{key}: {_yaml(value)}" for key, value in content.items()) + "\n")
    return path


def _yaml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_yaml(item)}" for key, item in value.items()) + "}"
    return f'"{value}"' if isinstance(value, str) and "/" in value else str(value)


def journal(store: Store, run_id: str) -> list[dict[str, Any]]:
    """The lines of a run's journal."""
    return store.run(run_id).journal()


def claims(store: Store, run_id: str) -> list[dict[str, Any]]:
    """The attempts of a run, as its journal knows them."""
    return [line for line in journal(store, run_id) if line.get("event") == "claimed"]


def ends(store: Store, run_id: str) -> list[dict[str, Any]]:
    """The ends of a run's attempts, as its journal knows them."""
    return [line for line in journal(store, run_id) if line.get("event") == "ended"]


def run_ids(store: Store) -> list[str]:
    """The runs of a sweep."""
    return [planned.run.id for planned in store.sweep().runs]


def whole_records(store: Store, expected: Expected) -> set[str]:
    """The runs whose record is whole and equal, bit for bit, to that of an undisturbed run."""
    found = set()
    for planned in store.sweep().runs:
        file = store.run(planned.run.id).record_file
        with contextlib.suppress(FileNotFoundError, record.RecordError):
            record.read(file, run_id=planned.run.id)
            ours, theirs = json.loads(file.read_bytes()), expected(planned.run)
            if all(ours[key] == theirs[key] for key in ("outcome", "stop", "curves")):
                found.add(planned.run.id)
    return found


def published_twice(store: Store) -> set[str]:
    """The runs of which more than one outcome was published, torn ones that were set aside not counted."""
    found = set()
    for run_id in run_ids(store):
        lines = journal(store, run_id)
        aside = sum(line.get("event") == "record set aside" for line in lines)
        published = sum("outcome" in line for line in lines if line.get("event") == "ended")
        folders = list(store.run(run_id).path.glob("record*.json"))
        if published > 1 + aside or len(folders) > 1 + aside:
            found.add(run_id)
    return found


def payloads(folder: Path) -> dict[str, int]:
    """The trainings under way whose command line names the folder: attempt's folder, and pid."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "--out" in words and str(folder) in words[words.index("--out") + 1]:
            found[words[words.index("--out") + 1]] = int(path.parent.name)
    return found


_READERS = """
import io, json, sys
from contextlib import redirect_stdout
from pathlib import Path

from cluster import cli
from cluster.commands import retry
from cluster.status import advice
from cluster.status.sweep_status import sweep_status
from jobs.store.store import Store


def said(*words):
    with redirect_stdout(io.StringIO()) as out:
        cli.main([*words, "--json"])
    return json.loads(out.getvalue())


root = Path(sys.argv[1])
status = {run["id"]: (run["state"], run["class"]) for run in said("status", str(root))["runs"]}
left = sorted(run for run, (state, _) in status.items() if state not in {"completed", "diverged"})
why = {run: said("why", run, "--root", str(root.parent)) for run in left[:1]}
look, place = sweep_status(Store(root)), advice.last_profile(Store(root))
chosen = retry._choose(look, place, retry.Which()).chosen
print(json.dumps({
    "status": status,
    "why": {run: (found["state"], found["class"]) for run, found in why.items()},
    "retry": sorted(one.planned.run.id for one in chosen),
}))
"""
"""What the three readers say of the sweep in a folder."""


_TELLING = {
    "submissions/*/*.receipt.json": 200,
    "submissions/*/*.withdrawn-*.json": 200,
    "submitit/*/*.out": 1000,
    "submitit/*/*.err": 1000,
    "runs/*/journal.jsonl": 6000,
    "runs/*/attempts/*/output.log": 2000,
}
"""What may explain a failure, and how much of each file's end."""


@dataclass(eq=False)
class Case:
    """One sweep in a lab, and what can be done to it.

    The file `hold` of its folder holds a step: runs that have taken so many wait. `hold.FENCE`
    is for one attempt of each run, `hold.RUN` for one run, `hold.RUN.FENCE` for one attempt of it; a
    large number lets it go.
    """

    site: Site
    folder: Path
    spec: Path
    profile: Path
    root: Path
    expected: Expected
    verdicts: list[Mapping[str, Any]] = field(default_factory=list)
    """What the readers said, of each time that they were asked."""

    @property
    def store(self) -> Store:
        """The sweep's folder."""
        return Store(self.root / self.spec.stem)

    @property
    def name(self) -> str:
        """The sweep's, and of its jobs."""
        return self.spec.stem

    def arguments(self, *more: object) -> list[object]:
        """The arguments of `probprec submit`."""
        return ["submit", self.spec, "--root", self.root, "--on", self.profile, "--json", *more]

    def submit(self, *more: object, check: int | None = 0) -> dict[str, Any]:
        """Submit; the report."""
        done = self.site.probprec(*self.arguments(*more), cwd=self.folder, check=check)
        return dict(json.loads(done.stdout)) if done.stdout.strip() else {}

    def hold(self, step: int, suffix: str = "") -> None:
        """Runs wait at that step."""
        path = self.folder / f"hold{suffix}"
        path.with_name("new-hold").write_text(str(step))
        path.with_name("new-hold").replace(path)

    def free(self) -> None:
        """Runs go on."""
        for path in self.folder.glob("hold*"):
            if path.is_file():
                path.unlink()

    def held(self, fence: int | None = None) -> dict[str, tuple[int, int]]:
        """The runs whose newest attempt waits: its fence and the step."""
        found = {}
        for path in sorted((self.folder / "hold.at").glob("*.*")):
            run_id, number = path.name.split(".")
            if self.store.run(run_id).last_fence() == int(number) and path.read_text():
                found[run_id] = (int(number), int(path.read_text()))
        return {run: at for run, at in found.items() if fence is None or at[0] == fence}

    def wait_held(
        self, count: int, *, fence: int | None = None, checkpoint: bool = True
    ) -> list[str]:
        """Wait until so many runs wait and have a checkpoint of this attempt; their ids."""

        def ready() -> list[str]:
            found = [
                run
                for run, (number, _) in self.held(fence).items()
                if not checkpoint or self.store.run(run).attempt(number).has_checkpoint()
            ]
            assert len(found) >= count or self.live(), self.describe()
            return found if len(found) >= count else []

        return list(wait_for(ready, what=f"{count} runs of {self.name} at their hold"))

    def claims(self, run_id: str) -> list[dict[str, Any]]:
        """The attempts of a run, as its journal knows them."""
        return claims(self.store, run_id)

    def payload(self, run_id: str) -> int:
        """The pid of a run's training."""
        [pid] = [
            pid
            for out, pid in payloads(self.store.run(run_id).path).items()
            if int(Path(out).name) == self.store.run(run_id).last_fence()
        ]
        return pid

    def launcher(self, run_id: str) -> int:
        """The pid of a run's launcher."""
        return int(self.claims(run_id)[-1]["pid"])

    def live(self) -> list[str]:
        """Its elements that wait or run."""
        return [name for name, row in self.jobs().items() if row["state"] not in OVER]

    def jobs(self) -> dict[str, dict[str, str]]:
        """Its elements in the queue, also those that are over."""
        return self.site.jobs(self.name)

    def is_recorded(self) -> bool:
        """Whether each run has a file of a record."""
        return all(self.store.run(run).record_file.exists() for run in run_ids(self.store))

    def wait_over(self) -> None:
        """Wait until nothing of it waits or runs."""
        wait_for(lambda: not self.live(), pause=0.2, what=f"{self.name} is over")

    def finish(self, command: str = "submit") -> int:
        """Let the runs go, wait, send what is missing if there is any, and wait again.

        Args:
            command: What sends it: submit, or retry.

        Returns:
            How many runs were sent again.
        """
        self.free()
        self.wait_over()
        if self.is_recorded():
            return 0
        self.ask_readers()
        if command == "submit":
            count = self.submit()["submitted"]
        else:
            done = self.site.probprec("retry", self.store.root, "--json", cwd=self.folder, check=0)
            count = len(json.loads(done.stdout)["retried"])
        self.wait_over()
        return int(count)

    def ask_readers(self) -> Mapping[str, Any]:
        """What status, why and retry make of it; they say the same with and without accounting.

        Nothing of it waits or runs. They are asked of copies: what one writes down, none else reads.
        """
        said = []
        for name, environment in (("with", {}), ("without", self.site.without_accounting)):
            root = self.folder / "readers" / str(len(self.verdicts)) / name / self.name
            shutil.copytree(self.store.root, root)
            done = subprocess.run(
                [sys.executable, "-c", _READERS, str(root)],
                cwd=self.folder,
                env={**self.site.lab.environment(), **environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            said.append(json.loads(done.stdout))
        self.verdicts.append(said[0])
        assert said[0] == said[1], self.describe()
        return said[0]

    def classes(self) -> set[str | None]:
        """The classes that `status` gives to the runs that have no record."""
        runs = self.ask_readers()["status"].values()
        return {failure for state, failure in runs if state not in {"completed", "diverged"}}

    def describe(self) -> str:
        """All that may explain a failure."""
        parts = [f"== squeue\n{json.dumps(self.jobs(), indent=0)}"]
        for pattern, size in _TELLING.items():
            parts += [
                f"== {path}\n{path.read_text(errors='replace')[-size:]}"
                for path in sorted(self.store.root.glob(pattern))
            ]
        return "\n".join(parts)


Reference = Callable[[Path], Mapping[str, Mapping[str, Any]]]
MakeCase = Callable[..., Case]


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """Of a spec's path: the records of its runs, trained by torch on this machine, undisturbed."""
    known: dict[str, dict[str, Any]] = {}
    lock = threading.Lock()
    folder = tmp_path_factory.mktemp("reference")  # one for all: only new runs are run

    def records(spec: Path) -> Mapping[str, Mapping[str, Any]]:
        with lock:
            if spec.read_text() not in known:
                shutil.copy(spec, folder / "reference.yaml")
                probprec("run", "reference.yaml", cwd=folder)
                known[spec.read_text()] = {
                    path.parent.name: json.loads(path.read_bytes())
                    for path in folder.glob("sweeps/reference/runs/*/record.json")
                }
            return known[spec.read_text()]

    return records


@pytest.fixture(scope="session")
def make_case(tmp_path_factory: pytest.TempPathFactory, reference: Reference) -> MakeCase:
    """Of a site and a name: a sweep there; `spec` and `profile` as `make_spec`, `make_profile`.

    With `torch`, by default where all is tested, it is real training.
    """

    def make(
        site: Site,
        name: str,
        *,
        spec: Mapping[str, Any] | None = None,
        profile: Mapping[str, Any] | None = None,
        root: Path | None = None,
        torch: bool = ALL,
    ) -> Case:
        folder = tmp_path_factory.mktemp(name)
        path = make_spec(folder, name=name, **(spec or {}))
        trained_by: Trainer = "torch" if torch else "light"
        more = {"trained_by": trained_by, "nodes": (1, 2), **(profile or {})}
        expected: Expected = trainer.expected
        if trained_by == "torch":
            records = reference(path)

            def expected(run: Run) -> Mapping[str, Any]:
                return records[run.id]

        return Case(
            site=site,
            folder=folder,
            spec=path,
            profile=make_profile(folder, **more),
            root=root or folder / "sweeps",
            expected=expected,
        )

    return make
