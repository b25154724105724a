"""A node is prepared for the runs of one array task: scratch, image and data, all verified."""

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

_LOG_INTERVAL_S = 10.0
"""Time between two log lines about one copy."""


class UnusableDataError(RuntimeError):
    """The data cannot be read on this node."""


@dataclass(frozen=True, kw_only=True)
class Reporter:
    """Callbacks by which the preparation of one attempt reports."""

    log: Callable[[str], object]  # adds a line to the attempt's log
    note: Callable[[Event], object]  # adds an event to the run's journal
    heartbeat: Callable[[], object]  # called often; an exception from it ends the preparation


class Node:
    """Scratch, code, image and data of an array task's runs on this node (a context manager).

    Args:
        store: of the sweep.
        execution: how its runs are trained.
        owner: the job that holds the leases of staged sets.
    """

    def __init__(self, store: Store, execution: Execution, owner: str) -> None:
        self._store, self._execution, self._owner = store, execution, owner
        self._stack = ExitStack()
        self._place: Path | None = None  # the node's scratch
        self._staged: dict[str, Path] = {}  # by hash
        self._own: Path | None = None  # folder with the user's own code, unpacked
        self.scratch: Path | None = None  # for temporary files; None: where they usually go

    def __enter__(self) -> Self:
        """Make a folder for temporary files below the node's scratch, if there is a scratch."""
        self._place = scratch.expanded(self._execution.scratch)
        with suppress(OSError):  # staging reports what is wrong with scratch
            if (place := scratch.make(self._execution.scratch, self._stack)) is not None:
                self.scratch = scratch.temporary(place, self._stack)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the leases of staged sets, and remove the temporary files."""
        self._stack.close()

    def container(self, reporter: Reporter) -> Container | None:
        """The image, verified on this node; None: trainings run without an image.

        Raises:
            DriftedError: the image is not the submitted one; names both hashes.
            ContainerError: this node has no container runtime.
            OSError: the image cannot be read.
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
        """Compare the code snapshot with the submitted one.

        Raises:
            DriftedError: the hashes differ; names both.
        """
        if self._execution.code:
            hashes.check(self._execution.code_file, self._execution.code["snapshot"])

    def own_code(self) -> tuple[Path, ...]:
        """The folders of the user's own code, unpacked once from the checked snapshot."""
        if self._execution.own and self._own is None:
            self._own = scratch.temporary(self._temporary, self._stack)
            snapshot.unpack_own(self._execution.code_file, self._own)
        return tuple((self._own or Path()) / name for name in self._execution.own)

    @property
    def _temporary(self) -> Path:
        return self.scratch or Path(tempfile.gettempdir())

    def data_of(self, run: Run, reporter: Reporter) -> tuple[Path | None, dict[str, Any] | None]:
        """The folder of the run's data on this node, and the record's report on its staging.

        A data set of the catalog that the submission could not read is left to the training, which
        compares it with the catalog. The data of an own problem that has no manifest is used
        unverified, and the journal says so. (Whether the problem reads data at all, only the
        training knows.)

        Raises:
            ManifestError: the data is not what was submitted; names file and both hashes.
            NoRoomError: the data cannot be staged, and is an archive, or the profile says
                `unstaged: fail`.
            UnusableDataError: the data cannot be read.
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
        """The staged folder of a data set, and a report; no folder: read the original in place."""
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
        lines = _CopyReport(name, manifest.size, reporter)
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
        """Compare the data in its original folder with the submitted manifest."""
        try:
            if not folder.exists():
                raise UnusableDataError(f"{folder} is not there on this node; is it mounted?")
            stage.in_place(manifest, folder, reporter.heartbeat, alone=alone)
        except OSError as error:
            raise UnusableDataError(_words(error)) from error


class _CopyReport:
    """The log lines of a task about a copy: waiting, and the bytes copied from time to time."""

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
        if time.monotonic() - self._last >= _LOG_INTERVAL_S:
            self._last = time.monotonic()
            self._reporter.log(f"{self._name}: {self._done >> 20} of {self._size >> 20} MiB copied")


def why_not(error: Exception) -> Failure:
    """The failure of a training that could not be started, by the exception that `Node` raised."""
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
    """The error's text, with its file if there is one."""
    if error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def _is_archive(source: Path) -> bool:
    """Whether the source is a file; an unreadable source is reported later, by its reader."""
    try:
        return source.is_file()
    except OSError:
        return False


def _is_of(error: OSError, folder: Path) -> bool:
    return error.filename is not None and Path(str(error.filename)).is_relative_to(folder)
