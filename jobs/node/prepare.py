"""What the runs of one array task use on this node: scratch, the image, the data; all verified."""

import json
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from containers import runtime
from containers.command import Container
from containers.runtime import ContainerError
from jobs import hashes, snapshot
from jobs.errors import DriftedError
from jobs.failure import Failure, is_disk_full
from jobs.manifests.manifest import File, Manifest, ManifestError
from jobs.node.execution import Execution
from jobs.problems import catalog
from jobs.staging import scratch, stage
from jobs.store import journal
from jobs.store.journal import Event
from jobs.store.store import Store
from jobs.store.submission_plan import Sealed
from jobs.sweep import Run

_LOG_PAUSE_S = 10.0
"""Between two lines of the log about one copy."""


class UnusableDataError(RuntimeError):
    """The data cannot be read on this node."""


@dataclass(frozen=True, kw_only=True)
class Reporter:
    """What the preparation of one attempt calls to say how it goes."""

    log: Callable[[str], object]  # a line of its log
    note: Callable[[Event], object]  # an event of its journal
    heartbeat: Callable[[], object]  # called often; what it raises ends the preparation


class Node:
    """The surroundings of an array task's runs, for as long as they run: a context.

    Args:
        store: the sweep.
        execution: how its runs are trained.
        owner: the job whose leases these are.
    """

    def __init__(self, store: Store, execution: Execution, owner: str) -> None:
        self._store, self._execution, self._owner = store, execution, owner
        self._stack = ExitStack()
        self._place: Path | None = None  # the node's scratch
        self._staged: dict[str, Path] = {}  # by hash
        self._own: Path | None = None  # where the user's own code was unpacked
        self.scratch: Path | None = None  # for temporary files; None: where they usually go

    def __enter__(self) -> Self:
        """Make a folder for temporary files below the node's scratch, if there is a scratch."""
        self._place = scratch.expanded(self._execution.scratch)
        with suppress(OSError):  # staging says what is wrong with it
            if (place := scratch.make(self._execution.scratch, self._stack)) is not None:
                self.scratch = scratch.temporary(place, self._stack)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of what was staged, and remove the temporary files."""
        self._stack.close()

    def container(self, reporter: Reporter) -> Container | None:
        """The image, verified on this node; None: the training runs as it is.

        Raises:
            DriftedError: it is not what was submitted; names both hashes.
            ContainerError: no runtime on this node.
            OSError: it cannot be read.
        """
        image = self._execution.image
        if image is None:
            return None
        found = runtime.find()
        path = self._staged_image(image, reporter) if self._execution.stage_image else None
        if path is None:
            hashes.check(image.path, image.sha256, reporter.heartbeat)
            path = image.path
        return Container(
            runtime=found,
            image=path,
            workdir=scratch.temporary(self._temporary, self._stack),
            writable=(self._store.root.resolve(),),
        )

    def _staged_image(self, image: Sealed, reporter: Reporter) -> Path | None:
        size = image.path.stat().st_size
        file = File(path=image.path.name, size=size, sha256=image.sha256)
        name, manifest = f"image {file.path}", Manifest((file,))
        folder, _ = self._stage(name, manifest, image.path.parent, reporter)
        return None if folder is None else folder / file.path

    def check_code(self) -> None:
        """Compare the code snapshot with what was submitted.

        Raises:
            DriftedError: it is another one; names both hashes.
        """
        if self._execution.code:
            hashes.check(self._execution.code_file, self._execution.code["snapshot"])

    def own_code(self) -> tuple[Path, ...]:
        """The folders of the user's own code, unpacked once from the snapshot, which was checked."""
        if self._execution.own and self._own is None:
            self._own = scratch.temporary(self._temporary, self._stack)
            snapshot.unpack_own(self._execution.code_file, self._own)
        return tuple((self._own or Path()) / name for name in self._execution.own)

    @property
    def _temporary(self) -> Path:
        return self.scratch or Path(tempfile.gettempdir())

    def data_of(self, run: Run, reporter: Reporter) -> tuple[Path | None, dict[str, Any] | None]:
        """The folder of the run's data on this node, and what the record says of how it came there.

        A data set that nobody could look at when the run was submitted is left to the training,
        which compares it with the catalog. What the user's own problem reads is used as it is, if
        it could not be described by a manifest; that is noted. (Whether it reads any, the training
        will know.)

        Raises:
            ManifestError: it is not what was submitted; names file and both hashes.
            NoRoomError: it cannot be staged, and it is an archive, or the profile says
                `unstaged: fail`.
            UnusableDataError: it cannot be read.
        """
        name = catalog.dataset_of(run)
        if name is None and catalog.is_own(run):
            name = self._execution.own_data
            if self._execution.unverified is not None:
                reporter.note(journal.unverified_data(self._execution.unverified))
                reporter.log(
                    f"the data, if it is used, is not verified: {self._execution.unverified}"
                )
        sealed = self._execution.datasets.get(name or "")
        if name is None or sealed is None:
            return self._execution.data, None
        manifest = self._manifest(sealed)
        folder, report = self._stage(name, manifest, sealed.path, reporter)
        if folder is None:
            folder = sealed.path
            self._verify(manifest, folder, reporter, alone=catalog.is_own(run))
        return folder, {"dataset": name, "manifest": manifest.sha256, **report}

    def _manifest(self, sealed: Sealed) -> Manifest:
        file = self._store.manifest_file(sealed.sha256)
        try:
            manifest = Manifest.from_json(json.loads(file.read_bytes()))
        except (OSError, ValueError) as error:
            raise DriftedError(f"{file}: cannot be read: {error}") from error
        if manifest.sha256 != sealed.sha256:
            raise DriftedError(f"{file}: sha256 {manifest.sha256}, expected {sealed.sha256}")
        return manifest

    def _stage(
        self, name: str, manifest: Manifest, source: Path, reporter: Reporter
    ) -> tuple[Path | None, dict[str, Any]]:
        """Where it was staged, and what that took; None: read it in place."""
        if manifest.sha256 in self._staged:
            return self._staged[manifest.sha256], {"copied_bytes": 0, "hit": True}
        is_full = False
        if self._place is None:
            problem = f"no scratch: the profile's is {self._execution.scratch!r}"
        else:
            try:
                return self._copy(name, manifest, source, reporter)
            except OSError as error:
                if self._execution.unstaged == "fail" and _is_of(error, source):
                    raise UnusableDataError(f"{name}: {_words(error)}") from error
                problem, is_full = _words(error), isinstance(error, stage.NoRoomError)
        is_archive = _is_archive(source)
        if self._execution.unstaged == "fail" or (is_archive and is_full):
            raise stage.NoRoomError(f"{name} cannot be staged: {problem}")
        if is_archive:
            raise UnusableDataError(f"{source} is an archive, to be unpacked on scratch: {problem}")
        if self._execution.scratch is not None:
            reporter.note(journal.not_staged(name, problem))
            reporter.log(f"{name} is read where it lies: {problem}")
        return None, {"in_place": True}

    def _copy(
        self, name: str, manifest: Manifest, source: Path, reporter: Reporter
    ) -> tuple[Path, dict[str, Any]]:
        lines = _Lines(name, manifest.size, reporter)
        root = stage.store_of(self._place or Path())
        found = self._stack.enter_context(
            stage.staged(
                root,
                manifest,
                source,
                owner=self._owner,
                on_wait=lines.wait,
                on_bytes=lines.count,
            )
        )
        report = {
            "copied_bytes": found.copied,
            "seconds": round(found.seconds, 3),
            "waited_s": round(found.waited, 3),
            "hit": found.hit,
        }
        reporter.note(journal.staged(name, str(found.path), **report))
        self._staged[manifest.sha256] = found.path
        return found.path, report

    @staticmethod
    def _verify(manifest: Manifest, folder: Path, reporter: Reporter, *, alone: bool) -> None:
        """Compare the original, where it lies, with what was submitted."""
        try:
            if not folder.exists():
                raise UnusableDataError(f"{folder} is not there on this node; is it mounted?")
            stage.in_place(manifest, folder, reporter.heartbeat, alone=alone)
        except OSError as error:
            raise UnusableDataError(_words(error)) from error


