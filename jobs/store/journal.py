"""What became of a run's attempts, one by one, as its journal tells it."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.store import record
from jobs.store.attempts import RunFolder
from jobs.store.record import Record, RecordError


@dataclass(frozen=True, kw_only=True)
class Past:
    """One attempt, as the journal tells it."""

    fence: int
    start: float | None = None
    end: float | None = None
    node: str | None = None
    host: str | None = None
    pid: int | None = None
    element: str | None = None
    submission: int | None = None
    limit: float | None = None  # unix time at which Slurm would have ended it
    is_over: bool = False  # it wrote its end
    is_requeued: bool = False
    failure: str | None = None
    outcome: str | None = None
    message: str | None = None
    evidence: str | None = None
    step: int | None = None  # of its last checkpoint
    record_sha256: str | None = None  # of the record that it was about to publish
    data: str | None = None  # how its data comes to the node, in words
    anew: str | None = None  # why it could not go on from an earlier one's checkpoint


def read(folder: RunFolder) -> list[Past]:
    """Every attempt that the journal knows, oldest first."""
    return _history(folder.journal())


def read_record(folder: RunFolder) -> tuple[Record, list[Past]]:
    """The record of a run if it is, byte for byte, what an attempt published; and all attempts.

    Older versions did not write down what they published: where no attempt did, any record will do.

    Raises:
        FileNotFoundError: the run has none.
        RecordError: it is none, is of another run, or was changed after it was published.
    """
    found = record.read(folder.record_file, run_id=folder.id)
    try:
        pasts = read(folder)  # after the record: what was published is written down by now
    except OSError:
        return found, []
    published = {past.record_sha256 for past in pasts if past.record_sha256 is not None}
    if not published:
        return found, pasts
    with folder.record_file.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 not in published:
        raise RecordError(
            f"{folder.record_file}: was changed after it was published: its sha256 is "
            f"{sha256[:12]}, and not {', '.join(sorted(one[:12] for one in published))} as in "
            f"{folder.journal_file.name}"
        )
    return found, pasts


_STAGING: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "waiting": lambda line: f"waits for another task that is copying {line.get('what')} here",
    "staged": lambda line: (
        f"{line.get('what')} in {line.get('place')},"
        f" {line.get('copied_bytes', 0) / 1e6:.0f} MB copied in {line.get('seconds')} s"
    ),
    "unverified data": lambda line: (
        f"the data, if it is used, is not verified: {line.get('message')}"
    ),
    "not staged": lambda line: f"{line.get('what')} is read where it lies: {line.get('message')}",
}
"""What the events of staging say."""


def _history(lines: Sequence[Mapping[str, Any]]) -> list[Past]:
    found: dict[int, dict[str, Any]] = {}
    for line in lines:
        fence, event = line.get("fence"), line.get("event")
        if not isinstance(fence, int):
            continue
        fields = found.setdefault(fence, {"fence": fence})
        if event == "claimed":
            fields |= {name: line.get(name) for name in ("host", "pid", "element", "submission")}
            node = line.get("node") or line.get("host")
            fields |= {"start": line.get("time"), "node": node, "limit": line.get("end")}
        elif event == "ended":
            names = ("failure", "outcome", "message", "evidence", "step")
            fields |= {name: line.get(name) for name in names}
            fields |= {"is_over": True, "is_requeued": False, "end": line.get("time")}
        elif event == "stopping":  # its reason holds, should it be killed before it wrote its end
            fields |= {name: line.get(name) for name in ("failure", "message", "evidence")}
        elif isinstance(event, str) and event in _STAGING:
            fields["data"] = _STAGING[event](line)
        elif event == "anew":
            fields["anew"] = line.get("message")
        elif event == "publishing":
            fields["record_sha256"] = str(line.get("sha256"))
        elif event in {"requeued", "not requeued"}:
            fields["is_requeued"] = event == "requeued"
    return [Past(**found[fence]) for fence in sorted(found)]
