"""The command `probprec doctor` looks at a cluster, shows its findings, and proposes a profile."""

import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Group as Lines
from rich.table import Table
from rich.text import Text

from cluster.doctor import controller, disks, images, job, judge, proposal, request
from cluster.doctor.controller import Offer
from cluster.doctor.finding import GROUPS, Check, Group
from cluster.lab import connect
from cluster.profile import syntax
from cluster.profile.find import load
from cluster.slurm.process import SlurmError
from cluster.submit import profile_image
from cluster.terminal.exit_codes import DONE, INCOMPLETE
from cluster.terminal.output import print_json
from cluster.terminal.plain import PlainConsole, command, plain
from jobs import hashes, snapshot
from jobs.errors import InputError
from jobs.profile import Profile

STYLES: Mapping[str, str] = {"ok": "green", "problem": "bold red", "note": "yellow"}

_PYTHON_MIN = (3, 11)


def doctor(on: str | None, *, node: bool, write: Path | None, as_json: bool) -> int:
    """Print a report on a cluster; 1 if it has a problem that would make runs fail.

    Args:
        on: the profile to check, too; None: the cluster alone.
        node: look at a compute node, too, by a job of at most five minutes.
        write: write a profile with the findings; never over a file.
        as_json: print one JSON object instead of lines.

    Raises:
        InputError: no such profile, mistakes in it, or `write` cannot be written.
    """
    if write is not None:
        proposal.refuse_unwritable(write)
    profile = load(on) if on is not None else Profile(name="", engine="slurm")
    connect.use(profile.name)
    named, (profile, unbuilt) = profile, _with_image(profile)
    found, offer = [], Offer()
    answer: dict[str, Any] | None = None
    console = PlainConsole(stderr=True)
    with console.status("looking at the login node") as status:
        if profile.engine == "slurm":
            offer = controller.ask()
        found = _of_login_node(profile, offer, is_chosen=on is not None)
        found = [one for one in found if one.group != "Image"] + unbuilt if unbuilt else found
        if node:
            answer, lines = _of_node(profile, offer, status.update, candidates=write is not None)
            in_image = profile.image is not None
            found = [_confirmed(check, lines, in_image=in_image) for check in found] + lines
    if write is not None:
        found.append(_written(write, named, offer, answer))
    found.sort(key=lambda check: GROUPS.index(check.group))
    _show(found, profile, answer, node=node, as_json=as_json)
    return INCOMPLETE if any(check.state == "problem" for check in found) else DONE


def _with_image(profile: Profile) -> tuple[Profile, list[Check]]:
    """The profile with the file of its image; a line if its recipe has not been built."""
    try:
        return replace(profile, image=profile_image.image_of(profile)), []
    except InputError as error:
        found, _, advice = str(error).partition("; next: ")
        line = Group("Image").problem("image", found, advice or "mend the recipe, then build it")
        return replace(profile, image=None), [line]


def _sweeps() -> Path:
    return Path(os.environ.get("PROBPREC_ROOT") or "sweeps")


def _of_login_node(profile: Profile, offer: Offer, *, is_chosen: bool) -> list[Check]:
    found: list[Check] = []
    if profile.engine == "slurm":
        name = "controller"
        look = controller.look
        found += Group("Slurm").look(name, lambda: look(offer, is_chosen=is_chosen))
    if is_chosen:
        found += Group("Profile").look("profile", lambda: request.look(profile, offer))
    found += Group("Container").look("runtime", lambda: images.look_at_runtime(profile))
    if is_chosen:
        found += Group("Image").look("image", lambda: images.look_at_image(profile))
    found += Group("Data").look("data", lambda: images.look_at_data(profile))
    found += Group("Disk and clock").look("paths", lambda: _paths(profile))
    return [
        *found,
        *disks.look(snapshot.ROOT, _sweeps(), is_local=profile.engine == "local"),
        _python(),
    ]


def _paths(profile: Profile) -> Sequence[Check]:
    """No line; raises the error about paths that cannot be passed on."""
    syntax.require(_sweeps(), profile)
    return ()


def _python() -> Check:
    group, found = Group("Disk and clock"), f"Python {platform.python_version()}: {sys.executable}"
    if sys.version_info[:2] >= _PYTHON_MIN:
        return group.ok("python", found)
    wanted = ".".join(map(str, _PYTHON_MIN))
    return group.problem("python", found, f"install probprec with Python {wanted} or newer")


