"""How often a run may be attempted by itself: as long as it makes progress, and not for ever."""

from jobs.failure import Failure
from jobs.store.attempts import RunFolder


def out_of_budget(folder: RunFolder, most: int) -> Failure | None:
    """Why the run should not be attempted again by itself; None: it may.

    Attempts are counted since a person last submitted it, or set aside what there was. Two attempts
    in a row that ended without a newer checkpoint than the one before are enough; preempted ones are
    not held against it, for they may have had no time.
    """
    life = folder.life()
    lines = [line for line in folder.journal() if line.get("fence", 0) > life]
    submission = next(
        (line.get("submission") for line in reversed(lines) if line.get("event") == "claimed"), None
    )
    fences = [
        line["fence"]
        for line in lines
        if line.get("event") == "claimed" and line.get("submission") == submission
    ]
    ended = {line["fence"]: line for line in lines if line.get("event") == "ended"}
    tried = [ended[fence] for fence in fences if fence in ended]
    if len(tried) >= most:
        return Failure(
            failure="no_progress",
            message=f"{len(tried)} attempts, as many as allowed; the last: {tried[-1].get('message')}",
            evidence="journal",
        )
    fair = [line for line in tried if line.get("failure") != "preempted"]
    steps = [line.get("step") or 0 for line in fair]
    before = max(
        (
            line.get("step") or 0
            for line in lines
            if line not in fair[-2:] and line.get("event") == "ended"
        ),
        default=0,
    )
    if len(fair) >= 2 and max(steps[-2:]) <= before:
        return Failure(
            failure="no_progress",
            message=f"two attempts without a newer checkpoint than step {before};"
            f" the last: {fair[-1].get('message')}",
            evidence="journal",
        )
    return None
