"""A throw-away Slurm is started, stopped and looked at."""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cluster.lab import cgroups, conf, daemons, database, mounts, processes
from cluster.lab.faults import Faults
from cluster.lab.processes import LabError, Process
from cluster.lab.settings import Settings
from jobs.errors import InputError

FOLDERS = ("bin", "dev", "log", "munge", "run", "scratch", "spool", "state")
_UNTIL_IDLE_S, _UNTIL_DEAD_S = 30, 10


class Lab(Faults):
    """A Slurm cluster of virtual nodes on this machine, in one folder.

    Args:
        folder: Default: $PROBPREC_LAB, else /tmp/probprec-lab-UID.
    """

    def up(self, settings: Settings) -> None:
        """Start the lab; returns when every node is idle. A failed start leaves nothing behind.

        Raises:
            InputError: the lab is up already, packages are missing, or the settings make no sense.
            LabError: a daemon did not start; the text has the end of its log.
        """
        settings.check()
        daemons.require_packages(settings)
        if settings.cgroups and not cgroups.usable():
            raise InputError("lab: memory limits by cgroups need root and writable cgroups (v1)")
        self._take_folder()
        try:
            self._prepare(settings)
            self._start(settings)
            self._wait_until_idle()
            self._write_state(settings, self.place.port, is_ready=True)
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """Stop all daemons and all processes of jobs, unmount, remove the folder; may be repeated.

        Raises:
            InputError: the folder is no lab.
            LabError: processes do not die (they hang in the kernel).
        """
        state: dict[str, Any] | None = None
        if self.folder.exists():
            with contextlib.suppress(InputError):
                state = self._state()
            if state is None and any(self.folder.iterdir()):
                raise InputError(f"lab: {self.folder} is no lab; nothing was removed")
        if state is None:  # the folder was removed by hand, but processes still name it
            self._kill_everything(list)
        else:
            settings, jobs = Settings(**state["settings"]), conf.job_ids(self.place)
            self._kill_everything(lambda: self._hidden(settings, jobs))
            cgroups.remove(settings, jobs)
        mounts.unmount_below(self.folder)
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def is_up(self) -> bool:
        """Whether the lab was started completely and some daemon of it still runs."""
        try:
            state = self._state()
        except InputError:
            return False
        return bool(state["ready"]) and any(
            daemon["alive"] for daemon in self._daemons(Settings(**state["settings"])).values()
        )

    def status(self) -> dict[str, Any]:
        """The lab's daemons with pid and whether they run, nodes with their state, and settings.

        Raises:
            InputError: there is no lab.
        """
        settings = self.settings
        running = self._daemons(settings)
        return {
            "schema": 1,
            "folder": str(self.folder),
            "up": self.is_up(),
            "daemons": running,
            "nodes": self._nodes() if running["slurmctld"]["alive"] else {},
            "scratch": {"path": str(self.scratch), "limited": mounts.is_mounted(self.scratch)},
            "settings": settings.to_json(),
        }

    def _take_folder(self) -> None:
        if self.is_up():
            raise InputError(f"lab: {self.folder} is up already; next: probprec lab down")
        if self._is_starting():
            raise InputError(f"lab: {self.folder} is being started by somebody else")
        if self.folder.exists():
            if self.folder.stat().st_uid != os.getuid():
                raise InputError(f"lab: {self.folder} belongs to somebody else; choose another")
            self.down()  # the rest of a lab that died; refuses a folder that is no lab
        if not self.folder.parent.is_dir():
            raise InputError(f"lab: {self.folder.parent} is no folder")
        self.folder.mkdir()

    def _is_starting(self) -> bool:
        with contextlib.suppress(InputError):
            state = self._state()
            return not state["ready"] and processes.is_alive(Process(*state["starter"]))
        return False

    def _prepare(self, settings: Settings) -> None:
        folder = self.folder
        port = daemons.free_ports(settings.nodes + 2)
        self._write_state(settings, port, is_ready=False)
        for name in FOLDERS:
            (folder / name).mkdir(mode=0o755)
        for path in (folder, folder / "munge", folder / "bin"):
            path.chmod(0o755)
        for number in range(settings.gpus):
            (folder / "dev" / f"nvidia{number}").symlink_to("/dev/null")
        for node in settings.node_names:
            (folder / "spool" / node).mkdir(mode=0o755)
        is_confined = cgroups.usable() if settings.cgroups is None else settings.cgroups
        place = self.place
        _write(folder / "munge" / "key", os.urandom(1024), 0o600)
        _write(folder / "bin" / "mail", conf.mail_program(place).encode(), 0o755)
        _write(folder / "gres.conf", conf.gres_conf(place, settings).encode(), 0o644)
        if is_confined:
            _write(folder / "cgroup.conf", conf.cgroup_conf().encode(), 0o644)
        if settings.accounting:
            _write(folder / "slurmdbd.conf", conf.slurmdbd_conf(place).encode(), 0o600)
        content = conf.slurm_conf(place, settings, cgroups=is_confined)
        _write(self.conf, content.encode(), 0o644)
        mounts.mount_scratch(self.scratch, settings.scratch_mb)

    def _start(self, settings: Settings) -> None:
        place = self.place
        with ThreadPoolExecutor(max_workers=settings.nodes + 1) as pool:
            munged = pool.submit(daemons.start, place, "munged")
            if settings.accounting:
                database.create(place)
                daemons.start(place, "mariadbd")
            munged.result()
            if settings.accounting:
                daemons.start(place, "slurmdbd")
                database.fill(place, settings, self.environment())
            # A node that finds no controller tries again only after ten seconds.
            daemons.start(place, "slurmctld", first=True)
            nodes = [
                pool.submit(daemons.start, place, f"slurmd:{node}") for node in settings.node_names
            ]
            for node in nodes:
                node.result()

    def _wait_until_idle(self) -> None:
        deadline = time.monotonic() + _UNTIL_IDLE_S
        while set((nodes := self._nodes()).values()) != {"idle"}:
            if time.monotonic() > deadline:
                raise LabError(f"lab: the nodes do not become idle: {nodes}")
            time.sleep(0.02)

    def _kill_everything(self, hidden: Callable[[], list[int]]) -> None:
        deadline = time.monotonic() + _UNTIL_DEAD_S
        while left := processes.of_lab(self.folder, also=hidden()):
            if time.monotonic() > deadline:
                raise LabError(f"lab: processes that do not die: {[one.pid for one in left]}")
            for process in left:
                processes.send(process, signal.SIGKILL)
            processes.wait_gone(left, 1)

    def _hidden(self, settings: Settings, jobs: range) -> list[int]:
        """Processes of jobs that do not name the lab: they are in a job's cgroup, or orphaned by `kill`."""
        orphans = [process.pid for process in self.orphans() if processes.is_alive(process)]
        return cgroups.members(settings, jobs) + orphans

    def _daemons(self, settings: Settings) -> dict[str, dict[str, Any]]:
        found = {}
        for name in daemons.names(settings):
            process = processes.read(daemons.pid_file(self.folder, name))
            is_alive = process is not None and processes.is_alive(process)
            found[name] = {"pid": process.pid if process else None, "alive": is_alive}
        return found

    def _nodes(self) -> dict[str, str]:
        done = self.run("sinfo", "--noheader", "--Node", "--format=%N %T", check=False)
        return dict(line.split() for line in done.stdout.splitlines())


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    path.chmod(mode)  # whatever the umask
