"""The command `probprec` as it is installed: it runs this toolkit, whatever PYTHONPATH holds.

A module beside the packages, and not in one of them: with somebody's own package `cluster` on
PYTHONPATH ours would not even be found. Nothing is imported here that may be shadowed like that.
"""

import os
import sys


def main() -> int:
    """Run one command; returns its exit code. What PYTHONPATH names is looked into last."""
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib may be shadowed
    named = os.environ.get("PYTHONPATH", "")
    theirs = {os.path.abspath(path) for path in named.split(os.pathsep)} if named else set()  # noqa: PTH100
    last = [path for path in sys.path if path in theirs]
    sys.path[:] = [path for path in sys.path if path not in theirs | {here}] + [here, *last]
    from cluster.cli import main as run

    return run()
