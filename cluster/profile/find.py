"""A profile is found by its name or its path."""

import os
from pathlib import Path

from jobs.errors import InputError
from jobs.profile import LOCAL, Profile
from jobs.snapshot import ROOT


def folders() -> list[Path]:
    """The folders of profiles, the first ones win: this folder's, the user's, this checkout's."""
    home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    found = [
        Path("configs", "clusters"),
        Path(home, "probprec", "clusters").expanduser(),
        ROOT / "configs" / "clusters",
    ]
    readable = [folder for folder in found if os.access(folder, os.R_OK | os.X_OK)]  # never raises
    there = {folder.resolve(): folder for folder in reversed(readable) if folder.is_dir()}
    return [folder for folder in found if folder in there.values()]


def load(name_or_path: str) -> Profile:
    """The profile with a name, or in a file: a path ends in .yaml or has a slash.

    Raises:
        InputError: no such profile, or mistakes in its file: all of them, with their positions.
    """
    from cluster.profile.profile_file import read_profile  # pydantic: half of what --help costs

    if name_or_path.endswith(".yaml") or "/" in name_or_path:
        return read_profile(Path(os.path.expanduser(name_or_path)))  # noqa: PTH111  # never raises
    files = [folder / f"{name_or_path}.yaml" for folder in folders()]
    file = next((file for file in files if file.is_file()), None)
    if file is not None:
        return read_profile(file)
    if name_or_path == LOCAL.name:
        return LOCAL
    raise InputError(_unknown(name_or_path))


def _unknown(name: str) -> str:
    from jobs.yaml.mistakes import did_you_mean, listed

    places = folders()
    known = {file.stem: None for folder in places for file in sorted(folder.glob("*.yaml"))}
    names = list({LOCAL.name: None, **known})
    return (
        f"no cluster {name!r}{did_you_mean(name, names)} (known: {listed(names)}; "
        f"looked in: {listed([str(folder) for folder in places]) or 'no folder'}; "
        "or the path of a .yaml file)"
    )
