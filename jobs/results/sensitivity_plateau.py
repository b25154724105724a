"""How wide the range of a hyperparameter is that does nearly as well as the best, in words."""

from collections.abc import Sequence

import numpy as np

from jobs.results.cells import Cell
from jobs.results.reading import is_better_high
from jobs.statistics.sensitivity import Plateau, sensitivity


def plateau_text(cells: Sequence[Cell], axis: str, metric: str) -> str:
    """Tell the range of the axis, and how many of the settings diverged, of one optimizer and problem.

    Where settings differ in more than the axis, as in a random search, there is no range. A setting is as good as the mean of
    its runs; it diverged if one of them did.
    """
    tried = [cell for cell in cells if cell.results]
    lost = [cell for cell in tried if cell.diverged]
    share = f"{len(lost)} of {len(tried)} settings diverged"
    rates = {cell.id: rate for cell in tried if (rate := cell.number(axis)) is not None}
    kept = [cell for cell in tried if cell not in lost]
    means = [float(np.mean(cell.finals(metric))) for cell in kept]
    are_numbers = len(set(rates.values())) == len(tried) > 1 and min(rates.values()) > 0
    is_range = are_numbers and _differ_in(axis, tried)
    if not is_range or not np.isfinite(means).all():
        return share
    plateau = sensitivity(
        np.array([rates[cell.id] for cell in kept], dtype=np.float64),
        np.array(means, dtype=np.float64),
        np.array([rates[cell.id] for cell in lost], dtype=np.float64),
        is_accuracy=is_better_high(metric),
    ).plateau
    return share if plateau is None else f"{_spell(plateau, axis)}; {share}"


def _differ_in(axis: str, cells: Sequence[Cell]) -> bool:
    """Whether nothing but the axis tells them apart."""
    others = [{name: x for name, x in cell.varied.items() if name != axis} for cell in cells]
    return all(one == others[0] for one in others)


def _spell(found: Plateau, axis: str) -> str:
    """`nearly as good as the best for lr 0.01 to 0.1, over 1.0 to 3.0 decades`."""
    most = found.decades_at_most
    decades = "or more" if most is None else f"to {most:.1f}"
    where = f"{found.low:.4g} to {found.high:.4g}" if found.low < found.high else f"{found.low:.4g}"
    return (
        f"nearly as good as the best for {axis} {where}, over {found.decades:.1f} {decades} decades"
    )
