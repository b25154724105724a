"""The command `init` writes a first spec and an optimizer of the user's own, ready to be run."""

import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from cluster.profile import destination
from cluster.terminal.exit_codes import DONE
from cluster.terminal.plain import command
from jobs import files
from jobs.errors import InputError
from jobs.profile import Profile
from jobs.spec.plan import NAME

_TEMPLATES = Path(__file__).resolve().parent / "templates"
_SPEC, _OPTIMIZER, _PROFILE = "experiment.yaml", "my_optimizer.py", "cluster.yaml"


def init(folder: Path, *, slurm: bool) -> int:
    """Write the files into `folder`, which is made; none if one of them is there already.

    Args:
        folder: the study's folder.
        slurm: also write a profile, proposed from what the cluster says of itself.

    Raises:
        InputError: a file is there, or Slurm does not answer.
        OSError: the folder cannot be written to.
    """
    texts = _texts(folder)
    if slurm:
        texts[folder / _PROFILE] = _profile(folder / _PROFILE)
    there = [str(path) for path in texts if path.exists() or path.is_symlink()]
    if there:
        raise InputError(
            f"already there: {', '.join(there)}; nothing was written."
            " Name another folder: probprec init FOLDER"
        )
    _write_all(folder, texts)
    sys.stdout.write("".join(f"{line}\n" for line in _told(folder, texts, slurm=slurm)))
    return DONE


def _texts(folder: Path) -> dict[Path, str]:
    """The files that are always written, with their content."""
    spec = folder / _SPEC
    said = {
        "{check}": f"{command('check', spec)}     # what it asks for",
        "{run}": f"{command('run', spec, *destination.to_train_here())}     # run it on this machine",
        "{name}": f'"{_name(folder)}"',  # quoted: a folder may be called 1e5 or null
    }
    template = (_TEMPLATES / _SPEC).read_text()
    text = re.sub("|".join(said), lambda found: re.sub(r"\s", " ", said[found[0]]), template)
    optimizer = (_TEMPLATES / f"{_OPTIMIZER}.txt").read_text()
    return {spec: text, folder / _OPTIMIZER: optimizer}


def _name(folder: Path) -> str:
    """The sweep's name: the folder's, if a sweep can have that name."""
    name = folder.resolve().name
    return name if NAME.fullmatch(name) else "experiment"


def _profile(file: Path) -> str:
    from cluster.doctor import controller, proposal
    from cluster.lab import connect

    connect.use("")
    offer = controller.ask()
    if offer.error:
        raise InputError(f"--slurm: {offer.error}; run it on the login node of your cluster")
    return proposal.proposal(file, Profile(name="", engine="slurm"), offer, None)


def _write_all(folder: Path, texts: Mapping[Path, str]) -> None:
    """Write the files into the folder, which is made; if one fails, none is left."""
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            files.publish(path, text.encode())
            written.append(path)
    except BaseException:
        for path in written:
            with suppress(OSError):
                path.unlink()
        for one in made:  # the innermost first
            with suppress(OSError):
                one.rmdir()
        raise


def _told(folder: Path, texts: Mapping[Path, str], *, slurm: bool) -> list[str]:
    spec, name = folder / _SPEC, _name(folder)
    steps = [command("check", spec), command("run", spec, *destination.to_train_here())]
    if slurm:
        profile = folder / _PROFILE
        steps = [
            command("doctor", "--on", profile, "--node"),
            command("submit", spec, "--on", profile, "--dry-run"),
            command("run", spec, "--on", profile),
        ]
    steps += [command("collect", name), command("plot", name)]
    return [*(f"written: {path}" for path in texts), "next:", *(f"  {step}" for step in steps)]
