"""The accounting database: a private MariaDB, filled by MariaDB's own scripts, with the lab's cluster."""

import subprocess
from pathlib import Path

from cluster.lab import daemons
from cluster.lab.conf import ACCOUNT, CLUSTER, Place
from cluster.lab.settings import Settings
from jobs.errors import InputError

_SCRIPTS = ("mysql_system_tables.sql", "mysql_performance_tables.sql")


def create(place: Place) -> None:
    """Create an empty database, in a tenth of the time of `mariadb-install-db` (no help, no time zones)."""
    data = place.folder / "db" / "data"
    data.mkdir(parents=True)
    data.parent.chmod(0o700)
    shared = Path("/usr/share/mysql")
    try:
        tables = [(shared / name).read_text() for name in _SCRIPTS]
    except FileNotFoundError as error:
        raise InputError(f"lab: {error.filename} is missing: reinstall mariadb-server") from None
    script = "\n".join(["create database if not exists mysql;", "use mysql;", *tables])
    command = daemons.mariadb_command(place, "--bootstrap")
    with daemons.log_file(place.folder, "mariadbd").open("ab") as log:
        subprocess.run(command, input=script.encode(), stdout=log, stderr=log, check=True)


def fill(place: Place, settings: Settings, environment: dict[str, str]) -> None:
    """Add cluster, account and user, and the cap, if there is one, to the QOS of all users."""
    lines = [
        f"add cluster {CLUSTER}",
        f"add account {ACCOUNT} description=lab organization=lab",
        f"add user {place.user} account={ACCOUNT}",
    ]
    if settings.max_submit is not None:
        lines.append(f"modify qos normal set MaxSubmitJobsPerUser={settings.max_submit}")
    for line in lines:
        subprocess.run(
            ["sacctmgr", "-i", *line.split()],  # noqa: S607 - the one of the PATH, as for the user
            env=environment,
            check=True,
            capture_output=True,
        )
