"""The deadline of a launcher's trainings, and the launcher's sleep until there is something to do.

Three things end a training early: a signal to the launcher, the end of the launcher's allocation,
and, once the training was told to stop, the end of the grace time for a checkpoint.
"""

import os
import select
import signal
import time
from collections.abc import Callable

from jobs import signals
from jobs.failure import Failure
from jobs.node.allocation import Allocation, timeout

_RESERVE_S = 5.0
"""Time before the limit at which trainings are killed, so that their ends can be recorded."""

_KILL_POLL_S = 0.2
"""Pause between two checks of trainings that were told to stop."""

_LONGEST_SLEEP_S = 60.0

_SIGNAL_DELAY_S = 2.0
"""Slurm signals training and launcher at once; the launcher's signal may arrive so much later."""


class Deadline:
    """The signals and the end time of an allocation; replaces the process's signal handlers."""

    def __init__(self, allocation: Allocation) -> None:
        self.allocation = allocation
        self.stopped: Failure | None = None  # why the trainings have to stop
        self.on_signal: Callable[[], object] = lambda: None
        self._signal: int | None = None
        self._told: float | None = None  # when the trainings were told to stop
        self._wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, signals.notice)
        for number in signals.STOP_SIGNALS:
            signal.signal(number, self._see)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.STOP_SIGNALS)  # blocked until now

    def _see(self, number: int, _frame: object) -> None:
        self._signal = number
        self.on_signal()

    @property
    def is_signalled(self) -> bool:
        """Whether a signal came that was not forgotten; its meaning may not be known yet."""
        return self._signal is not None

    def forget_signal(self) -> None:
        """Have the next signal count as the first one."""
        self._signal = None

    def look(self) -> Failure | None:
        """Why the trainings have to stop now; None: they continue."""
        self.stopped = self.stopped or self._heed_signal() or self._heed_end()
        return self.stopped

    def look_at_late_signal(self) -> Failure | None:
        """Why to stop, by a signal that may still arrive: a training has already stopped by it."""
        if self.stopped is None:
            self.await_signal(_SIGNAL_DELAY_S)
            self.stopped = self._heed_signal()
        return self.stopped

    def _heed_signal(self) -> Failure | None:
        """Why a signal told this process to stop; None: no signal came, or there is time left."""
        number = self._signal
        if number is None:
            return None
        why = self.allocation.why_stop(number)
        if why is None and self._signal == number:  # another signal may have come meanwhile
            self.forget_signal()
        return why

    def _heed_end(self) -> Failure | None:
        """The time limit as a reason to stop, if it is near."""
        end = self.allocation.end
        if end is None or time.time() < end - self.allocation.lead:
            return None
        return timeout(end)

    def training_end(self) -> float | None:
        """Unix time at which a training has to be over; None: there is no limit."""
        if self.allocation.end is None:
            return None
        return self.allocation.end - max(self.allocation.lead, _RESERVE_S)

    def begin_grace(self) -> None:
        """Start the grace time: the trainings are being told to stop and may write a checkpoint."""
        self._told = self._told or time.time()

    def is_grace_over(self) -> bool:
        """Whether the grace time of trainings that were told to stop is over."""
        if self._told is None:
            return False
        now, end = time.time(), self.allocation.end
        return now >= self._told + self.allocation.grace or (
            end is not None and now >= end - _RESERVE_S
        )

    def wait(self) -> None:
        """Sleep until a child ends, a signal comes, or it is time to stop the trainings."""
        end = self.allocation.end
        if self._told is not None:
            self._sleep(_KILL_POLL_S)
        elif end is None:
            self._sleep(_LONGEST_SLEEP_S)
        else:
            left = end - self.allocation.lead - time.time()
            self._sleep(min(_LONGEST_SLEEP_S, max(0.05, left)))

    def await_signal(self, seconds: float) -> None:
        """Sleep until a signal has come, for at most so many seconds."""
        until = time.monotonic() + seconds
        while self._signal is None and (left := until - time.monotonic()) > 0:
            self._sleep(left)

    def rest(self, seconds: float) -> None:
        """Sleep between two tasks, unless it is time to stop."""
        self._sleep(seconds)
        self.look()

    def _sleep(self, seconds: float) -> None:
        """Sleep until a signal or a child's end, for at most so many seconds."""
        select.select([self._wake], [], [], seconds)
        signals.drain(self._wake)
