"""The command `probprec lab`: up, down, status, exec, and faults."""

import shlex
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.table import Table

from cluster.lab.lab import Lab
from cluster.lab.settings import Settings
from cluster.terminal.exit_codes import DONE, INCOMPLETE
from cluster.terminal.output import print_json
from cluster.terminal.plain import PlainConsole, plain
from jobs.errors import InputError

FAULTS: Mapping[str, str] = {
    "kill": "DAEMON [SIGNAL] [with-steps]",
    "restart": "DAEMON",
    "drain": "NODE",
    "resume": "NODE",
    "preempt": "[SECONDS [NODE...]]",
    "requeue": "JOB",
    "start-now": "JOB",
    "fill-scratch": "",
    "free-scratch": "",
}
"""The faults of `lab fault`, with their arguments."""


def up(settings: Settings, folder: Path | None = None) -> int:
    """Start a lab, and print its nodes, partitions and the commands to type next."""
    lab = Lab(folder)
    lab.up(settings)
    console = PlainConsole(soft_wrap=True)
    gpus = f" {settings.gpus} fake GPUs," if settings.gpus else ""
    console.print(
        f"a Slurm of your own in {lab.folder}: {settings.nodes} nodes with {settings.cpus} CPUs,"
        f"{gpus} {settings.memory_mb} MB each;"
        f" accounting {'on' if settings.accounting else 'off'}"
    )
    console.print("partitions: day (default), short, preemptible, urgent (preempts preemptible)")
    where = "" if folder is None else f"PROBPREC_LAB={shlex.quote(str(lab.folder))} "
    for line in (
        f"next: {where}probprec submit SPEC --on lab",
        f"      {where}probprec lab exec -- squeue",
        f"      {where}probprec lab down",
    ):
        console.print(plain(line, style="dim"))
    return DONE


def down(folder: Path | None = None) -> int:
    """Stop a lab and remove it."""
    lab = Lab(folder)
    was_there = lab.folder.exists()
    lab.down()
    text = "stopped and removed" if was_there else "there was none"
    PlainConsole(soft_wrap=True).print(f"{lab.folder}: {text}")
    return DONE


def status(folder: Path | None = None, *, as_json: bool = False) -> int:
    """Print daemons and nodes; 1 while one of them is not as it should be."""
    lab = Lab(folder)
    found = lab.status()
    if as_json:
        print_json(found)
    else:
        table = Table(title=f"lab in {lab.folder}", title_justify="left")
        table.add_column("daemon")
        table.add_column("pid", justify="right")
        table.add_column("state")
        for name, daemon in found["daemons"].items():
            text = plain("runs", "green") if daemon["alive"] else plain("dead", "bold red")
            table.add_row(name, str(daemon["pid"] or ""), text)
        table.add_section()
        for node, state in found["nodes"].items():
            table.add_row(node, "", plain(state, "bold red" if "down" in state else ""))
        PlainConsole().print(table)
    return DONE if all(daemon["alive"] for daemon in found["daemons"].values()) else INCOMPLETE


def exec_(folder: Path | None, command: Sequence[str]) -> int:
    """Run a command with SLURM_CONF of the lab, at this terminal; its exit code."""
    lab = Lab(folder)
    if not command:
        raise InputError("lab exec: no command; e.g. probprec lab exec -- squeue")
    if not lab.conf.exists():
        raise InputError(f"lab: there is none in {lab.folder}; next: probprec lab up")
    try:
        code = subprocess.run(list(command), env=lab.environment(), check=False).returncode
    except FileNotFoundError:
        raise InputError(f"lab exec: {command[0]}: command not found") from None
    return code if code >= 0 else 128 - code


def fault(folder: Path | None, name: str, arguments: Sequence[str] = ()) -> int:
    """Inject one fault of `FAULTS`."""
    lab = Lab(folder)
    if name not in FAULTS:
        raise InputError(f"lab: no fault {name!r}; there are: {', '.join(FAULTS)}")
    if not lab.is_up():
        raise InputError(f"lab: none is up in {lab.folder}; next: probprec lab up")
    knobs: dict[str, Callable[..., object]] = {
        "kill": lambda daemon, *how: _kill(lab, daemon, how),
        "restart": lab.restart,
        "drain": lab.drain,
        "resume": lab.resume,
        "preempt": lambda seconds="20", *nodes: lab.preempt(nodes, float(seconds)),
        "requeue": lab.requeue,
        "start-now": lab.start_now,
        "fill-scratch": lab.fill_scratch,
        "free-scratch": lab.free_scratch,
    }
    try:
        result = knobs[name](*arguments)
    except (TypeError, ValueError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"lab: usage: {name} {FAULTS[name]}") from None
    except subprocess.CalledProcessError as error:
        raise InputError(f"lab: {name}: {error.stderr.strip()}") from None
    if result is not None:
        PlainConsole(soft_wrap=True).print(str(result))
    return DONE


def _kill(lab: Lab, daemon: str, how: Sequence[str]) -> None:
    names = [word for word in how if word != "with-steps"] or ["KILL"]
    sig = signal.Signals[f"SIG{names[-1].upper().removeprefix('SIG')}"]
    lab.kill(daemon, sig, with_steps="with-steps" in how)
