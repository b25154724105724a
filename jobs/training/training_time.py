"""The training time of a run: seconds and steps up to each evaluation, as in a record's `time`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter, process_time
from typing import Any

from jobs.store.record import TIME_SERIES


class TrainingTime:
    """The sums of a training's seconds, and the series of these sums at each evaluation.

    The body of `running` is counted: minibatches, passes, steps, and the logs of them. Setup,
    evaluations and checkpoints are not. CPU seconds are user + system of this process, all threads;
    a wait for the GPU is in them where the host spins.

    A GPU is still at work when the host has gone on. The host waits for it at the beginning and at
    the end of a stretch of training, and nowhere in between.

    An attempt that resumes from a checkpoint continues the sums of that moment. Seconds that the
    earlier attempt spent after its last checkpoint are lost with it, and in no sum: those steps are
    taken again, and counted once.
    """

    def __init__(self, synchronize: Callable[[], None]) -> None:
        """`synchronize` waits until the device has done all the work in its queue."""
        self._synchronize = synchronize
        self._sums = {"wall_s": 0.0, "cpu_s": 0.0}
        self._since: dict[str, float] | None = None  # when the stretch under way began
        self._series: dict[str, list[float]] = {name: [] for name in TIME_SERIES}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the seconds of the body, unless it raises: then no evaluation follows."""
        self._start()
        yield
        self._stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the seconds of the body, in the middle of a stretch or between two."""
        if self._since is None:
            yield
            return
        self._stop()
        yield
        self._start()

    def add_epoch(self, steps: int) -> None:
        """Append the sums to the series, after `steps` steps over all epochs."""
        for name, value in {**self._sums, "steps": steps}.items():
            self._series[name].append(value)

    def to_json(self) -> dict[str, list[float]]:
        """The series, as the record's `time`."""
        return self._series

    def state_dict(self) -> dict[str, Any]:
        """The sums and the series, as JSON values for a checkpoint."""
        return {"sums": self._sums, "series": self._series}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`; takes the lists over."""
        self._sums, self._series = dict(state["sums"]), dict(state["series"])

    def _start(self) -> None:
        self._synchronize()
        self._since = _now()

    def _stop(self) -> None:
        self._synchronize()
        since, self._since = self._since, None
        if since is not None:
            self._sums = {
                name: self._sums[name] + now - since[name] for name, now in _now().items()
            }


def _now() -> dict[str, float]:
    return {"wall_s": perf_counter(), "cpu_s": process_time()}
