"""What a failure class means, and what to type next."""

import os
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cluster.profile import LOCAL, POLICY, Action, Profile, folders, load
from jobs.errors import InputError
from jobs.failure import FailureClass
from jobs.store import Store
from jobs.sweep import OVERRIDES, Sweep

MEANING: Mapping[str, tuple[str, str]] = {
    # class: what it means, what to do
    "oom": (
        "it needed more memory than it asked for",
        "give it more memory: retry doubles what it had, or takes --mem 16G",
    ),
    "timeout": (
        "the time limit came before its end",
        "retry goes on from its checkpoint; --time gives it more time",
    ),
    "preempted": ("more important jobs took its place", "retry goes on from its checkpoint"),
    "node_fail": ("its node died or was taken away", "retry it, on another node"),
    "cancelled": ("somebody stopped it", "retry goes on from its checkpoint, if that is wanted"),
    "killed": (
        "a signal ended it that nobody announced",
        "read the end of its log; if there is nothing, retry; if it happens again, more memory",
    ),
    "disk_full": (
        "there was no space left, or no quota",
        "make room (quota -s; df -h) on the file system that the log names, then retry",
    ),
    "bad_data": (
        "the data set is missing or its files are not what they should be",
        "mend the data set that the message names, then retry",
    ),
    "drifted": (
        "code, image or data are not what was submitted",
        "submit the sweep again: the new submission takes what is there now",
    ),
    "image": (
        "Python or the image could not be started on the node",
        "read the log; check the profile's python and setup lines, then retry",
    ),
    "setup": (
        "what comes before it kept it from its work: a line of `setup:`, or a limit of the shell",
        "mend the profile, then retry; `options: {propagate: NONE}` shuts the login node's limits out",
    ),
    "gpu_missing": (
        "it was given a GPU that it cannot use",
        "retry it on another node, and tell the admins about this one",
    ),
    "cuda_oom": (
        "the GPU has too little memory for it",
        "ask for a GPU with more memory, or a smaller batch size (that is another run)",
    ),
    "import_error": (
        "a Python package is missing, or too old, where it trains",
        "install it in the Python or image that the profile names, then retry",
    ),
    "exception": (
        "the training, or your own code in it, raised an error",
        "read the traceback at the end of the log; when it is mended, retry",
    ),
    "no_progress": (
        "attempt after attempt ended before a newer checkpoint was written",
        "more time per attempt (--time x2), or look at the log for what it waits for",
    ),
    "lost": (
        "it vanished without a word; nobody knows why",
        "retry goes on from its checkpoint; if it happens again, look at its node",
    ),
    "bad_record": (
        "its record is torn, foreign, or was changed after it was published",
        "retry sets the record aside and runs it again",
    ),
    "bad_files": ("its folder cannot be read", "look at what lies there, and at its permissions"),
}

MENDED_IN_PROFILE = frozenset({"bad_data", "cuda_oom", "drifted", "image", "import_error", "setup"})
"""Classes that may be mended in the profile, or in the image that it names."""


def action_of(policy: Mapping[FailureClass, Action], failure: str | None) -> Action:
    """What the policy does about a class; what it does not name is simply retried."""
    return next((action for name, action in policy.items() if name == failure), "retry")


def policy_of(store: Store) -> Mapping[FailureClass, Action]:
    """The policy of the last submission."""
    submissions = store.submissions()
    if not submissions:
        return POLICY
    policy: Mapping[FailureClass, Action] = submissions[-1].content()["profile"]["policy"]
    return policy


def commands(root: Path, failure: str | None, run_id: str) -> Sequence[str]:
    """What to type about runs of a class, of which `run_id` is one."""
    retry = f"probprec retry {shlex.quote(str(root))} --class {failure or 'lost'}"
    if failure == "no_progress":
        retry += " --time x2"
    return [f"probprec why {run_id}", retry + on_again(Store(root), {failure})]


def line(
    root: Path,
    failure: str | None,
    run_id: str,
    policy: Mapping[FailureClass, Action] | None = None,
) -> str:
    """The same for the screen; what fails again as long as nobody mends it is marked."""
    why, retry = commands(root, failure, run_id)
    return f"{why}; {'once mended: ' if needs_mending(failure, policy) else ''}{retry}"


def needs_mending(failure: str | None, policy: Mapping[FailureClass, Action] | None = None) -> bool:
    """Whether a retry alone changes nothing."""
    return action_of(policy or POLICY, failure) == "stop" and failure != "no_progress"


def last_profile(store: Store) -> Profile:
    """Where the last submission went, as it was then."""
    submissions = store.submissions()
    return Profile.from_json(submissions[-1].content()["profile"]) if submissions else LOCAL


def on_again(store: Store, failures: Collection[str | None]) -> str:
    """` --on PROFILE`, so that retry reads the profile's file again.

    Empty where none of the classes is mended there, or the last profile has no file.
    """
    profile = last_profile(store) if MENDED_IN_PROFILE.intersection(failures) else LOCAL
    if not _has_file(profile):
        return ""
    return f" --on {shlex.quote(_name_or_file(profile))}"


def _has_file(profile: Profile) -> bool:
    """Whether the profile's file is there, and not in somebody's private folder."""
    return profile.source is not None and os.access(profile.source, os.R_OK)


def _name_or_file(profile: Profile) -> str:
    """What `--on` takes: the profile's name where that finds its very file, else the file."""
    files = (folder / f"{profile.name}.yaml" for folder in folders())
    found = next((file.resolve() for file in files if file.is_file()), None)
    return profile.name if profile.source in {None, found} else str(profile.source)


def changed_since(stored: Profile) -> list[str]:
    """A line if the profile's file, or the image of its recipe, is not as it was stored."""
    if not _has_file(stored):
        return []
    file = stored.source
    use = f"to use it: --on {shlex.quote(_name_or_file(stored))}"
    try:
        now = load(str(file))
        image = _image_now(now, stored)
    except InputError as error:
        said = "; ".join(str(error).splitlines())
        return [f"the profile {file} has changed since: {said}; then {use}"]
    now = replace(now, threads=stored.threads)  # which may be those of the command line
    if replace(now, image=stored.image) != stored:
        return [f"the profile {file} has changed since; {use}"]
    if image != stored.image:
        return [f"the profile {file} names another image since, {image or 'none'}; {use}"]
    return []


def _image_now(now: Profile, stored: Profile) -> Path | None:
    """The file of the profile's image; looked for first where that of the submission lies."""
    from cluster import sealing  # to show how a sweep stands it is not needed

    if stored.image is not None:
        try:
            return sealing.image_of(now, stored.image.parent)
        except InputError:
            pass  # the one of a mended recipe may be in another folder of images
    return sealing.image_of(now)


def submit_command(store: Store, sweep: Sweep) -> str:
    """The command that sends what was never sent."""
    words = ["probprec", "submit", _spec_of(sweep)]
    if (on := _name_or_file(last_profile(store))) != LOCAL.name:
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
