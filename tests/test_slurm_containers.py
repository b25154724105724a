"""Slurm and Apptainer together: sweeps in the shipped image, staged data, and what must be refused."""

import json
import os
import shutil
import signal
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from jobs.datasets import find
from jobs.manifests.manifest import Manifest
from jobs.manifests.registry import manifest_of_dataset
from jobs.staging import stage
from jobs.store.store import Store
from tests import slow_disk
from tests.apptainer import POISON, ROOT, poison, records, science
from tests.case import claims, ends, journal, make_profile, make_spec, run_ids
from tests.helpers import ALL, probprec, wait_for
from tests.slurm import Site

pytestmark = [pytest.mark.slurm, pytest.mark.apptainer]

TASKS = 9  # at least eight at a time on one node: node1 takes all of them
LONGEST = 1800.0  # a dozen containers on a slow machine


@pytest.fixture(scope="module")
def fashion() -> Path:
    """The folder of Fashion-MNIST."""
    return find.find("fmnist")


class Boxed:
    """A sweep in the image."""

    def __init__(self, site: Site, folder: Path, image: Path, name: str, **profile: Any) -> None:
        self.site, self.folder, self.name = site, folder / name, name
        self.folder.mkdir()
        self.scratch = site.lab.scratch / name
        more = {"image": str(image), "scratch": str(self.scratch), **profile}
        self.profile = make_profile(self.folder, trained_by=None, nodes=(1,), **more)
        self.store = Store(self.folder / "sweeps" / name)

    def submit(
        self,
        spec: Path,
        *arguments: object,
        check: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.site.probprec(
            *("submit", spec, "--on", self.profile, *arguments),
            cwd=self.folder,
            check=check,
            environment=environment,
        )

    def wait_over(self) -> None:
        def is_over() -> bool:
            rows = self.site.jobs(self.name).values()
            return all(row["state"] not in {"PENDING", "RUNNING", "COMPLETING"} for row in rows)

        wait_for(is_over, LONGEST, pause=0.5, what=f"{self.name} is over")

    def events(self, event: str) -> list[dict[str, Any]]:
        return [
            line
            for run in run_ids(self.store)
            for line in journal(self.store, run)
            if line.get("event") == event
        ]

    def waiting(self) -> set[str]:
        """The runs that have waited for the copier of their data."""
        return {
            run
            for run in run_ids(self.store)
            if any(line.get("event") == "waiting" for line in journal(self.store, run))
        }

    def classes(self) -> set[str | None]:
        """How the last attempts of its runs ended, as `status` says it."""
        done = self.site.probprec("status", self.store.root, "--json", cwd=self.folder)
        return {run["class"] for run in json.loads(done.stdout)["runs"]}

    def is_published(self) -> bool:
        return bool(list(self.store.root.glob("runs/*/record.json")))


@pytest.fixture
def boxed(site, tmp_path, image):
    """Makes sweeps in the image; what they left on the scratch is removed."""
    made: list[Boxed] = []

    def make(name: str, **profile: Any) -> Boxed:
        made.append(Boxed(site, tmp_path, profile.pop("image", image), name, **profile))
        return made[-1]

    yield make
    for one in made:
        shutil.rmtree(one.scratch, ignore_errors=True)


def fashion_spec(folder: Path, name: str, *, runs: int = TASKS, more: str = "") -> Path:
    return make_spec(folder, name=name, runs=runs, epochs=1, problem="fmnist_logreg", more=more)


@pytest.fixture(scope="module")
def outside(tmp_path_factory) -> Mapping[str, Any]:
    """The records of the runs of `fashion_spec`, on this machine without an image."""
    folder = tmp_path_factory.mktemp("outside")
    fashion_spec(folder, "outside")
    probprec("run", "outside.yaml", cwd=folder)
    return records(folder / "sweeps" / "outside")


def test_the_quickstart_in_the_image(boxed, tmp_path):
    """Its records are those of runs without an image, bit for bit: the versions are the same.

    With one seed of its three, unless all is tested.
    """
    spec = ROOT / "configs" / "experiments" / "quickstart.yaml"
    less = ["--name", "quickstart", "--set", "epochs=1", *([] if ALL else ["--set", "seeds=42"])]
    here = tmp_path / "here"
    here.mkdir()
    probprec("run", spec, *less, cwd=here)
    sweep = boxed("quickstart")
    sweep.submit(spec, *less)
    sweep.wait_over()
    ours, theirs = records(sweep.store.root), records(here / "sweeps" / "quickstart")

    assert len(theirs) == (12 if ALL else 4)
    assert ours.keys() == theirs.keys()
    for name, found in ours.items():
        for key in ("torch", "numpy"):
            assert found["provenance"][key] == theirs[name]["provenance"][key]
        assert science(found) == science(theirs[name])
        assert found["provenance"]["image"]["sha256"]
        assert found["provenance"]["slurm"]["job_id"]
    probprec("collect", sweep.store.root, cwd=sweep.folder)


def leave_behind(scratch: Path, fashion: Path, manifest: Manifest) -> Path:
    """What jobs that died left on the scratch.

    Half of the first file of this set, half of another set, and a whole old set that is so large
    that it has to go; the lease on it is held by nobody.

    Returns:
        That half of a file.
    """
    root = stage.store_of(scratch)
    first = manifest.files[0].path
    half = root / "partial" / manifest.sha256[:32] / "data" / first
    half.parent.mkdir(parents=True)
    content = (fashion / first).read_bytes()
    half.write_bytes(content[: len(content) // 2])
    other = root / "partial" / ("1" * 32) / "data"
    other.mkdir(parents=True)
    (other / "half").write_bytes(bytes(10 << 20))
    old = root / "sets" / ("0" * 32) / "data"
    old.mkdir(parents=True)
    (old / "big").write_bytes(bytes(60 << 20))
    (root / "leases").mkdir()
    (root / "leases" / f"{'0' * 32}.99_0.abcdefgh").touch()
    for folder in root.rglob("*"):
        folder.chmod(0o700)
    root.chmod(0o700)
    return half


def stop_the_copier(sweep: Boxed, half: Path, manifest: Manifest) -> str:
    """Stop (SIGSTOP) the launcher that goes on with that half of a file; its run."""
    left = half.stat().st_size
    wait_for(lambda: half.stat().st_size > left, pause=0.01, what="somebody goes on with it")
    leases = stage.store_of(sweep.scratch) / "leases"
    (lease,) = leases.glob(f"{manifest.sha256[:32]}.*")
    found = {
        run: claims(sweep.store, run)[-1]
        for run in run_ids(sweep.store)
        if claims(sweep.store, run)
    }
    (copier,) = (
        run for run, claim in found.items() if claim["element"] == lease.name.split(".")[1]
    )
    os.kill(found[copier]["pid"], signal.SIGSTOP)
    return copier


def test_eight_tasks_copy_once_whatever_dies(site, boxed, fashion, outside):
    """The copier is killed in the middle; leftovers of dead jobs lie there; the disk is small."""
    manifest = manifest_of_dataset("fmnist", fashion)
    sweep = boxed("crowd")
    half = leave_behind(sweep.scratch, fashion, manifest)
    with slow_disk.slow(site.lab.scratch, 0.5):  # time to stop the copier
        sweep.submit(fashion_spec(sweep.folder, "crowd"))
        copier = stop_the_copier(sweep, half, manifest)
        wait_for(lambda: len(sweep.waiting()) == TASKS - 1, what="all but one wait for the copier")
        assert copier not in sweep.waiting()
        assert not sweep.events("staged")
        os.kill(claims(sweep.store, copier)[-1]["pid"], signal.SIGKILL)
        wait_for(lambda: sweep.events("staged"), what="another one has copied it")
    sweep.wait_over()
    copied = [line["copied_bytes"] for line in sweep.events("staged")]

    assert len(copied) == TASKS - 1
    assert sum(size > 0 for size in copied) == 1
    assert sum(copied) < manifest.size, "it goes on where those before it were killed"
    sweep.submit(sweep.folder / "crowd.yaml")  # the one that was killed
    sweep.wait_over()
    found = records(sweep.store.root)
    assert found.keys() == outside.keys()
    for name, record in found.items():
        assert science(record) == science(outside[name])
        assert record["provenance"]["staging"]["manifest"] == manifest.sha256
    root = stage.store_of(sweep.scratch)
    assert [place.name for place in (root / "sets").iterdir()] == [manifest.sha256[:32]]
    assert not list((root / "leases").iterdir())
    assert found[copier]["provenance"]["staging"]["hit"]


def test_a_full_scratch(site, boxed, outside):
    """The profile says what then: fail, or read in place."""
    fails, reads = boxed("fails", unstaged="fail"), boxed("reads")
    site.lab.fill_scratch()
    try:
        for sweep in (fails, reads):
            sweep.submit(fashion_spec(sweep.folder, sweep.name, runs=3))
        for sweep in (fails, reads):
            sweep.wait_over()
    finally:
        site.lab.free_scratch()

    assert fails.classes() == {"disk_full"}
    assert not fails.is_published()
    found = records(reads.store.root)
    assert len(found) == 3
    assert all(record["provenance"]["staging"]["in_place"] for record in found.values())
    assert all(science(record) == science(outside[name]) for name, record in found.items())


@pytest.mark.nightly  # test_slurm_doctor and test_containers_inside ask it, too
def test_a_poisoned_login_shell_changes_nothing(boxed, tmp_path):
    """What sbatch carries along from the shell ends at the container's wall."""
    hashes = []
    for name, environment in (("clean", {}), ("poisoned", poison(tmp_path))):
        sweep = boxed(name)
        sweep.submit(make_spec(sweep.folder, name=name, epochs=1), environment=environment)
        sweep.wait_over()
        found = records(sweep.store.root)
        assert len(found) == 3, sweep.classes()
        hashes.append({record["provenance"]["environment"] for record in found.values()})

    assert len(POISON) >= 50
    assert hashes[0] == hashes[1]
    assert len(hashes[0]) == 1


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


def hostile(archive: Path, outside: Path) -> None:
    """Put an archive with a path that leads out of it in its place."""
    with tarfile.open(archive, "w") as file:
        member = tarfile.TarInfo(f"../../../../../../../..{outside}")
        member.size = 0
        file.addfile(member)


def test_what_is_not_what_was_submitted_is_refused(site, boxed, image, fashion, tmp_path):
    """Data, image, code and archive are changed while the runs wait; no number comes of it."""
    copy = tmp_path / "data"
    shutil.copytree(fashion, copy)
    sif = tmp_path / "copy.sif"
    shutil.copy(image, sif)
    archive, intruder = tmp_path / "fashion.tar", tmp_path / "intruder"
    with tarfile.open(archive, "w") as file:
        for path in sorted(fashion.iterdir()):
            file.add(path, path.name)
    registry = {"PROBPREC_DATASETS": str(tmp_path / "datasets")}
    probprec("data", "add", "fmnist", archive, cwd=tmp_path, environment=registry)
    sweeps = {
        "flipped": (boxed("flipped"), f"data: {copy}\n", {}),
        "inplace": (boxed("inplace", scratch="/proc/nowhere"), f"data: {copy}\n", {}),
        "replaced": (boxed("replaced", image=sif), "", {}),
        "edited": (boxed("edited"), "", {}),
        "archive": (boxed("archive"), "", registry),
    }
    site.lab.drain("node1")
    try:
        for name, (sweep, more, environment) in sweeps.items():
            spec = fashion_spec(sweep.folder, name, runs=3, more=more)
            sweep.submit(spec, "--only", "optimizer=SGD", environment=environment)
        flip(copy / "train-images-idx3-ubyte.gz")
        flip(sif)
        (code,) = sweeps["edited"][0].store.code.glob("*.zip")
        flip(code)
        hostile(archive, intruder)
    finally:
        site.lab.resume("node1")
    for name, (sweep, _, _) in sweeps.items():
        sweep.wait_over()
        assert sweep.classes() - {None} == {"drifted"}, name
        assert not sweep.is_published(), name
        (run,) = [run for run in run_ids(sweep.store) if ends(sweep.store, run)]
        evidence = ends(sweep.store, run)[-1]["evidence"]
        if name != "archive":
            assert "sha256" in evidence, evidence
    flipped = ends(sweeps["flipped"][0].store, run_ids(sweeps["flipped"][0].store)[0])
    assert "train-images-idx3-ubyte.gz" in json.dumps(flipped)
    assert not intruder.exists()


def test_an_archive_is_unpacked_on_the_node(boxed, fashion, tmp_path, outside):
    """And the image is copied to scratch as well, where the profile says so... in a scratch of its own."""
    archive = tmp_path / "fashion.tar.zst"
    _compress(fashion, archive)
    registry = {"PROBPREC_DATASETS": str(tmp_path / "datasets")}
    probprec("data", "add", "fmnist", archive, cwd=tmp_path, environment=registry)
    large = tmp_path / "large-scratch"
    sweep = boxed("unpacked", scratch=str(large), stage_image="true")
    sweep.submit(fashion_spec(sweep.folder, "unpacked", runs=3), environment=registry)
    sweep.wait_over()
    found = records(sweep.store.root)

    assert len(found) == 3, sweep.classes()
    assert all(science(record) == science(outside[name]) for name, record in found.items())
    staged = {line["what"] for line in sweep.events("staged")}
    assert len(staged) == 2
    assert "fmnist" in staged
    shutil.rmtree(large)


def _compress(folder: Path, archive: Path) -> None:
    import zstandard

    with (
        archive.open("wb") as raw,
        zstandard.ZstdCompressor().stream_writer(raw) as stream,
        tarfile.open(fileobj=stream, mode="w|") as file,
    ):
        for path in sorted(folder.iterdir()):
            file.add(path, path.name)


@pytest.mark.nightly  # test_slurm_classes and test_slurm_doctor ask it, too
def test_a_gpu_that_is_none_is_refused(boxed):
    """The lab's GPUs are pretended: allocated, but not there."""
    sweep = boxed("gpu", resources={"gpus": 1})
    sweep.submit(make_spec(sweep.folder, name="gpu", epochs=1), "--only", "optimizer=SGD")
    sweep.wait_over()

    assert sweep.classes() - {None} == {"gpu_missing"}
    assert not sweep.is_published()
