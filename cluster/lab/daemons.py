"""The daemons of a lab: their command lines, and when each of them is ready."""

import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

from cluster.lab import processes
from cluster.lab.conf import Place, node_port
from cluster.lab.processes import LabError, Process
from cluster.lab.settings import Settings
from jobs.errors import InputError

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PACKAGES = {
    "slurmctld": "slurm-wlm",
    "slurmd": "slurm-wlm",
    "sbatch": "slurm-wlm",
    "munged": "munge",
    "setsid": "util-linux",
}
ACCOUNTING_PACKAGES = {"slurmdbd": "slurmdbd", "mariadbd": "mariadb-server"}


def require_packages(settings: Settings) -> None:
    """Raise an InputError that names the missing Debian packages."""
    needed = PACKAGES | (ACCOUNTING_PACKAGES if settings.accounting else {})
    missing = sorted({package for name, package in needed.items() if _which(name) is None})
    if missing:
        raise InputError(
            f"lab: Slurm is not installed completely; as root:"
            f" apt-get install --no-install-recommends {' '.join(missing)}"
        )


def names(settings: Settings) -> list[str]:
    """The lab's daemons, in the order in which they start."""
    accounting = ["mariadbd", "slurmdbd"] if settings.accounting else []
    return ["munged", *accounting, "slurmctld", *(f"slurmd:{node}" for node in settings.node_names)]


def pid_file(folder: Path, daemon: str) -> Path:
    """The file with a daemon's process."""
    return folder / "run" / f"{daemon.replace(':', '-')}.pid"


def log_file(folder: Path, daemon: str) -> Path:
    """The file with a daemon's standard error."""
    return folder / "log" / f"{daemon.replace(':', '-')}.err"


def start(place: Place, daemon: str, *, first: bool = False) -> Process:
    """Start one daemon and wait until it listens; `first`: the controller has no state yet.

    Raises:
        LabError: the daemon ended, or did not listen in time; the text has the end of its log.
    """
    folder = place.folder
    process = processes.start(
        _command(place, daemon, first=first),
        pid_file=pid_file(folder, daemon),
        log=log_file(folder, daemon),
        environment=_environment(folder),
    )
    deadline = time.monotonic() + 30
    listens = _listens(place, daemon)
    while process is not None and not listens():
        if not processes.is_alive(process):
            process = None
        elif time.monotonic() > deadline:
            break
        else:
            time.sleep(0.01)
    if process is None or not listens():
        log = log_file(folder, daemon).read_text(errors="replace").splitlines()
        raise LabError(f"lab: {daemon} did not start: " + "\n".join(log[-8:]))
    return process


def _command(place: Place, daemon: str, *, first: bool) -> list[str]:
    folder = place.folder
    name, _, node = daemon.partition(":")
    if name == "mariadbd":
        return mariadb_command(place)
    arguments = {
        "munged": [
            "--foreground",
            "--force",  # munged warns of folders like /tmp instead of refusing them
            f"--socket={place.munge_socket}",
            f"--key-file={folder}/munge/key",
            f"--pid-file={folder}/run/munged.own",
            f"--seed-file={folder}/munge/seed",
            "--log-file=/dev/stderr",
        ],
        "slurmdbd": ["-D"],
        "slurmctld": ["-D", *(["-c"] if first else [])],
        "slurmd": ["-D", "-N", node],
    }[name]
    return [_which(name) or name, *arguments]


def mariadb_command(place: Place, *extra: str) -> list[str]:
    """The command of a small and hasty server, with a socket in a folder that only its user can enter."""
    return [
        _which("mariadbd") or "mariadbd",
        "--no-defaults",
        f"--user={place.user}",
        f"--datadir={place.folder}/db/data",
        f"--socket={place.folder}/db/socket",
        f"--pid-file={place.folder}/run/mariadbd.own",
        "--skip-networking",
        "--skip-grant-tables",
        "--skip-log-bin",
        "--innodb-data-file-path=ibdata1:4M:autoextend",
        "--innodb-temp-data-file-path=ibtmp1:4M:autoextend",
        "--innodb-log-file-size=8M",
        "--innodb-buffer-pool-size=32M",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-doublewrite=0",
        "--innodb-flush-method=nosync",
        "--sync-frm=0",
        "--innodb-lock-wait-timeout=900",
        "--aria-log-file-size=8M",
        *extra,
    ]


def _listens(place: Place, daemon: str) -> Callable[[], bool]:
    name, _, node = daemon.partition(":")
    if name == "munged":
        return lambda: _answers(str(place.munge_socket))
    if name == "mariadbd":
        return lambda: _answers(f"{place.folder}/db/socket")
    if name == "slurmd":
        return lambda: _answers(node_port(place, int(node.removeprefix("node"))))
    return lambda: _answers(place.port + (name == "slurmdbd"))


def _answers(address: str | int) -> bool:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(1)
        try:
            connection.connect(address if isinstance(address, str) else ("127.0.0.1", address))
        except OSError:
            return False
    return True


def free_ports(count: int) -> int:
    """The first of `count` consecutive free TCP ports, away from Slurm's own."""
    import random

    for _ in range(1000):
        # Below the ports that the kernel gives to outgoing connections, on a grid: two labs that
        # start at once either want the same ports or share none.
        first = 20_000 + 80 * random.SystemRandom().randrange(150)
        if all(_is_free(port) for port in range(first, first + count)):
            return first
    raise LabError("lab: no free ports between 20000 and 32000")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def _environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": SYSTEM_PATH,
        "LANG": "C.UTF-8",
        "HOME": "/",
        "SLURM_CONF": f"{folder}/slurm.conf",
        "MYSQL_UNIX_PORT": f"{folder}/db/socket",
    }


def _which(name: str) -> str | None:
    return shutil.which(name, path=SYSTEM_PATH)
