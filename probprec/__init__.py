"""The probabilistic preconditioner of de Roos & Hennig (2019) and its variants."""

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
