"""The report of many runs: how long it takes to write, and until it can be used in Chromium."""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from chromium import launched
from collecting import Reading
from make_sweep import make_sweep
from playwright.sync_api import Browser

_EMPTY = "<!DOCTYPE html><title>empty</title><body data-ready>"


@dataclass
class Opening:
    """A page that is opened, against an empty one."""

    what: str
    browser: Browser
    file: Path
    empty: Path

    def ours(self) -> float:
        """Seconds until the page can be used."""
        return self._seconds(self.file)

    def floor(self) -> float:
        """Seconds of the empty page."""
        return self._seconds(self.empty)

    def _seconds(self, file: Path) -> float:
        page = self.browser.new_page()
        start = time.perf_counter()
        page.goto(file.as_uri())
        page.wait_for_selector("body[data-ready]", state="attached")
        seconds = time.perf_counter() - start
        page.close()
        return seconds


def measured(records: int) -> Iterator[tuple[str, str, Callable[[], float], Callable[[], float]]]:
    """What is timed, against what, and how, for a sweep of so many records."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = make_sweep(folder / "many", seeds=range(records // 4), epochs=100)
        reading = Reading("", "report", store)
        yield (
            f"report on {records:,} records",
            "json.loads of the records",
            reading.ours,
            reading.floor,
        )
        empty = folder / "empty.html"
        empty.write_text(_EMPTY)
        with launched() as browser:
            size = f"{store.report_file.stat().st_size / 1e6:.1f} MB"
            opening = Opening(f"open it, {size}", browser, store.report_file, empty)
            yield opening.what, "an empty page", opening.ours, opening.floor
