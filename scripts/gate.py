"""Run the tests: the quick set, all of them, a part, or those of Slurm under stress (`scripts/test`).

Two processes share the tests: one begins with those of Slurm, which mostly wait. A test of Slurm or of
images that fails is run once more, alone, after the others: if it passes, the last lines name it as
unstable, to be mended. Any other failure is red at once.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARALLEL = ("-n", "2", "--dist", "loadgroup")
SLOWEST = "--durations=20"


@dataclass(frozen=True)
class FailedTest:
    """A test that failed."""

    test: str  # its name, as pytest takes it
    message: str  # the first line of the error
    is_patient: bool  # of Slurm or of images: run once more


def main() -> int:
    """Run the command; returns the exit code."""
    options = _options()
    if options.stress:
        return stress(options.stress)
    coverage("erase")
    if options.pytest:
        return coverage("run", "-m", "pytest", *options.pytest) or report(floor=False)
    if options.all:
        os.environ["PROBPREC_TESTS"] = "all"
        with tempfile.TemporaryDirectory(prefix="probprec-cache-") as cache:
            os.environ["XDG_CACHE_HOME"] = cache  # images are built from nothing
            return gate() or zoo() or call("scripts/bench", "load")
    return zoo() if options.zoo else gate()


def gate() -> int:
    """Run the tests, failed ones of Slurm and images once more, and report the coverage."""
    code, failed = pytest(*PARALLEL, SLOWEST)
    red = judged(code, failed)
    code = 1 if red is None or red else report(floor=True)
    tell(failed, red)
    return code


def zoo() -> int:
    """Test the optimizers of many packages."""
    return call(sys.executable, "scripts/zoo.py")


def stress(rounds: int) -> int:
    """Run the tests of Slurm again and again, while two processes use both cores."""
    is_green = True
    with busy(2):
        for number in range(1, rounds + 1):
            begin = time.monotonic()
            code, failed = pytest("-m", "slurm", measured=False)
            red = judged(code, failed, measured=False)
            is_green = is_green and red == []
            minutes = (time.monotonic() - begin) / 60
            say(f"round {number} of {rounds}: {len(failed)} failed, exit {code}; {minutes:.1f} min")
            tell(failed, red)
    return 0 if is_green else 1


def judged(
    code: int, failed: Sequence[FailedTest], *, measured: bool = True
) -> list[FailedTest] | None:
    """The failed tests that fail again, alone; None: the run is red without a second try."""
    is_known = (code == 0 and not failed) or (code == 1 and failed)
    if not is_known or not all(one.is_patient for one in failed):
        return None
    return [one for one in failed if pytest(one.test, measured=measured)[0] != 0]


def tell(failed: Sequence[FailedTest], red: Sequence[FailedTest] | None) -> None:
    """Name the failed tests in the last lines."""
    for one in failed:
        word = "red" if red is None or one in red else "unstable"
        say(f"{word}: {one.test}, first failure: {one.message}")


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep so many cores busy."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def pytest(*arguments: str, measured: bool = True) -> tuple[int, list[FailedTest]]:
    """Run pytest; returns its exit code, and the failed tests."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "failures.json")
        words = ("-m", "pytest", *arguments, "--failures-to", str(file))
        code = coverage("run", *words) if measured else call(sys.executable, *words)
        failed = json.loads(file.read_text()) if file.exists() else []
    return code, [FailedTest(**one) for one in failed]


def report(*, floor: bool) -> int:
    """Show the branch coverage; `floor`: fail if it is too low."""
    coverage("combine", "-q")
    return coverage("report", *([] if floor else ["--fail-under=0"]))


def coverage(*arguments: str) -> int:
    """Run coverage; returns its exit code."""
    return call(sys.executable, "-m", "coverage", *arguments)


def call(*command: str) -> int:
    """Run a command in the checkout; returns its exit code."""
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def say(text: str) -> None:
    """Print a line, in order with the lines of child processes."""
    print(text, flush=True)


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/test", description="Everything that must hold.")
    parser.add_argument("--all", action="store_true", help="also what takes an hour or two")
    parser.add_argument("--stress", type=int, metavar="N", help="the tests of Slurm, N times")
    parser.add_argument("--zoo", action="store_true", help="optimizers of many packages")
    parser.add_argument("pytest", nargs="*", metavar="-- ...", help="for pytest: only a part")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
