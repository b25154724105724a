"""Random search: one counter-based stream of numbers per parameter name.

Draw `i` of a parameter is a function of (the spec's `random_seed`, the parameter's name, i) and of
nothing else: more samples or more parameters never change earlier draws, and no two parameters
share a stream.
"""

import hashlib
import math

from jobs.canonical import Value
from jobs.spec.model import Draw

DIGITS = 12
"""Draws are rounded to this many significant digits, so that `exp` and `log` of another machine's C
library, which may differ in the last bit, give the same run."""


def uniform(random_seed: int, name: str, index: int) -> float:
    """Number `index` of the stream of parameter `name`, in [0, 1)."""
    hashed = hashlib.sha256(f"{random_seed}/{name}/{index}".encode()).digest()
    return (int.from_bytes(hashed[:7], "big") >> 3) / 2**53


def draw(distribution: Draw, number: float) -> Value:
    """The value that `number` in [0, 1) picks from `distribution`."""
    if distribution.choice is not None:
        value: Value = distribution.choice[int(number * len(distribution.choice))]
        return value
    if distribution.randint is not None:
        first, last = distribution.randint
        return first + int(number * (last - first + 1))
    if distribution.uniform is not None:
        low, high = distribution.uniform
        drawn = low + number * (high - low)
    else:
        low, high = distribution.loguniform or (1.0, 1.0)
        drawn = math.exp(math.log(low) + number * (math.log(high) - math.log(low)))
    return min(max(float(f"{drawn:.{DIGITS}g}"), low), high)
