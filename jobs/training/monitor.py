"""A monitor checks that losses are finite, without making the host wait for the GPU."""

import torch


class FiniteMonitor:
    """A monitor of every step's loss.

    On the GPU the first bad step is kept in a tensor and read once per `interval` steps; on the
    CPU it is read at every step.
    """

    def __init__(self, device: torch.device, interval: int) -> None:
        self._interval = interval if device.type == "cuda" else 1
        self._never = torch.iinfo(torch.int64).max
        self._first_bad = torch.full((), self._never, dtype=torch.int64, device=device)
        self._kept: list[tuple[int, torch.Tensor]] = []
        self._seen = 0

    def see(self, loss: torch.Tensor, step: int, *, keep: bool) -> None:
        """Check the loss (0-dim) of a step; `keep` it for the curve."""
        bad = torch.where(torch.isfinite(loss), self._never, step)
        self._first_bad = torch.minimum(self._first_bad, bad)
        if keep:
            self._kept.append((step, loss))
        self._seen += 1

    def is_due(self, last: bool) -> bool:
        """Whether it is time to `collect`."""
        return last or self._seen >= self._interval

    def collect(self) -> tuple[list[tuple[int, float]], int | None]:
        """The kept losses before the first step with a bad loss, and that step, if there is one."""
        found = int(self._first_bad.item())
        losses = [(step, loss.item()) for step, loss in self._kept if step < found]
        self._kept.clear()
        self._seen = 0
        return losses, None if found == self._never else found