class _Lines:
    """What a task tells of a copy: that it waits, and now and then how far it is."""

    def __init__(self, name: str, size: int, reporter: Reporter) -> None:
        self._name, self._size, self._reporter = name, size, reporter
        self._done, self._is_waiting, self._last = 0, False, time.monotonic()

    def wait(self) -> None:
        self._reporter.heartbeat()
        if not self._is_waiting:
            self._is_waiting = True
            self._reporter.note(journal.waiting(self._name))
            self._reporter.log(f"waits for another task that is copying {self._name} to this node")

    def count(self, size: int) -> None:
        self._reporter.heartbeat()
        self._done += size
        if time.monotonic() - self._last >= _LOG_PAUSE_S:
            self._last = time.monotonic()
            self._reporter.log(f"{self._name}: {self._done >> 20} of {self._size >> 20} MiB copied")


def why_not(error: Exception) -> Failure:
    """Why a training could not be started, by what `Node` or the start itself raised."""
    text = _words(error) if isinstance(error, OSError) else str(error)
    if isinstance(error, DriftedError | ManifestError):
        name = text.partition(": ")[0]
        message = f"{Path(name).name} is not what was submitted"
        return Failure(failure="drifted", message=message, evidence=text)
    if isinstance(error, stage.NoRoomError) or is_disk_full(error):
        return Failure(failure="disk_full", message=text, evidence="scratch")
    if isinstance(error, UnusableDataError):
        return Failure(failure="bad_data", message=text, evidence="staging")
    evidence = "container runtime" if isinstance(error, ContainerError) else "start"
    return Failure(failure="image", message=f"cannot be started: {text}", evidence=evidence)


def _words(error: OSError) -> str:
    """The error's text, with the file if it names one."""
    if error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def _is_archive(source: Path) -> bool:
    """Whether it is a file; what cannot be looked at is found to be so later."""
    try:
        return source.is_file()
    except OSError:
        return False


def _is_of(error: OSError, folder: Path) -> bool:
    return error.filename is not None and Path(str(error.filename)).is_relative_to(folder)
