"""The feeder is a job between two arrays: it sends as much of a submission as fits into the queue.

    python -m cluster.feeder ROOT SUBMISSION

It starts when an array is over, sends the next arrays and the next feeder, and ends: no process stays
on the login node. If settings are to be chosen, a feeder waits for all arrays, chooses, and sends the
runs that follow.
"""

import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cluster.slurm.process import SlurmError
from cluster.submit.feed import feed
from jobs.store.store import Store

log = logging.getLogger(__name__)

_PATIENCE_S = 600.0
"""A feeder asks a controller that does not answer for so long."""


def main(arguments: Sequence[str]) -> int:
    """Feed the queue; returns 0 if the rest is taken care of."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    store, number = Store(Path(arguments[0])), int(arguments[1])
    deadline, pause = time.monotonic() + _PATIENCE_S, 2.0
    while True:
        try:
            with store.submitting() as lock:
                fed = feed(store, store.submission(number), hold=lock)
        except SlurmError as error:
            log.info("%s", error)
            if time.monotonic() > deadline:
                return 1
            time.sleep(pause)
            pause = min(60.0, pause * 1.5)
            continue
        for job, count, _ in fed.chunks:
            log.info("sent array %d of %d", job, count)
        log.info("%d tasks left, next feeder: %s", fed.waiting, fed.feeder)
        return 1 if fed.problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
