"""Many records, and what the commands that read all of them take: time and memory."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from make_sweep import make_sweep

from jobs.store.store import Store

PROBPREC = str(Path(__file__).resolve().parent.parent / ".venv/bin/probprec")


@dataclass
class Reading:
    """A command that reads a sweep's records, against reading and parsing them and no more."""

    what: str
    command: str
    store: Store
    is_first: bool = False  # nothing is known from before
    peak_bytes: int = 0  # the most memory of one process so far

    def ours(self) -> float:
        """Wall seconds of the command."""
        if self.is_first:
            shutil.rmtree(self.store.collected, ignore_errors=True)
        start = time.perf_counter()
        words = [PROBPREC, self.command, str(self.store.root), "--json"]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, words)
        self.peak_bytes = max(self.peak_bytes, usage.ru_maxrss * 1024)
        return time.perf_counter() - start

    def floor(self) -> float:
        """Wall seconds of `json.loads` of each record."""
        start = time.perf_counter()
        for path in self.store.root.glob("runs/*/record.json"):
            json.loads(path.read_bytes())
        return time.perf_counter() - start


def measured(records: int) -> Iterator[Reading]:
    """What is to be timed, one after the other, of so many records of 100 epochs."""
    with tempfile.TemporaryDirectory() as folder:
        store = make_sweep(
            Path(folder) / "many", seeds=range(records // 4), epochs=100, minibatch_losses=1000
        )
        yield Reading(f"collect {records:,} records of 100 epochs", "collect", store, is_first=True)
        yield Reading("collect them again", "collect", store)
        yield Reading("draw a figure of them", "plot", store)
