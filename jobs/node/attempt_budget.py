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
    attempts = [attempt for attempt in folder.history() if attempt.fence > life]
    begun = [attempt for attempt in attempts if attempt.start is not None]
    ended = [attempt for attempt in attempts if attempt.is_over]
    tried = [
        attempt
        for attempt in begun
        if attempt.is_over and attempt.submission == begun[-1].submission
    ]
    if len(tried) >= most:
        return Failure(
            failure="no_progress",
            message=f"{len(tried)} attempts, as many as allowed; the last: {tried[-1].message}",
            evidence="journal",
        )
    fair = [attempt for attempt in tried if attempt.failure != "preempted"]
    newest = fair[-2:]
    before = max((attempt.step or 0 for attempt in ended if attempt not in newest), default=0)
    if len(newest) == 2 and max(attempt.step or 0 for attempt in newest) <= before:
        return Failure(
            failure="no_progress",
            message=f"two attempts without a newer checkpoint than step {before};"
            f" the last: {newest[-1].message}",
            evidence="journal",
        )
    return None
