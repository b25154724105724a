"""The command of a training: its words, its variables, and the files that it may read in a container."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from containers.command import Command, Container, inside, plain
from containers.runtime import is_bindable
from containers.variables import gpu_variables, python_variables, thread_variables

_LINKS_MAX = 64
"""So many links of a data folder are followed; a command line has its limit."""

_TOP_PARTS_MAX = 2
"""Paths of no more parts, such as /home, are not bound: they would cover too much of the image."""

_IMAGE_FOLDERS = tuple(
    map(Path, ("/bin", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys"))
) + tuple(Path("/usr", name) for name in ("bin", "lib", "lib64", "libexec", "local", "sbin"))
"""Folders whose content has to be the image's own."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training: the run, and the node's files, resources and variables for it."""

    run_file: Path  # the run, as JSON
    out: Path  # the attempt's folder, which is written to
    python: str  # the interpreter
    data: Path | None  # folder of the data sets, if the spec or the profile names one
    resume: Sequence[Path]  # folders of earlier attempts with checkpoints, newest first
    until: float | None  # unix time at which the training has to be over; None: no limit
    checkpoint_every: int  # seconds between two checkpoints
    manifest: str | None  # sha256 of the manifest that the data set was verified by
    image_sha256: str | None  # of the image; None: trained without one
    code: Path  # the snapshot of the toolkit
    own: Sequence[Path]  # folders of the user's own code
    threads: int  # CPU threads
    gpu: str  # as CUDA_VISIBLE_DEVICES (AMD: ROCR_VISIBLE_DEVICES) names it; empty: none
    needs_gpu: bool  # whether to fail rather than to train on the CPU
    scratch: Path | None  # folder for temporary files; None: the usual one, or the `workdir`
    environment: Mapping[str, str]  # variables that the profile names for all trainings

    def command(self, container: Container | None) -> Command:
        """The command that trains, in a container, or in `python` on this machine as it is.

        Raises:
            ContainerError: a path cannot be bound.
        """
        variables = (
            dict(self.environment)
            | python_variables([self.code])
            | thread_variables(self.threads)
            | gpu_variables(self.gpu)
        )
        if container is None:
            variables |= {"TMPDIR": str(self.scratch)} if self.scratch is not None else {}
            return plain(self._words(), variables)
        readable = [path for path in (self.code, *self.own, self.data) if path is not None]
        if self.data is not None:
            readable += _led_to(self.data, (*readable, *container.writable))
        return inside(
            container,
            self._words(),
            cwd=self.out,
            readable=readable,
            gpu=self.gpu,
            variables=variables,
        )

    def _words(self) -> list[str]:
        words = [self.python, "-m", "jobs.train", str(self.run_file), "--out", str(self.out)]
        words += ["--data", str(self.data)] if self.data is not None else []
        words += ["--manifest", self.manifest] if self.manifest is not None else []
        words += ["--image", self.image_sha256] if self.image_sha256 is not None else []
        words += ["--code", str(self.code)]
        for folder in self.own:
            words += ["--own", str(folder)]
        for folder in self.resume:
            words += ["--resume", str(folder)]
        words += ["--until", f"{self.until:.0f}"] if self.until is not None else []
        words += ["--checkpoint-every", str(self.checkpoint_every)]
        words += ["--gpu"] if self.needs_gpu else []
        return [*words, "--die-with-parent"]


def _led_to(folder: Path, bound: Sequence[Path]) -> list[Path]:
    """The targets of a data folder's links to the outside, which have to be bound, too.

    One hop is enough: the kernel resolves the source of a bind. Left out are targets that would cover
    one of `bound` or the image's own folders, that lie in one of `bound`, or that cannot be bound: a
    link that the training may never read must not stop the run.
    """
    try:
        links = [Path(entry.path) for entry in os.scandir(folder) if entry.is_symlink()]
        named = {Path(os.path.normpath(folder / link.readlink())) for link in links}
    except OSError:  # the training reports the error
        return []
    found: list[Path] = []
    for path in sorted(named):  # a folder comes before the paths in it
        others = (*bound, *found[-1:])
        apart = not any(path.is_relative_to(one) or one.is_relative_to(path) for one in others)
        if apart and not _is_of_the_image(path) and os.access(path, os.R_OK):
            found.append(path)
    return [path for path in found if is_bindable(path)][:_LINKS_MAX]


def _is_of_the_image(path: Path) -> bool:
    return len(path.parts) <= _TOP_PARTS_MAX or any(
        path.is_relative_to(one) for one in _IMAGE_FOLDERS
    )
