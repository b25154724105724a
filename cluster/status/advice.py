"""The next commands to type: the one place that decides them; each is accepted, and does what is said."""

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
    """What to type next, and why."""

    commands: tuple[str, ...]
    about: str = ""

    def __str__(self) -> str:
        """A line of the screen."""
        said = f"{self.about}; " if self.about else ""
        return f"{said}next: {'; '.join(self.commands)}"


def of_sweep(store: Store, look: SweepStatus) -> Step:
    """What to do about a sweep as it stands."""
    root, counts = store.root, Counter(one.state.state for one in look.runs)
    if look.is_complete:
        return Step((collect_command(store), command("plot", root)))
    if not look.is_over:
        return of_live(store)
    stopped = f"{counts['stopped']} runs were stopped" if counts["stopped"] else ""
    if counts["pending"]:
        never = f"{counts['pending']} runs were never sent"
        about = ", ".join(filter(None, (stopped, never)))
        return Step((submit_command(store, look.sweep),), about)
    if retried(store, look):
        return Step((command("retry", root),), stopped)
    if stopped:  # of which the policy says that nothing is done by itself
        return Step((command("retry", root, "--class", "cancelled"),), stopped)
    return _of_stuck(store, look)


def _of_stuck(store: Store, look: SweepStatus) -> Step:
    """What to do about a sweep of which nothing can be sent as it is."""
    failed = next((one for one in look.runs if one.state.state in UNFINISHED), None)
    if failed is not None:
        about = "what failed fails again until it is mended"
        return Step((why_command(store, failed.planned.run.id),), about)
    hopeless = "; ".join(
        choice_lines.hopeless(store, look.sweep)
    )  # else nobody was there to choose
    about = f"{hopeless}; with other settings" if hopeless else ""
    return Step((submit_command(store, look.sweep),), about)


def of_live(store: Store) -> Step:
    """What to do about a sweep of which runs wait or run."""
    return Step((command("status", store.root, "--watch"),))


def of_sent(store: Store) -> Step:
    """What to do about a sweep that was sent to a cluster: now, and in the end."""
    return Step((*of_live(store).commands, collect_command(store)))


def of_ended(store: Store, *, is_complete: bool, is_live: bool) -> Step:
    """What to do when `run` is over here; others may still have runs of the sweep at work."""
    if is_complete:
        return Step((collect_command(store),), "every run has a record")
    return of_live(store) if is_live else of_any(store)


def of_tables(store: Store, *, is_complete: bool) -> Step:
    """What to do about the tables of a sweep."""
    return Step((command("plot", store.root),)) if is_complete else of_any(store)


def of_any(store: Store) -> Step:
    """What to do about a sweep that nobody has looked at: how it stands says more."""
    return Step((command("status", store.root),))


def collect_command(store: Store) -> str:
    """The command that makes the tables, and names what lacks."""
    return command("collect", store.root)


def retried(store: Store, look: SweepStatus) -> list[RunStatus]:
    """The runs that `retry` sends without being told more: mending comes first for the others."""
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
    """What to do about one run."""
    root, run_id = store.root, one.planned.run.id
    if one.state.state in RECORDED:
        return [collect_command(store)]
    logs = command("logs", run_id, "--of", root)
    if one.state.state in UNFINISHED:
        if look.queue.is_live(run_id):  # others of its array task still run
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
    """The command that stops a run, and those that share its array element with it.

    What has no element of its own yet is stopped only with the whole sweep.
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
    """What to type about runs of a class, of which `run_id` is one: why, and how they go on."""
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
    """What to type about the runs of a class, for the screen; what has to be mended first is marked.

    A retry is named only where it sends something: others of an array task may still run.
    """
    why, *retry = commands(store.root, failure, members[0].planned.run.id)
    if not retry or all(look.queue.is_live(one.planned.run.id) for one in members):
        return why
    mend = needs_mending(failure, last_profile(store).policy)
    return f"{why}; {'once mended: ' if mend else ''}{retry[0]}"


def around_bad_nodes(store: Store, look: SweepStatus) -> str | None:
    """The command that sends again, elsewhere, what failed; None: there is nothing to send."""
    if last_profile(store).engine != "slurm" or not retried(store, look):
        return None
    return command("retry", store.root, "--exclude-bad-nodes")


def last_profile(store: Store) -> Profile:
    """Where the last submission went, as it was then."""
    submissions = store.submissions()
    return submissions[-1].plan().profile if submissions else LOCAL


def on_again(store: Store, failures: Collection[str | None]) -> str:
    """` --on PROFILE`, so that retry reads the profile's file again.

    Empty where none of the classes is mended there, or the last profile has no file.
    """
    profile = last_profile(store) if MENDED_IN_PROFILE.intersection(failures) else LOCAL
    if not has_file(profile):
        return ""
    return f" --on {shlex.quote(name_or_file(profile))}"


def has_file(profile: Profile) -> bool:
    """Whether the profile's file is there, and not in somebody's private folder."""
    return profile.source is not None and os.access(profile.source, os.R_OK)


def name_or_file(profile: Profile) -> str:
    """What `--on` takes: the profile's name where that finds its very file, else the file."""
    files = (folder / f"{profile.name}.yaml" for folder in folders())
    found = next((file.resolve() for file in files if file.is_file()), None)
    return profile.name if profile.source in {None, found} else str(profile.source)


def submit_command(store: Store, sweep: Sweep) -> str:
    """The command that sends what was never sent."""
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
    """The spec's file as it was typed, where that still is its path; else as a whole."""
    typed = next((name for name in sweep.sources if name != OVERRIDES), "SPEC")
    return typed if sweep.file in {None, str(Path(typed).resolve())} else str(sweep.file)


def _overrides(sweep: Sweep) -> Sequence[str]:
    """Each `--set` of a sweep. They are lines; one without `=` goes on with what is above."""
    text = sweep.sources.get(OVERRIDES)
    return re.split(r"\n(?=[^\n=]*=)", text) if text else ()
