"""Shell limits (`ulimit`) that a training inherits, and whether an error comes from one of them.

Such a limit is set by a line of `setup:`, or on the login node, from where Slurm passes it on.
"""

import errno
import resource
import signal

_MEMORY_MESSAGES = (
    "cannot allocate memory",
    "can't allocate memory",
    "failed to map segment",
    "bad_alloc",
    "not enough memory",
)
"""Messages of the dynamic loader, torch and C++ when they get no address space."""

_THREADS_MESSAGES = ("can't start new thread",)

_LIMIT_SIGNALS = {signal.SIGXCPU: ("CPU time", "-t"), signal.SIGXFSZ: ("size of files", "-f")}


def behind(error: BaseException) -> str | None:
    """The limit that caused an error of a training, in words; None: no limit did."""
    text, number = str(error).lower(), getattr(error, "errno", None)
    needs_memory = isinstance(error, MemoryError) or number == errno.ENOMEM
    if needs_memory or any(words in text for words in _MEMORY_MESSAGES):
        return of_memory()
    if any(words in text for words in _THREADS_MESSAGES):
        return _described(resource.RLIMIT_NPROC, "number of processes", "-u", 1)
    if number == errno.EFBIG:
        return _described(resource.RLIMIT_FSIZE, "size of files", "-f", 1024)
    return None


def of_memory() -> str | None:
    """The limit on address space, in words; None: there is none."""
    return _described(resource.RLIMIT_AS, "memory", "-v", 1024)


def of_signal(number: int) -> str | None:
    """The limit that the kernel enforces by this signal, in words; None: no limit."""
    found = {int(known): words for known, words in _LIMIT_SIGNALS.items()}.get(number)
    return None if found is None else f"the shell limits its {found[0]} (ulimit {found[1]})"


def _described(kind: int, what: str, flag: str, unit: int) -> str | None:
    soft, _ = resource.getrlimit(kind)
    if soft == resource.RLIM_INFINITY:
        return None
    return f"the shell limits its {what} (ulimit {flag} {soft // unit})"
