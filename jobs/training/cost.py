"""The cost of a run is split into the phases of its training."""

import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import perf_counter, process_time
from typing import Any

import torch

from jobs.store.record import PHASES


@dataclass
class Phase:
    """The cost of one phase, summed over all stays in it."""

    wall_s: float = 0.0
    cpu_s: float = 0.0  # user + system of this process, all threads
    forward: int = 0
    backward: int = 0
    hvp: int = 0  # Hessian-vector products


class Meter:
    """A meter of wall and CPU seconds per phase, which also counts passes.

    On a GPU the host has gone on when its work begins. Wall seconds are therefore those between two
    events in the GPU's own queue, one as the phase begins and one as it ends, so that work counts in
    the phase that asked for it. No step waits for them: they are read by `drain`, once per epoch.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.phases = {name: Phase() for name in PHASES}
        self._pending: list[tuple[Phase, torch.cuda.Event, torch.cuda.Event]] = []
        self._peaks: dict[str, int | None] = {  # of earlier attempts
            "peak_memory_bytes": None,
            "peak_gpu_memory_bytes": None,
        }
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    @contextmanager
    def phase(self, name: str) -> Iterator[Phase]:
        """Count the cost of the body for phase `name`, even if it raises."""
        phase = self.phases[name]
        start = self._event()
        wall, cpu = perf_counter(), process_time()
        try:
            yield phase
        finally:
            phase.cpu_s += process_time() - cpu
            end = self._event()
            if start is None or end is None:
                phase.wall_s += perf_counter() - wall
            else:
                self._pending.append((phase, start, end))

    def synchronize(self) -> None:
        """Wait until the GPU has done all the work in its queue; the CPU has none."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def drain(self) -> None:
        """Wait for the GPU, and count the seconds of the phases that have ended."""
        if self._pending:
            self.synchronize()
        for phase, start, end in self._pending:
            phase.wall_s += start.elapsed_time(end) / 1000.0
        self._pending.clear()

    def add(self, earlier: Mapping[str, Any]) -> None:
        """Add the cost of an earlier attempt, as `to_json` gave it."""
        for name, phase in self.phases.items():
            for key, value in earlier[name].items():
                setattr(phase, key, getattr(phase, key) + value)
        self._peaks = {name: earlier[name] for name in self._peaks}

    def to_json(self) -> dict[str, Any]:
        """The record's `cost`: sums over attempts, and the highest of their peaks."""
        self.drain()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        gpu = torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else None
        return {name: asdict(phase) for name, phase in self.phases.items()} | {
            name: max((peak for peak in (now, self._peaks[name]) if peak is not None), default=None)
            for name, now in zip(self._peaks, (memory, gpu), strict=True)
        }

    def _event(self) -> torch.cuda.Event | None:
        if self.device.type != "cuda":
            return None
        event: torch.cuda.Event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch has no types here
        event.record(torch.cuda.current_stream(self.device))
        return event
