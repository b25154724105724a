"""The protocols by name; a protocol is the source of a run's random choices."""

from collections.abc import Callable

from jobs.errors import InputError
from jobs.problems.randomness import Randomness, Streams
from jobs.problems.replay import Replay
from jobs.sweep import Run

PROTOCOLS: dict[str, Callable[[int], Randomness]] = {"default": Streams, "deepobs-2019": Replay}


def randomness_of(run: Run) -> Randomness:
    """The random choices of `run`, from its seed, by its protocol.

    Raises:
        InputError: there is no such protocol.
    """
    if run.protocol not in PROTOCOLS:
        raise InputError(f"no protocol {run.protocol!r}; there are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[run.protocol](run.seed)
