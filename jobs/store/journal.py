"""A run's journal holds the events of its attempts; this module writes events and summarizes them.

Every line is a JSON object with the `time` and the name of an `event`; lines of an attempt have its
`fence`. Launchers and commands append lines. This module alone knows the names of the events and
their keys. Unknown events are ignored.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from jobs.failure import Failure, FailureClass
from jobs.units import megabytes


@dataclass(frozen=True)
class Event:
    """A line of the journal, without its time."""

    name: str
    details: Mapping[str, Any]

    def of(self, fence: int) -> "Event":
        """The event with the fence of its attempt."""
        return Event(self.name, {"fence": fence, **self.details})


def claimed(**by: Any) -> Event:
    """An attempt began: by `host` and `pid`, of `submission`, in an `Allocation` (its `describe`)."""
    return Event("claimed", by)


def stopping(why: Failure) -> Event:
    """The training was told to stop; if it is killed before its end, this is the reason."""
    return Event("stopping", why.to_json())


def ended(why: Failure, *, step: int | None = None, **more: Any) -> Event:
    """The attempt ended without a record; `step` is that of its last checkpoint."""
    return Event("ended", {"step": step, **why.to_json(), **more})


def recorded(outcome: str) -> Event:
    """The attempt ended, and the run has its record."""
    return Event("ended", {"failure": None, "outcome": outcome})


def publishing(sha256: str) -> Event:
    """The attempt is about to publish a record with this hash."""
    return Event("publishing", {"sha256": sha256})


def refused(message: str, **of: Any) -> Event:
    """An attempt, or a task of a `submission`, may not go on: another attempt has the run."""
    return Event("refused", {**of, "message": message})


def anew(message: str) -> Event:
    """The training could not go on from an earlier attempt's checkpoint."""
    return Event("anew", {"message": message})


def requeued(element: str | None) -> Event:
    """The array element is being put back into the queue, because the run may go on later."""
    return Event("requeued", {"element": element})


def not_requeued(message: str) -> Event:
    """The array element could not be put back into the queue."""
    return Event("not requeued", {"message": message})


def set_aside(*, by: str, why: str, attempts: int) -> Event:
    """The run's record and attempts so far were set aside."""
    return Event("set aside", {"by": by, "why": why, "attempts": attempts})


def record_set_aside(message: str | None) -> Event:
    """An invalid or edited record was set aside."""
    return Event("record set aside", {"message": message})


def not_begun() -> Event:
    """No worker could begin the run."""
    return Event("not begun", {})


def waiting(what: str) -> Event:
    """Another task is copying the data set or image `what` to this node."""
    return Event("waiting", {"what": what, "message": "another task is copying it here"})


def staged(what: str, place: str, **report: Any) -> Event:
    """The data set or image `what` is staged on this node; with `copied_bytes` and `seconds`."""
    return Event("staged", {"what": what, "place": place, **report})


def not_staged(what: str, message: str) -> Event:
    """The data set or image `what` could not be staged, and is read from its original place."""
    return Event("not staged", {"what": what, "message": message})


def unverified_data(message: str) -> Event:
    """The data has no manifest, so it may differ from the submitted data."""
    return Event("unverified data", {"message": message})


@dataclass(frozen=True, kw_only=True)
class AttemptSummary:
    """A summary of one attempt's journal lines."""

    fence: int
    start: float | None = None
    end: float | None = None
    node: str | None = None
    host: str | None = None
    pid: int | None = None
    element: str | None = None
    submission: int | None = None
    limit: float | None = None  # unix time at which Slurm would have ended it
    is_over: bool = False  # its end is in the journal
    is_requeued: bool = False
    failure: str | None = None
    outcome: str | None = None
    message: str | None = None
    evidence: str | None = None
    step: int | None = None  # of its last checkpoint
    record_sha256: str | None = None  # of the record that it was about to publish
    data: str | None = None  # how its data comes to the node, in words
    anew: str | None = None  # why it resumed no earlier checkpoint

    @property
    def why(self) -> Failure | None:
        """Why the attempt ended, or was told to stop; None: the journal does not say."""
        if self.failure is None:
            return None
        failure = cast("FailureClass", self.failure)
        return Failure(failure=failure, message=self.message or "", evidence=self.evidence or "")


def summaries(lines: Sequence[Mapping[str, Any]]) -> list[AttemptSummary]:
    """The attempts in a journal's lines, oldest first."""
    found: dict[int, dict[str, Any]] = {}
    for line in lines:
        fence, event = line.get("fence"), line.get("event")
        if isinstance(fence, int):
            fields = found.setdefault(fence, {"fence": fence})
            if isinstance(event, str) and event in _FIELDS:
                fields |= _FIELDS[event](line)
    return [AttemptSummary(**found[fence]) for fence in sorted(found)]


_Line = Mapping[str, Any]


def _some(line: _Line, *names: str) -> dict[str, Any]:
    return {name: line.get(name) for name in names}


def _of_claimed(line: _Line) -> dict[str, Any]:
    node = line.get("node") or line.get("host")
    times = {"start": line.get("time"), "limit": line.get("end")}
    return {**_some(line, "host", "pid", "element", "submission"), **times, "node": node}


def _of_ended(line: _Line) -> dict[str, Any]:
    told = _some(line, "failure", "outcome", "message", "evidence", "step")
    return {**told, "is_over": True, "is_requeued": False, "end": line.get("time")}


def _of_staged(line: _Line) -> dict[str, Any]:
    size = megabytes(line.get("copied_bytes", 0))
    place = f"{line.get('what')} in {line.get('place')}"
    return {"data": f"{place}, {size} copied in {line.get('seconds')} s"}


_FIELDS: Mapping[str, Callable[[_Line], dict[str, Any]]] = {
    "claimed": _of_claimed,
    "ended": _of_ended,
    "stopping": lambda line: _some(line, "failure", "message", "evidence"),
    "anew": lambda line: {"anew": line.get("message")},
    "publishing": lambda line: {"record_sha256": str(line.get("sha256"))},
    "requeued": lambda _: {"is_requeued": True},
    "not requeued": lambda _: {"is_requeued": False},
    "waiting": lambda line: {
        "data": f"waits for another task that is copying {line.get('what')} here"
    },
    "staged": _of_staged,
    "unverified data": lambda line: {
        "data": f"the data, if it is used, is not verified: {line.get('message')}"
    },
    "not staged": lambda line: {
        "data": f"{line.get('what')} is read where it lies: {line.get('message')}"
    },
}
"""Event name -> the fields of `AttemptSummary` that a line of the event sets."""
