"""Sizes and times in words, as a person reads them on the screen."""


def megabytes(count: float) -> str:
    """The size of an image: `512 MB`."""
    return f"{count / 1e6:.0f} MB"


def size(count: float) -> str:
    """The size of a data set, in three digits: `812 B`, `30.9 MB`."""
    value, unit = _scaled(count, 1000, ("B", "kB", "MB", "GB", "TB"))
    return f"{value:.3g} {unit}"


def rough_size(count: float) -> str:
    """The size of a sweep's folder: `12 kB`, `30.9 MB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"


def memory(count: float) -> str:
    """Memory, in the units in which Slurm counts it: `512 MiB`, `1.50 GiB`."""
    return f"{count / 1024**3:.2f} GiB" if count >= 1024**3 else f"{count / 1024**2:.0f} MiB"


def capacity(count: float) -> str:
    """The capacity of a disk or of memory: `512 MiB`, `1.5 GiB`."""
    value, unit = _scaled(count, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))
    return f"{value:.3g} {unit}" if value < 1000 else f"{value:.0f} {unit}"


def duration(seconds: float) -> str:
    """A duration: `40 s`, `12 min`, `3.5 h`, `2.1 days`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"


def _scaled(count: float, factor: int, units: tuple[str, ...]) -> tuple[float, str]:
    """The number in the first unit in which it is small; each unit is `factor` times the last."""
    for unit in units[:-1]:
        if count < factor:
            return count, unit
        count /= factor
    return count, units[-1]
