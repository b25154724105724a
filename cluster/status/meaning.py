"""The meaning of each failure class, and what the policy does about it."""

from collections.abc import Mapping
from typing import get_args

from jobs.failure import FailureClass
from jobs.profile import POLICY, Action

CLASSES: tuple[str, ...] = (*get_args(FailureClass), "bad_record", "bad_files")
"""The classes of runs without a record, which `retry --class` takes."""

MEANING: Mapping[str, tuple[str, str]] = {
    # class: its meaning, what to do
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
    "cancelled": ("somebody stopped it", "nothing, or retry: it goes on from its checkpoint"),
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
        "its record is gone, torn, foreign, or was changed after it was published",
        "retry runs it again; what there is of the record is set aside",
    ),
    "bad_files": ("its folder cannot be read", "look at what lies there, and at its permissions"),
}

MENDED_IN_PROFILE = frozenset({"bad_data", "cuda_oom", "drifted", "image", "import_error", "setup"})
"""Failure classes that may be mended in the profile, or in the image that it names."""


def action_of(policy: Mapping[FailureClass, Action], failure: str | None) -> Action:
    """The policy's action about a failure class; one that it does not name is retried."""
    if failure == "bad_files":  # no attempt can work in such a folder
        return "stop"
    return next((action for name, action in policy.items() if name == failure), "retry")


def needs_mending(failure: str | None, policy: Mapping[FailureClass, Action] | None = None) -> bool:
    """Whether a failure class needs mending before a retry."""
    return action_of(policy or POLICY, failure) == "stop" and failure != "no_progress"
