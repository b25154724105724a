"""DeepOBS' statistics, by hand."""

import math

import numpy as np

from jobs.statistics.deepobs import speed


def test_the_speed_of_deepobs():
    """Never is one epoch more than there are; an epoch before a divergence counts."""
    curves = [
        np.array([0.1, 0.5, 0.9, 0.95]),  # 2
        np.array([0.1, 0.2, 0.3, 0.4]),  # never: 4
        np.array([0.1, 0.95, math.nan]),  # 1
        np.array([0.1]),  # diverged in its first epoch: 4
    ]

    assert speed(curves, epochs=3, target=0.9, is_better_high=True) == 11 / 4
    assert speed(curves[:1], epochs=3, target=0.1, is_better_high=False) == 0