def _of_node(
    profile: Profile, offer: Offer, tell: Any, *, candidates: bool
) -> tuple[dict[str, Any] | None, list[Check]]:
    """The answer of a node, and the lines about it."""
    group = Group("Node")
    if offer.error:
        advice = "first mend what the group Slurm says"
        return None, [group.problem("job", "not sent: Slurm does not answer", advice)]
    answer: dict[str, Any] | None = None

    def look() -> Iterator[Check]:
        nonlocal answer
        try:
            answer = job.look(profile, _sweeps(), tell, candidates=candidates)
        except job.NodeError as error:
            yield group.problem("job", *error.args)
            return
        except SlurmError as error:
            yield group.problem("job", f"could not be sent: {error.message}", _of_refused(profile))
            return
        yield from judge.judge(profile, answer, sha256=_sha256(profile), skew=_skew())

    lines = group.look("job", look)  # `look` sets the answer
    return answer, lines


def _of_refused(profile: Profile) -> str:
    """Advice about a job that Slurm refuses."""
    if profile.name:
        return "mend what the group Profile says; or name another partition"
    return (
        "write what this cluster wants of a job into a profile,"
        " e.g. resources: {account: NAME, partition: NAME}; then: probprec doctor --on FILE --node"
    )


def _confirmed(check: Check, lines: Sequence[Check], *, in_image: bool) -> Check:
    """The check, turned to ok if the login node cannot see or do what a node has seen or done.

    `in_image`: the node has started its training in an image.
    """
    seen = {one.name for one in lines if one.state == "ok"}
    if check.group == "Container":
        is_there = check.name == "runtime"
        by_node = "runtime" if is_there else "training" if in_image else ""
        if check.state == "ok" or by_node not in seen:
            return check
        found = f"{check.found}; the node {'has one' if is_there else 'can'}"
        advice = "images have to be built there, or elsewhere"
        return replace(check, state="note", found=found, advice=advice)
    by_node = {"code": "host", "sweeps": "sweeps", "place": "image"}.get(check.name, "")
    if check.state != "note" or by_node not in seen:
        return check
    return replace(check, state="ok", found=f"{check.found}; a node sees it", advice="")


def _sha256(profile: Profile) -> str | None:
    try:
        return hashes.known_sha256(profile.image) if profile.image is not None else None
    except OSError:
        return None


def _skew() -> float | None:
    try:
        return disks.clock_skew(disks.nearest(_sweeps()))
    except OSError:
        return None


def _written(file: Path, profile: Profile, offer: Offer, answer: Mapping[str, Any] | None) -> Check:
    group = Group("Profile")
    if offer.error:
        advice = "run it where Slurm answers"
        return group.problem("proposal", f"{file} was not written: {offer.error}", advice)
    proposal.write(file, profile, offer, answer)
    advice = f"look through it, then: {command('doctor', '--on', file, '--node')}"
    return group.note("proposal", f"written to {file}", advice)


def _show(
    found: Sequence[Check],
    profile: Profile,
    answer: Mapping[str, Any] | None,
    *,
    node: bool,
    as_json: bool,
) -> None:
    if as_json:
        report = {
            "schema": 1,
            "profile": profile.name or None,
            "checks": [check.to_json() for check in found],
            "node": answer,
        }
        print_json(report)
        return
    PlainConsole().print(screen(found, profile, node=node))


def screen(found: Sequence[Check], profile: Profile, *, node: bool) -> Lines:
    """The report: groups of lines, then the number of problems, and what to type next."""
    parts: list[Table | Text] = []
    for group in GROUPS:
        checks = [check for check in found if check.group == group]
        if checks:
            parts += [plain(group, style="bold"), _table(checks)]
    return Lines(*parts, *_summary(found, profile, node=node))


def _table(checks: Sequence[Check]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=8, justify="right")
    table.add_column(width=14, no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        said = plain(check.found)
        if check.advice:
            style = "bold" if check.state == "problem" else "dim"
            said.append("\n").append(plain(f"-> {check.advice}", style))
        table.add_row(plain(check.state, style=STYLES[check.state]), plain(check.name), said)
    return table


def _summary(found: Sequence[Check], profile: Profile, *, node: bool) -> Iterator[Text]:
    """The end of the report, where a person looks: the problems once more."""
    problems = [check for check in found if check.state == "problem"]
    notes = f"{_counted(sum(check.state == 'note' for check in found), 'note')}"
    if problems:
        yield plain(f"{_counted(len(problems), 'problem')}, {notes}:", style="bold red")
        for check in problems:
            yield plain(f"  {check.group}, {check.name}: {check.found}", style="red")
            yield plain(f"    -> {check.advice}", style="bold")
        return
    on = profile.source or profile.name
    yield plain(f"no problem, {notes}", style="green")
    if not node:
        yield plain(
            f"next: {command('doctor', *(['--on', on] if on else []), '--node')}", style="dim"
        )
    elif on:
        yield plain(f"next: {command('submit', 'SPEC', '--on', on)}", style="dim")


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
