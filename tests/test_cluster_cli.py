"""All commands where a disk is full, or read-only, or somebody else's: one line, and never a traceback."""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster.cli.parser import parser
from tests.helpers import note, probprec, short_folder
from tests.make_sweep import make_sweep

ROOT = Path(__file__).resolve().parent.parent
NOBODY = 65534

# Runs commands one by one in a process of its own, as another user if that is wanted.
WALK = """
import contextlib, importlib, io, json, os, pkgutil, sys, tempfile, traceback
import cluster
from cluster.cli import main

def run(words):
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(words)
        except SystemExit as left:
            code = left.code
        except BaseException:
            code = None
            traceback.print_exc()
    said = []
    for stream in (out, err):
        stream.flush()
        said.append(stream.buffer.getvalue().decode())
    return code, *said

asked = json.load(sys.stdin)
for module in pkgutil.walk_packages(cluster.__path__, "cluster."):
    importlib.import_module(module.name)  # while it can be read: others may not see this Python
os.umask(0)  # so that others may write over the tables and figures of --out
before = [run(words) for words in asked["before"]]
if asked["user"]:
    os.setgroups([])
    os.setgid(asked["user"])
    os.setuid(asked["user"])
    os.chdir("/")  # where one stood may be closed
tempfile.tempdir = asked["temporary"]
json.dump((before, [run(words) for words in asked["commands"]]), sys.stdout)
"""

SPEC = """\
problems: [digits_mlp]
optimizers: {SGD: {lr: 0.1}}
seeds: 42
epochs: 1
"""

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="other users and file systems take root")


@dataclass(frozen=True)
class Place:
    """All that commands read and write, below one folder; and a folder that can be written to."""

    folder: Path
    free: Path
    run: str  # the id of a run without a record

    def commands(self) -> dict[tuple[str, ...], list[list[str]]]:
        """What is typed for each command."""
        at, free = self.folder, self.free
        root, sweep = ["--root", at / "sweeps"], ["small", "--root", at / "sweeps"]
        images, datasets = ["--images", at / "images"], ["--datasets", at / "datasets"]
        lab = ["lab", "--folder", at / "lab"]
        typed = {
            ("init",): [["init", at / "new"]],
            ("check",): [["check", at / "other.yaml"]],
            ("explain",): [["explain", at / "other.yaml", ""]],
            ("schema",): [["schema"]],
            ("completion",): [["completion", "bash"]],
            ("verify-resume",): [["verify-resume", at / "other.yaml"]],
            ("run",): [["run", at / "other.yaml", *root]],
            ("submit",): [["submit", at / "other.yaml", *root]],
            ("status",): [["status", *sweep], ["status", *sweep, "--json"]],
            ("logs",): [["logs", self.run, *root]],
            ("why",): [["why", self.run, *root]],
            ("ls",): [["ls", *root]],
            ("retry",): [["retry", *sweep]],
            ("redo",): [["redo", *sweep]],
            ("cancel",): [["cancel", *sweep]],
            ("collect",): [["collect", *sweep], ["collect", *sweep, "--out", free / "tables"]],
            ("compare",): [["compare", *sweep]],
            ("plot",): [["plot", *sweep], ["plot", *sweep, "--out", free / "figures"]],
            ("report",): [["report", *sweep], ["report", *sweep, "--out", free / "report.html"]],
            ("doctor",): [["doctor"], ["doctor", "--on", "local", "--write", at / "found.yaml"]],
            ("build",): [["build", at / "image.yaml", *images]],
            ("image", "list"): [["image", "list", *images]],
            ("image", "inspect"): [["image", "inspect", "cpu", *images]],
            ("image", "verify"): [["image", "verify", *images]],
            ("image", "prune"): [["image", "prune", *images, *root]],
            ("data", "add"): [["data", "add", "new", at / "original", *datasets]],
            ("data", "list"): [["data", "list", *datasets]],
            ("data", "verify"): [["data", "verify", *datasets]],
            ("data", "prune"): [["data", "prune", *datasets]],
            ("lab", "up"): [[*lab, "up"]],
            ("lab", "down"): [[*lab, "down"]],
            ("lab", "status"): [[*lab, "status"]],
            ("lab", "exec"): [[*lab, "exec", "--", "true"]],
            ("lab", "fault"): [[*lab, "fault", "drain", "node1"]],
        }
        return {name: [list(map(str, words)) for words in lines] for name, lines in typed.items()}


