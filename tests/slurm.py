"""Real Slurm for tests: one throw-away lab for all of them, `probprec` in it, and what goes on there.

A pytest plugin (`conftest.py` loads it); the plain functions are imported: `from tests.slurm import ...`.
Sweeps in the lab, whose runs can be held at a step, are in `tests/case.py`.

What only waits, goes on side by side: a test that is marked `side_by_side(FUNCTION)` takes what came
of FUNCTION by the fixture `outcome`. All these functions start with the first of these tests, each in
a thread of its own; the tests that need the cluster for themselves (the fixture `site`) come after.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cluster.lab import Lab, Settings
from cluster.lab.faults import NODE_CLEANUP_S
from tests.helpers import ALL, probprec, wait_for

MODES = {"accounting": True} | ({"plain": False} if ALL else {})
"""Is slurmdbd there? In the quick set it is: only the readers are asked as if it was not."""

SETTINGS: Mapping[str, Any] = {
    "nodes": 11,
    "cpus": 16,
    "gpus": 2,
    "memory_mb": 32_000,
    "max_array_size": 11,
    "kill_wait": 30,
    "grace_time": 10,
    "node_timeout": 45 if ALL else 12,  # with real training, a daemon may be kept from answering
    "scratch_mb": 140,
    "min_job_age": 1800,  # what a test counts in the end is still in the queue, however long it took
}
OVER = {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY"}
AT_A_TIME = 2 if ALL else 4
"""Functions that go on side by side, those that are marked as slow not counted."""

_DISABLED = "#!/bin/sh\necho Slurm accounting storage is disabled >&2\nexit 1\n"
"""What sacct and sacctmgr are where there is no accounting."""


_IS_OF_SLURM = threading.Event()
"""Whether the test that runs is one of Slurm: others may have a clock and commands of their own."""
_NUDGING = threading.Lock()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let the nudgers of all labs rest while other tests run in this process."""
    with _NUDGING:
        if item.get_closest_marker("slurm"):
            _IS_OF_SLURM.set()
        else:
            _IS_OF_SLURM.clear()


