"""A fake GPU, with a clock to go by: work that it is given lies in its queue while the host goes on.

It stands where torch's functions and the clocks of Python are called; `test_jobs_training_training_time`
holds a real one to the same. Seconds are made by `host` and `give`, none pass on their own.
"""

from typing import Self

import torch

from jobs.training import cost, training_time


class FakeGpu:
    """The host's clock, and how far the GPU has got."""

    def __init__(self, monkeypatch) -> None:
        """Put it in the place of torch's."""
        self.now = 0.0
        self.busy_until = 0.0
        self.waits = 0
        """How often the host has waited for it."""
        for module in (cost, training_time):
            monkeypatch.setattr(module, "perf_counter", lambda: self.now)
            monkeypatch.setattr(module, "process_time", lambda: 2 * self.now)  # two busy threads
        monkeypatch.setattr(torch.cuda, "synchronize", self.synchronize)
        monkeypatch.setattr(torch.cuda, "Event", lambda **_: FakeEvent(self))
        monkeypatch.setattr(torch.cuda, "current_stream", lambda _: None)
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: None)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 1)

    def host(self, seconds: float) -> None:
        """The host is busy for so long."""
        self.now += seconds

    def give(self, seconds: float) -> None:
        """Work of so many seconds goes into the queue."""
        self.busy_until = self.ready() + seconds

    def ready(self) -> float:
        """When it will have done what it was given by now."""
        return max(self.now, self.busy_until)

    def synchronize(self, _: torch.device) -> None:
        """As `torch.cuda.synchronize`."""
        self.now = self.ready()
        self.waits += 1


class FakeEvent:
    """As `torch.cuda.Event`."""

    def __init__(self, gpu: FakeGpu) -> None:
        self.gpu = gpu
        self.at = float("nan")

    def record(self, _: None) -> None:
        """It happens when all that was given before has been done."""
        self.at = self.gpu.ready()

    def elapsed_time(self, end: Self) -> float:
        """Milliseconds; as with torch, both must have happened."""
        assert max(self.at, end.at) <= self.gpu.now, "not ready"
        return 1000 * (end.at - self.at)
