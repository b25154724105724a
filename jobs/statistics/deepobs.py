"""Statistics by DeepOBS' definitions, under its names, to be put beside numbers of its papers."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def speed(
    curves: Sequence[NDArray[np.float64]], *, epochs: int, target: float, is_better_high: bool
) -> float:
    """DeepOBS' speed: the mean first epoch at the target, where never is `epochs` + 1.

    As `compute_speed` of its analyzer (Schneider et al. 2019). It gives a run that never gets
    there the best that could come of one more epoch, and one that diverges what it reached before.

    Args:
        curves: per run (E,), the metric before the first epoch and after each, E <= `epochs` + 1.
        epochs: the number that each run was planned to have.
        target: the value that counts as solved.
        is_better_high: whether more is better.
    """
    speeds = []
    for values in curves:
        is_there = values >= target if is_better_high else values <= target
        speeds.append(float(np.argmax(is_there)) if is_there.any() else epochs + 1.0)
    return math.fsum(speeds) / len(speeds)
