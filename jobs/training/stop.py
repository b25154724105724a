"""Being told to stop: by a signal, or by the end of the time that is left.

Imports nothing heavy: the signals have to be heard before torch is loaded.
"""

import os
import signal
import time
from types import FrameType

from jobs.failure import EXIT_INTERRUPTED

SIGNALS = (signal.SIGTERM, signal.SIGUSR2)

_FACTOR, _SECONDS = 1.1, 2.0  # the margin on what the next epoch is expected to take


class InterruptionError(Exception):
    """A training was told to stop, and has left a checkpoint if one could be written."""


class Stop:
    """Whether to stop, asked for at every boundary between two steps."""

    def __init__(self, until: float | None = None) -> None:
        """`until`: when the time is over, in seconds since 1970."""
        self.asked = False
        self.until = until
        self._deferred = False

    def listen(self) -> None:
        """Hear the signals from now on; until `defer` is called they end the process at once.

        A launcher may block them while it starts the process, so that none comes too early.
        """
        for number in SIGNALS:
            signal.signal(number, self._hear)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def defer(self) -> None:
        """From now on there is something to lose: a signal only asks."""
        self._deferred = True

    def has_time_for(self, seconds: float) -> bool:
        """Whether what is expected to take so long can end, with a margin, while there is time."""
        return self.until is None or time.time() + _FACTOR * seconds + _SECONDS <= self.until

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        if not self._deferred:
            os._exit(EXIT_INTERRUPTED)  # an exception could be caught by whatever is being imported
