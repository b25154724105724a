"""What the shell before a training limits (`ulimit`), and whether an error comes of it.

Such a limit is set by a line of `setup:`, or on the login node, from where Slurm passes it on.
"""

import errno
import resource
import signal

_MEMORY = (
    "cannot allocate memory",
    "can't allocate memory",
    "failed to map segment",
    "bad_alloc",
    "not enough memory",
)
"""What loaders of libraries, torch and C++ say when they get no address space."""

_THREADS = ("can't start new thread",)

_SIGNALS = {signal.SIGXCPU: ("CPU time", "-t"), signal.SIGXFSZ: ("size of files", "-f")}


def behind(error: BaseException) -> str | None:
    """The limit that an error of a training comes of, in words; None: it comes of none."""
    text, number = str(error).lower(), getattr(error, "errno", None)
    needs_memory = isinstance(error, MemoryError) or number == errno.ENOMEM
    if needs_memory or any(words in text for words in _MEMORY):
        return of_memory()
    if any(words in text for words in _THREADS):
        return _described(resource.RLIMIT_NPROC, "number of processes", "-u", 1)
    if number == errno.EFBIG:
        return _described(resource.RLIMIT_FSIZE, "size of files", "-f", 1024)
    return None


def of_memory() -> str | None:
    """The limit on address space, in words; None: there is none."""
    return _described(resource.RLIMIT_AS, "memory", "-v", 1024)


def of_signal(number: int) -> str | None:
    """The limit that the kernel enforces by this signal, in words."""
    found = {int(known): words for known, words in _SIGNALS.items()}.get(number)
    return None if found is None else f"the shell limits its {found[0]} (ulimit {found[1]})"


def _described(kind: int, what: str, flag: str, unit: int) -> str | None:
    soft, _ = resource.getrlimit(kind)
    if soft == resource.RLIM_INFINITY:
        return None
    return f"the shell limits its {what} (ulimit {flag} {soft // unit})"