@dataclass(frozen=True)
class Told:
    """What came of a command."""

    name: tuple[str, ...]
    words: list[str]
    code: int | None  # None: a traceback
    out: str
    err: str
    code_for_root: int | None  # of commands that only read


READ_ONLY = {
    *("check", "explain", "schema", "completion", "status", "ls", "logs", "why", "compare"),
    *(f"image {name}" for name in ("list", "inspect", "verify")),
    *(f"data {name}" for name in ("list", "verify")),
}
"""Commands that write nothing: they say the same wherever they read."""

REMOVE_ONLY = {"cancel", "image prune", "data prune", "build"}
"""Commands that a full disk need not stop, and a build that ends for want of Apptainer."""


def leaves(found: argparse.ArgumentParser, words=()):
    """All commands, with those below `image`, `data` and `lab`."""
    below = [one for one in found._actions if isinstance(one, argparse._SubParsersAction)]
    if not below:
        yield words
    for one in below:
        for name, inner in one.choices.items():
            yield from leaves(inner, (*words, name))


def furnish(folder: Path, free: Path) -> Place:
    """A sweep with a record, a failed run and one that was never sent; a spec; an image; data."""
    store = make_sweep(
        folder / "sweeps" / "small",
        problems=("quadratic_deep",),
        optimizers={"SGD": [{"lr": 0.1}]},
        is_recorded=lambda planned: planned.run.seed == 42,
    )
    failed = store.sweep().runs[1].run
    attempt = store.run(failed.id).claim()
    note(store.run(failed.id), "claimed", fence=1, host="here", pid=1, element=None)
    attempt.log_file.write_text("it began\n")
    note(store.run(failed.id), "ended", fence=1, failure="killed", message="killed by SIGKILL")
    attempt.release()
    probprec("status", "small", "--root", folder / "sweeps", cwd=folder, check=1)
    (folder / "other.yaml").write_text(SPEC)
    (folder / "image.yaml").write_text("base: {localimage: base}\n")
    (folder / "images").mkdir()
    for number in range(2):
        add_image(folder / "images", number)
    (folder / "original").mkdir()
    (folder / "original" / "a").write_bytes(b"a")
    shutil.copytree(folder / "original", folder / "lost")
    for name, source in (("known", "original"), ("gone", "lost")):
        words = ["data", "add", name, folder / source, "--datasets", folder / "datasets"]
        probprec(*words, cwd=folder)
    shutil.rmtree(folder / "lost")
    return Place(folder, free, failed.id)


def add_image(folder: Path, number: int) -> None:
    path = folder / f"cpu-{str(number) * 12}.sif"
    path.write_text("image")
    (folder / f".{path.stem}.lock").touch()
    meta = {"schema": 1, "name": "cpu", "key": str(number) * 64, "sha256": "", "size": 5}
    meta |= {"built": number, "pinned": True, "packages": []}
    path.with_suffix(".json").write_text(json.dumps(meta))


