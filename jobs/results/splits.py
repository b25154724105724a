"""How many examples runs were trained on: of equal data and code, but split in another way, runs are unequal."""

from collections.abc import Iterator, Sequence

from jobs.results.cells import Cell
from jobs.results.finding import Finding
from jobs.results.reading import Result


def findings(cells: Sequence[Cell]) -> Iterator[Finding]:
    """Find the problems whose runs cannot all have had a training set of one size.

    A record tells the steps of an epoch, which are batches of the training set; whether an incomplete last
    one is left out is the problem's affair. What is taken for validation is not trained on, so that this
    tells of both. A test set of another size is other data, or other code: those have findings.
    """
    for problem in dict.fromkeys(cell.problem for cell in cells):
        epochs: dict[tuple[int, int], list[Result]] = {}
        for one in (one for cell in cells if cell.problem == problem for one in cell.results):
            if one.steps is not None and len(one.steps) > 1:
                key = int(one.steps[1]), one.planned.run.batch_size
                epochs.setdefault(key, []).append(one)
        least = max(((steps - 1) * batch + 1 for steps, batch in epochs), default=0)
        most = min(((steps + 1) * batch - 1 for steps, batch in epochs), default=0)
        if least > most:
            which = ", ".join(
                f"{steps} steps of {batch} ({len(own)} runs)"
                for (steps, batch), own in sorted(epochs.items())
            )
            text = f"runs of {problem} had training sets of different sizes, by their epochs of {which}"
            runs = tuple(one.planned.run.id for own in epochs.values() for one in own)
            yield Finding("mixed_splits", text, runs)
