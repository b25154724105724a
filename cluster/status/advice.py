"""Advice: the next commands to type, decided here alone; each is accepted, and does what the screen says."""

import os
import re
import shlex
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.profile import destination
from cluster.profile.find import folders
from cluster.status import choice_lines
from cluster.status.meaning import CLASSES, MENDED_IN_PROFILE, action_of, needs_mending
from cluster.status.run_status import RunStatus
from cluster.status.sweep_status import SweepStatus
from cluster.terminal.plain import command
from jobs.profile import LOCAL, Profile
from jobs.store.state import RECORDED, UNFINISHED
from jobs.store.store import Store
from jobs.sweep import OVERRIDES, Sweep


@dataclass(frozen=True)
class Step:
    """The commands to type next, and why."""

    commands: tuple[str, ...]
    about: str = ""

    def __str__(self) -> str:
        """The line of the screen."""
        said = f"{self.about}; " if self.about else ""
        return f"{said}next: {'; '.join(self.commands)}"


def of_sweep(store: Store, look: SweepStatus) -> Step:
    """Advice about a sweep as it stands."""
    root, counts = store.root, Counter(one.state.state for one in look.runs)
    if look.is_complete:
        return Step((collect_command(store), command("report", root)))
    if not look.is_over:
        return of_live(store)
    stopped = f"{counts['stopped']} runs were stopped" if counts["stopped"] else ""
    if counts["pending"]:
        never = f"{counts['pending']} runs were never sent"
        about = ", ".join(filter(None, (stopped, never)))
        return Step((submit_command(store, look.sweep),), about)
    if retried(store, look):
        return Step((command("retry", root),), stopped)
    if stopped:  # the policy retries no stopped run by itself
        return Step((command("retry", root, "--class", "cancelled"),), stopped)
    return _of_stuck(store, look)


def _of_stuck(store: Store, look: SweepStatus) -> Step:
    """Advice about a sweep that has no run to send as it is."""
    failed = next((one for one in look.runs if one.state.state in UNFINISHED), None)
    if failed is not None:
        about = "what failed fails again until it is mended"
        return Step((why_command(store, failed.planned.run.id),), about)
    hopeless = "; ".join(
        choice_lines.hopeless(store, look.sweep)
    )  # if empty, no choice was made although it could be
    about = f"{hopeless}; with other settings" if hopeless else ""
    return Step((submit_command(store, look.sweep),), about)


def of_live(store: Store) -> Step:
    """Advice about a sweep whose runs wait or run."""
    return Step((command("status", store.root, "--watch"),))


def of_sent(store: Store) -> Step:
    """Advice about a sweep that was just sent to a cluster: for now, and for the end."""
    return Step((*of_live(store).commands, collect_command(store)))


def of_ended(store: Store, *, is_complete: bool, is_live: bool) -> Step:
    """Advice after `run` has ended on this machine; runs of the sweep may still be live elsewhere."""
    if is_complete:
        return Step((collect_command(store),), "every run has a record")
    return of_live(store) if is_live else of_any(store)


def of_tables(store: Store, *, is_complete: bool) -> Step:
    """Advice after the tables of a sweep were written."""
    if not is_complete:
        return of_any(store)
    return Step((command("plot", store.root), command("report", store.root)))


def of_any(store: Store) -> Step:
    """Advice about a sweep whose status was not asked for: ask for it."""
    return Step((command("status", store.root),))


def collect_command(store: Store) -> str:
    """The command that makes the tables, and names missing runs."""
    return command("collect", store.root)


def retried(store: Store, look: SweepStatus) -> list[RunStatus]:
    """The runs that `retry` sends without options; the others have to be mended first."""
    policy = last_profile(store).policy
    return [
        one
        for one in look.runs
        if one.state.state in UNFINISHED
        and not look.queue.is_live(one.planned.run.id)
        and action_of(policy, one.state.failure) != "stop"
    ]


def of_run(
    store: Store, look: SweepStatus, one: RunStatus, *, on_bad_node: bool = False
) -> list[str]:
    """Advice about one run."""
    root, run_id = store.root, one.planned.run.id
    if one.state.state in RECORDED:
        return [collect_command(store)]
    logs = command("logs", run_id, "--of", root)
    if one.state.state in UNFINISHED:
        if look.queue.is_live(run_id):  # other runs of its array task go on
            return [logs, command("status", root, "--watch")]
        again = commands(root, one.state.failure, run_id)[1:]
        avoid = on_bad_node and last_profile(store).engine == "slurm"
        return [*(f"{text} --exclude-bad-nodes" if avoid else text for text in again), logs]
    if one.state.state == "unknown":
        return [command("status", root), "sinfo"]
    if not one.is_live:
        return [submit_command(store, look.sweep)]
    is_hopeless = one.reason is not None and one.reason.is_hopeless
    first = f"scontrol show job {one.element or 'JOB'}" if is_hopeless else f"{logs} -f"
    return [first, cancel_command(store, look, one)]


