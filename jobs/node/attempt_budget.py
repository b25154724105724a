"""A run's budget of automatic attempts: so many, and only as long as the run makes progress."""

from jobs.failure import Failure
from jobs.store.attempts import RunFolder


def out_of_budget(folder: RunFolder, most: int) -> Failure | None:
    """Why the run should not be attempted again automatically; None: another attempt is allowed.

    Attempts count since a person last submitted the run, or since its life began (`redo`). Two
    attempts in a row without a newer checkpoint than before exhaust the budget; preempted attempts
    do not count, for they may have had too little time.
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
