"""A cache of the states of a sweep's runs, and of Slurm's last states of array elements."""

import json
import os
from typing import Any

from jobs import files
from jobs.store import state
from jobs.store.attempts import RunFolder
from jobs.store.state import State
from jobs.store.store import Store


class StateCache:
    """A cache of final states of runs and array elements, so that 10,000 runs are read quickly.

    A valid record does not change; if its file's size or time did, the record is read again.
    Slurm forgets a job minutes after its end, so the last state of an element is kept here. The
    file may be deleted at any time; every `status` may write it.
    """

    _SCHEMA = 3

    def __init__(self, store: Store) -> None:
        self._file = store.states_file
        content = self._read()
        self._known: dict[str, Any] = content.get("records", {})
        self._slurm_states: dict[str, str] = content.get("words", {})
        self._is_new = False
        self.asked: set[str] = set()  # the elements that Slurm's accounting was asked for

    def of(self, folder: RunFolder) -> State:
        """The state of a run, from the cache where its record is known."""
        signature = _signature(folder)
        known = self._known.get(folder.id)
        if signature is not None and known is not None and known["file"] == signature:
            tried = tuple((node, failure) for node, failure in known["tried"])
            fields = {**known["state"], "evidence": str(folder.record_file), "tried": tried}
            return State(**fields)
        found = state.of(folder)
        if found.state in state.RECORDED and signature is not None:
            names = ["state", "attempts", "epoch", "step", "steps", "node", "element"]
            names += ["epoch_s", "start_s"]
            self._known[folder.id] = {
                "file": signature,
                "state": {name: getattr(found, name) for name in names},
                "tried": found.tried,
            }
            self._is_new = True
        return found

    def slurm_state(self, element: str | None) -> str | None:
        """The last state that Slurm gave an element that is over."""
        return None if element is None else self._slurm_states.get(element)

    def remember_slurm_state(self, element: str, state: str) -> None:
        """Keep the last state of an array element that is over."""
        if self._slurm_states.get(element) != state:
            self._slurm_states[element] = state
            self._is_new = True

    def save(self) -> None:
        """Write the cache, if there is something new and the folder is writable."""
        if not self._is_new:
            return
        theirs = self._read()  # another process may have written meanwhile
        content = {
            "schema": self._SCHEMA,
            "records": {**theirs.get("records", {}), **self._known},
            "words": {**theirs.get("words", {}), **self._slurm_states},
        }
        try:
            files.write_atomically(self._file, files.to_json(content))
        except OSError:
            return
        self._is_new = False

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(files.read(self._file))
            is_mine = content["schema"] == self._SCHEMA
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return content if is_mine else {}


def _signature(folder: RunFolder) -> list[int] | None:
    """Numbers of stat that change with a record's file; None: no such file."""
    try:
        found = os.stat(folder.record_file)  # noqa: PTH116 - thousands of files; a Path is slower
    except OSError:
        return None
    return [found.st_mtime_ns, found.st_size, found.st_ino]
