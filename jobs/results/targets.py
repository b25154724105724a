"""What counts as solved is judged by the data of a split: validation, unless test is asked for."""

from typing import Literal

from jobs.sweep import Target

Split = Literal["valid", "test"]
"""The data that say whether a run is at its target; DeepOBS takes test data."""


def on(target: Target, split: Split = "valid") -> Target:
    """The target's number, for its metric on the data of that split.

    Specs and DeepOBS give it as a test metric. Nobody can stop a training by that: the same number
    on validation data can be known while it runs.
    """
    kind = target.metric.rpartition("_")[2]
    return Target(metric=f"{split}_{kind}", value=target.value)
