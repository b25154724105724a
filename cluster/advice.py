"""What a failure class means, and what to type next."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.profile import POLICY, Action
from jobs.failure import FailureClass
from jobs.store import Store

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
        "its record is torn or foreign",
        "retry sets the record aside and runs it again",
    ),
    "bad_files": ("its folder cannot be read", "look at what lies there, and at its permissions"),
}


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
    retry = f"probprec retry {root} --class {failure or 'lost'}"
    if failure == "no_progress":
        retry += " --time x2"
    return [f"probprec why {run_id}", retry]


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


def submit_command(store: Store, spec: str | None) -> str:
    """The command that sends what was never sent."""
    submissions = store.submissions()
    profile = submissions[-1].content()["profile"] if submissions else {}
    name = profile.get("name", "local")
    return f"probprec submit {spec or 'SPEC'}" + ("" if name == "local" else f" --on {name}")