@dataclass(eq=False)
class Site:
    """A lab that is up, and the command in it."""

    lab: Lab
    accounting: bool
    without_accounting: Mapping[str, str]
    """What makes commands see a Slurm without accounting, whatever this one has."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _nudger: threading.Thread | None = None

    @property
    def mode(self) -> str:
        """Which of `MODES`."""
        return "accounting" if self.accounting else "plain"

    def command(self, *arguments: object) -> list[str]:
        """The command line of `probprec`."""
        return [sys.executable, "-m", "cluster.cli", *map(str, arguments)]

    def probprec(
        self,
        *arguments: object,
        cwd: Path,
        check: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        """Run `probprec` in the lab and wait for it."""
        base = self.lab.environment()
        return probprec(*arguments, cwd=cwd, check=check, environment=environment, base=base)

    def start(
        self, command: Sequence[str], *, cwd: Path, environment: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        """Start a command in the lab."""
        return subprocess.Popen(
            command,
            cwd=cwd,
            env={**self.lab.environment(), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def jobs(self, name: str) -> dict[str, dict[str, str]]:
        """Every element of the queue of that job name, also those that are over, by element."""
        lines = self.squeue("--states=all", f"--name={name}", "--format=%F|%K|%A|%T|%r|%N|%k")
        keys = ("job", "task", "raw", "state", "reason", "node", "comment")
        rows = [dict(zip(keys, line.split("|", 6), strict=True)) for line in lines]
        return {f"{row['job']}_{row['task']}": row for row in rows}

    def squeue(self, *arguments: str) -> list[str]:
        """The lines of squeue, an element each; no answer is not an empty queue: it is asked again."""
        done = wait_for(
            lambda: (found := self._ask(arguments)).returncode == 0 and found,
            what="the controller's answer",
        )
        return [line for line in done.stdout.split("\n") if line]

    def _ask(self, arguments: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        return self.lab.run("squeue", "--noheader", "--array", *arguments, check=False)

    def heal(self) -> None:
        """Start what does not run, and take all nodes back into service."""
        for daemon, found in self.lab.status()["daemons"].items():
            if not found["alive"]:
                self.lab.restart(daemon)
        for node in self.lab.settings.node_names:
            with contextlib.suppress(subprocess.CalledProcessError):  # it is in service
                self.lab.resume(node)

    def queue_of(self, name: str, cap: int) -> None:
        """Make a quality of service of that name that takes so many jobs of a user."""
        for line in (
            f"add qos {name} set MaxSubmitJobsPerUser={cap}",
            f"modify user {self.lab.place.user} set qos+={name}",
        ):
            self.lab.run("sacctmgr", "-i", *line.split())

    def nudge_for_ever(self) -> None:
        """Spare requeued jobs the two minutes that Slurm makes them wait, but for a few seconds.

        A node that has only just ended the old start of a job sends its signals to the new one.
        """
        since: dict[str, float] = {}
        while not self._stop.wait(0.5):
            with _NUDGING, contextlib.suppress(subprocess.SubprocessError):
                if _IS_OF_SLURM.is_set():
                    since = self._nudge(since)

    def _nudge(self, since: Mapping[str, float]) -> dict[str, float]:
        """Let go what has waited long enough; since when the others have."""
        done = self.lab.run(
            "squeue", "-h", "-r", "-t", "PD", "-o", "%i|%r", check=False, timeout=30
        )
        rows = (line.partition("|") for line in done.stdout.splitlines())
        waiting = [job for job, _, reason in rows if reason == "BeginTime"]
        now = time.monotonic()
        found = {job: since.get(job, now) for job in waiting}
        for job in waiting:
            if now - found[job] >= NODE_CLEANUP_S:
                self.lab.start_now(job, pause=0)
        return found

    def begin(self) -> None:
        """Start the nudger."""
        self._nudger = threading.Thread(target=self.nudge_for_ever, daemon=True)
        self._nudger.start()

    def end(self) -> None:
        """Stop the nudger."""
        self._stop.set()
        if self._nudger is not None:
            self._nudger.join()


@contextlib.contextmanager
def lab_up(**settings: Any) -> Iterator[Site]:
    """A lab for as long as it is needed; whatever happens, nothing of it is left."""
    if shutil.which("slurmctld", path="/usr/sbin:/usr/bin:/sbin:/bin") is None:
        pytest.fail("Slurm is not installed: scripts/install --dev")
    folder = Path(tempfile.mkdtemp(prefix="lab-", dir="/tmp"))
    folder.chmod(0o755)
    found = Lab(folder / "lab")
    bin_folder = folder / "without-accounting"
    bin_folder.mkdir()
    for name in ("sacct", "sacctmgr"):
        (bin_folder / name).write_text(_DISABLED)
        (bin_folder / name).chmod(0o755)
    try:
        found.up(Settings(**{**SETTINGS, **settings}))
        without = {"PATH": f"{bin_folder}:{os.environ['PATH']}"}
        site = Site(found, bool(settings.get("accounting")), without)
        site.begin()
        try:
            yield site
        finally:
            site.end()
    finally:
        found.down()
        shutil.rmtree(folder)


@pytest.fixture(scope="session", params=MODES)
def shared_site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """The lab that all tests share; it limits jobs by their quality of service."""
    accounting = MODES[request.param]
    # A cap that nobody meets, so that Slurm looks at those of `Site.queue_of`.
    with lab_up(accounting=accounting, max_submit=100_000 if accounting else None) as up:
        yield up


@dataclass(frozen=True)
class Stage:
    """What a function of `side_by_side` is given."""

    site: Site
    folders: pytest.TempPathFactory
    make_case: Callable[..., Any]
    """Makes a sweep (`tests/case.py`)."""


@pytest.fixture(scope="session")
def wave(
    request: pytest.FixtureRequest,
    shared_site: Site,
    tmp_path_factory: pytest.TempPathFactory,
    make_case: Callable[..., Any],
) -> Iterator[Mapping[Hashable, Future[Any]]]:
    """The functions of all marked tests that were asked for, under way; the slow ones begin first."""
    wanted: dict[Callable[[Stage], Any], bool] = {}
    for item in request.session.items:
        for mark in item.iter_markers("side_by_side"):
            if _mode_of(item) == shared_site.mode:
                wanted[mark.args[0]] = mark.kwargs.get("slow", False)
    if any("image" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("building")  # meanwhile
    stage = Stage(shared_site, tmp_path_factory, make_case)
    slow = [function for function, is_slow in wanted.items() if is_slow]
    with (
        ThreadPoolExecutor(len(slow) or 1) as patient,
        ThreadPoolExecutor(AT_A_TIME) as pool,
    ):
        yield {function: patient.submit(function, stage) for function in slow} | {
            function: pool.submit(function, stage)
            for function, is_slow in wanted.items()
            if not is_slow
        }


def _mode_of(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    return str(callspec.params.get("shared_site")) if callspec is not None else ""


@pytest.fixture
def outcome(request: pytest.FixtureRequest, wave: Mapping[Hashable, Future[Any]]) -> Any:
    """What came of the function that the test is marked with."""
    mark = request.node.get_closest_marker("side_by_side")
    assert mark is not None
    return wave[mark.args[0]].result()


@pytest.fixture(scope="session")
def site(shared_site: Site, wave: Mapping[Hashable, Future[Any]]) -> Site:
    """The shared lab, with nothing else going on in it."""
    wait(wave.values())
    if any(one.exception() for one in wave.values()):
        shared_site.heal()  # what a fault broke, and did not mend, is not the next one's
    return shared_site


@pytest.fixture(scope="session")
def lab(site: Site) -> Lab:
    """The lab itself: its knobs."""
    return site.lab


def pytest_configure(config: pytest.Config) -> None:
    """The markers of this plugin."""
    for line in (
        "side_by_side(function, slow=, accounting=): takes what came of it by the fixture `outcome`",
        "nightly: only with `scripts/test --all`",
        "last: after all other tests of the shared lab",
    ):
        config.addinivalue_line("markers", line)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep what needs Slurm in one process, and what goes on side by side at its begin."""
    left_out = {item for item in items if _is_left_out(item)}
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]
    for item in items:
        if item.get_closest_marker("slurm"):
            item.add_marker(pytest.mark.xdist_group("lab"))
        elif item.get_closest_marker("apptainer"):
            item.add_marker(pytest.mark.xdist_group("images"))
    items.sort(key=_rank)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse to share out the tests of the one lab: a pytest-xdist that lost its groups did that."""
    if session.config.getoption("loadgroup", default=False):
        for item in session.items:
            if item.get_closest_marker("xdist_group") and "@" not in item.nodeid:
                raise pytest.UsageError(f"{item.nodeid}: pytest-xdist does not keep its group")


def _is_left_out(item: pytest.Item) -> bool:
    """What is for `scripts/test --all` only, or needs the accounting that this lab has not."""
    if item.get_closest_marker("nightly") and not ALL:
        return True
    mark = item.get_closest_marker("side_by_side")
    needs_accounting = mark is not None and mark.kwargs.get("accounting", False)
    return needs_accounting and _mode_of(item) == "plain"


def _rank(item: pytest.Item) -> int:
    """What comes first: the lab, of it the tests that wait side by side."""
    if item.get_closest_marker("side_by_side"):
        return 0
    if item.get_closest_marker("last"):
        return 2
    return 1 if item.get_closest_marker("slurm") else 3


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Signal a process; it is there."""
    os.kill(pid, number)
