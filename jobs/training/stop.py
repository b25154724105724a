"""A training is told to stop by a signal, or stops because its time is nearly over.

Nothing heavy is imported here: signal handlers have to be set before torch is loaded.
"""

import os
import signal
import time
from types import FrameType

from jobs.failure import EXIT_INTERRUPTED

SIGNALS = (signal.SIGTERM, signal.SIGUSR2)

_EPOCH_MARGIN = 1.1  # x the expected time of the next epoch
_END_MARGIN_S = 2.0


class InterruptionError(Exception):
    """A training stopped as told, with a checkpoint if that could be written."""


class Stop:
    """The request to stop, checked at every boundary between two steps."""

    def __init__(self, until: float | None = None) -> None:
        """`until`: the end of the training's time, in seconds since 1970."""
        self.asked = False
        self.until = until
        self._deferred = False

    def listen(self) -> None:
        """Handle the signals from now on; until `defer` is called they end the process at once.

        A launcher may block them while it starts the process, so that no signal comes too early.
        """
        for number in SIGNALS:
            signal.signal(number, self._hear)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def defer(self) -> None:
        """From now on a signal only sets `asked`, so that the training can save its state."""
        self._deferred = True

    def has_time_for(self, seconds: float) -> bool:
        """Whether an epoch of so many expected seconds, with a margin, ends in time."""
        return (
            self.until is None
            or time.time() + _EPOCH_MARGIN * seconds + _END_MARGIN_S <= self.until
        )

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        if not self._deferred:
            os._exit(EXIT_INTERRUPTED)  # an import in progress could catch an exception
