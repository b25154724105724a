"""The probabilistic preconditioner of de Roos & Hennig (2019) and its variants; a training may enter, by the name of a class."""

from probprec.preconditioner import Preconditioner
from probprec.variants import (
    AdaptiveSGD,
    OnlyAdaptiveSGD,
    PreconditionedSGD,
    PreconditionedTunedMomentum,
    PreconditionedTunedSGD,
)

__all__ = [
    "AdaptiveSGD",
    "OnlyAdaptiveSGD",
    "PreconditionedSGD",
    "PreconditionedTunedMomentum",
    "PreconditionedTunedSGD",
    "Preconditioner",
]