@pytest.fixture
def place(request, monkeypatch):
    """Furnished, and as the parameter says: full, read-only, or somebody else's."""
    kind = request.param
    with short_folder() as top, contextlib.ExitStack() as stack:
        top.chmod(0o755)
        folder, free, tools = (top / name for name in ("place", "free", "bin"))
        for one in (folder, free, tools):
            one.mkdir()
        free.chmod(0o777)
        monkeypatch.setenv("PATH", str(tools))  # no Slurm, no Apptainer
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        monkeypatch.setenv("MPLCONFIGDIR", str(free / "matplotlib"))
        if kind in {"full", "read-only"}:
            mount(folder, "-t", "tmpfs", "-o", "size=2m,mode=755", "tmpfs")
            stack.callback(subprocess.run, ["/bin/umount", "--lazy", folder], check=True)
        found = furnish(folder, free)
        if kind == "full":
            fill(folder)
        elif kind == "read-only":
            mount(folder, "-o", "remount,ro")
        elif kind == "private":
            (folder / "sweeps" / "small").chmod(0o700)
            (folder / "images").chmod(0o700)
        yield kind, found


def mount(folder, *options):
    subprocess.run(["/bin/mount", *options, folder], check=True)


def fill(folder):
    """Until not one more byte of a new file can be written."""
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def walk(place: Place, *, user: int = 0) -> Iterator[Told]:
    """What came of all commands; of those that only read, also what root is told, just before."""
    commands = place.commands()
    lines = [(name, words) for name, several in commands.items() for words in several]
    lines.sort(key=lambda line: " ".join(line[0]) in REMOVE_ONLY)  # which make room
    reading = [words for name, words in lines if is_reading(name, words)]
    asked = {
        "before": reading,
        "user": user,
        "temporary": str(place.folder),
        "commands": [words for _, words in lines],
    }
    done = subprocess.run(
        [sys.executable, "-c", WALK],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
        cwd=place.folder,
    )
    before, after = json.loads(done.stdout)
    codes = {tuple(words): code for words, (code, _, _) in zip(reading, before, strict=True)}
    for (name, words), found in zip(lines, after, strict=True):
        yield Told(name, words, *found, code_for_root=codes.get(tuple(words)))


def is_reading(name, words):
    return " ".join(name) in READ_ONLY or "--out" in words


def state_of(folder):
    """Every file below, and when it was changed."""
    return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*")}


def test_every_command_is_walked(tmp_path):
    """A new one has to be added to the walk."""
    assert set(Place(tmp_path, tmp_path, "").commands()) == set(leaves(parser()))


@pytest.mark.parametrize("place", ["full", "read-only", "foreign", "private"], indirect=True)
def test_every_command_ends_in_a_line(place):
    """Those that only read do what they do for root; the others name what cannot be written."""
    kind, found = place
    before = state_of(found.folder)
    for told in walk(found, user=NOBODY if kind in {"foreign", "private"} else 0):
        said = f"{kind}: {told}"
        assert told.code in {0, 1, 2}, said
        assert "Traceback" not in told.out + told.err, said
        if is_reading(told.name, told.words):
            assert told.code == told.code_for_root or kind == "private", said
        elif not may_go_well(told, kind):
            assert told.code in {1, 2}, said
            assert str(found.folder) in told.err, said
            assert len(told.err.splitlines()) == 1, said
    if kind != "full":  # where a writer may have come as far as making a folder
        assert state_of(found.folder) == before


def may_go_well(told: Told, kind: str) -> bool:
    """Whether a command that writes may have nothing to write there."""
    if kind == "full" and " ".join(told.name) in REMOVE_ONLY:
        return True
    if told.name[0] == "lab":
        return told.name[1] != "up"
    return told.name == ("doctor",) and "--write" not in told.words


@pytest.mark.parametrize("also_ours", [False, True])
def test_the_installed_command_is_immune_to_pythonpath(tmp_path, also_ours):
    """To packages and modules of our names and of Python's, also where PYTHONPATH names us, too."""
    for name in ("cluster", "jobs", "containers", "random", "logging", "argparse", "pathlib"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('the other {name}')\n")
    (tmp_path / "other.yaml").write_text(SPEC)
    script = "import sys; from probprec_command import main; sys.exit(main())"
    places = [str(tmp_path), *([str(ROOT)] if also_ours else [])]
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, "check", "other.yaml"],
        cwd=tmp_path,
        env=found,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("other: 1 run")