def cancel_command(store: Store, look: SweepStatus, one: RunStatus) -> str:
    """The command that stops a run, and the runs that share its array element.

    A run that has no element yet is stopped only with the whole sweep.
    """
    run_id = one.planned.run.id
    if one.sent is not None and look.queue.is_live(run_id):
        if one.sent.element is None:
            return command("cancel", store.root)
        together = [
            other.planned.run.id
            for other in look.runs
            if other.sent is not None and other.sent.name == one.sent.name
        ]
        return command("cancel", store.root, *together)
    return command("cancel", store.root, *([run_id] if one.state.state == "running" else []))


def why_command(store: Store, run_id: str) -> str:
    """The command that explains a run; its id may be in other sweeps, too."""
    return command("why", run_id, "--of", store.root)


def commands(root: Path, failure: str | None, run_id: str) -> Sequence[str]:
    """The commands about runs of a failure class: `why` for the run `run_id`, and `retry` for all."""
    store = Store(root)
    why = why_command(store, run_id)
    if failure == "bad_files":  # no attempt gets anywhere in such a folder
        return [why]
    chosen = ("--class", failure) if failure in CLASSES else ("--run", run_id)
    longer = failure == "no_progress" and last_profile(store).engine == "slurm"
    retry = command("retry", root, *chosen, *(("--time", "x2") if longer else ()))
    return [why, retry + on_again(store, {failure})]


def of_class(
    store: Store, failure: str | None, members: Sequence[RunStatus], look: SweepStatus
) -> str:
    """The screen's advice about the runs of a failure class; it says if something has to be mended first.

    `retry` is named only if it would send a run: the other runs of an array task may still go on.
    """
    why, *retry = commands(store.root, failure, members[0].planned.run.id)
    if not retry or all(look.queue.is_live(one.planned.run.id) for one in members):
        return why
    mend = needs_mending(failure, last_profile(store).policy)
    return f"{why}; {'once mended: ' if mend else ''}{retry[0]}"


def around_bad_nodes(store: Store, look: SweepStatus) -> str | None:
    """The command that retries failed runs on other nodes; None: there is none to send."""
    if last_profile(store).engine != "slurm" or not retried(store, look):
        return None
    return command("retry", store.root, "--exclude-bad-nodes")


def last_profile(store: Store) -> Profile:
    """The profile of the last submission, as it was then."""
    submissions = store.submissions()
    return submissions[-1].plan().profile if submissions else LOCAL


def on_again(store: Store, failures: Collection[str | None]) -> str:
    """` --on PROFILE`, so that retry reads the profile's file again.

    The text is empty if no class is mended in a profile, or the last profile has no file.
    """
    profile = last_profile(store) if MENDED_IN_PROFILE.intersection(failures) else LOCAL
    if not has_file(profile):
        return ""
    return f" --on {shlex.quote(name_or_file(profile))}"


def has_file(profile: Profile) -> bool:
    """Whether the profile's file exists and can be read."""
    return profile.source is not None and os.access(profile.source, os.R_OK)


def name_or_file(profile: Profile) -> str:
    """The value for `--on`: the profile's name if that finds its very file, else the file."""
    files = (folder / f"{profile.name}.yaml" for folder in folders())
    found = next((file.resolve() for file in files if file.is_file()), None)
    return profile.name if profile.source in {None, found} else str(profile.source)


def submit_command(store: Store, sweep: Sweep) -> str:
    """The command that sends the runs that were never sent."""
    words = ["probprec", "submit", _spec_of(sweep)]
    if (on := name_or_file(last_profile(store))) != destination.default():
        words += ["--on", on]
    for override in _overrides(sweep):
        is_name = override.partition("=")[0].strip() == "name"
        words += ["--name", sweep.name] if is_name else ["--set", override]
    default = Path(os.environ.get("PROBPREC_ROOT", "sweeps"), sweep.name)
    if default.resolve() != store.root.resolve():
        words += ["--root", str(store.root.resolve().parent)]
    return shlex.join(words)


def _spec_of(sweep: Sweep) -> str:
    """The spec's file as it was typed, if that still is its path; else its absolute path."""
    typed = next((name for name in sweep.sources if name != OVERRIDES), "SPEC")
    return typed if sweep.file in {None, str(Path(typed).resolve())} else str(sweep.file)


def _overrides(sweep: Sweep) -> Sequence[str]:
    """The overrides (`--set`) of a sweep: lines; a line without `=` continues the one above."""
    text = sweep.sources.get(OVERRIDES)
    return re.split(r"\n(?=[^\n=]*=)", text) if text else ()
