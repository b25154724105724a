"""Of where numbers come from a reviewer asks: same training, code, software, data and hardware?"""

from collections.abc import Collection, Mapping

from jobs.report.content import Check, Level
from jobs.report.review import Review
from jobs.results.cells import name_some
from jobs.results.provenance import origin_of


def trained_alike(review: Review) -> Check:
    """Whether what is compared is trained alike, beside optimizer and hyperparameters."""
    runs = [one.planned.run for one in review.results.found]
    epochs = name_some([str(value) for value in sorted({run.epochs for run in runs})])
    batches = name_some([str(value) for value in sorted({run.batch_size for run in runs})])
    return review.judge(
        "Are all optimizers of a problem trained alike?",
        {"unequal_training": Level.CAUTION},
        f"epochs {epochs or 'none'}, batch size {batches or 'none'}; where optimizers are compared,"
        " these, the initial weights' rule and the protocol are the same",
    )


def same_code(review: Review) -> Check:
    """Whether one version of the code trained all runs, and a commit has it."""
    return _same(
        review,
        "Is all of it trained by the same code?",
        {"mixed_code": Level.BAD, "mixed_own_code": Level.BAD, "dirty_code": Level.CAUTION},
        ("code",),
    )


def same_software(review: Review) -> Check:
    """Whether image, packages and environment are the same."""
    return _same(
        review,
        "In the same image, with the same packages?",
        {
            "mixed_image": Level.BAD,
            "mixed_packages": Level.BAD,
            "mixed_environment": Level.BAD,
        },
        ("image", "python", "torch", "numpy"),
    )


def same_data(review: Review) -> Check:
    """Whether the data are the same byte for byte, and were verified."""
    return _same(
        review,
        "On the same data, byte for byte, split alike?",
        {"mixed_data": Level.BAD, "mixed_splits": Level.BAD, "unverified_data": Level.CAUTION},
        ("data",),
    )


def same_hardware(review: Review) -> Check:
    """Whether the kind of device and the number of threads are the same, of little weight the machine."""
    return _same(
        review,
        "On the same hardware?",
        {"mixed_hardware": Level.BAD, "mixed_machine": Level.CAUTION},
        ("machine", "cpu", "device", "gpu", "threads"),
    )


def equal_means(review: Review) -> Check:
    """Whether the runs of each mean are alike, and none lacks a value."""
    cells = len(review.results.cells)
    settings = f"{cells} settings" if cells != 1 else "1 setting"
    return review.judge(
        "Is each mean one of equal runs, with all their values?",
        {"mixed_cell": Level.BAD, "holes": Level.BAD, "conflict": Level.BAD},
        f"{settings}: the runs of each differ in nothing but the seed, and lack no value",
    )


def _same(
    review: Review, question: str, levels: Mapping[str, Level], names: Collection[str]
) -> Check:
    """What all records tell is good; what none tells is not known to be the same.

    Args:
        review: with the findings.
        question: that is answered.
        levels: of the findings, by code.
        names: what the answer says of the records; `data` is each hash of any data set.
    """
    found = review.results.found
    values: dict[str, dict[str, None]] = {}
    for one in found:
        for name, value in origin_of(one).items():
            if name in names or name.split()[0] in names:
                values.setdefault(name, {})[value] = None
    if not values and not review.about(*levels):
        answer = "no record says so" if found else "there is no record"
        return Check(question=question, level=Level.CAUTION, answer=answer)
    texts = [f"{name} {name_some(sorted(own))}" for name, own in values.items()]
    text = f"{', '.join(texts)}; in all {len(found)} records that tell it"
    return review.judge(question, levels, text)
