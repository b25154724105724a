"""The rows of a sweep's records are kept in a file, so that a record is read once."""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pyarrow as pa

from jobs import files
from jobs.results import rows

_FORMAT = b"probprec records 2\n"
"""The first line of the file has another number once other rows are made of the same records."""

_BODY_BYTE = len(_FORMAT) + 32
"""The rows begin at this byte, behind their sha256."""


def load(file: Path) -> pa.Table:
    """The rows that are kept there; none where there is no such file, or a damaged one."""
    with suppress(OSError, pa.ArrowException):
        content = files.read(file)
        body = memoryview(content)[_BODY_BYTE:]
        if content.startswith(_FORMAT + hashlib.sha256(body).digest()):
            found = pa.ipc.open_stream(pa.py_buffer(body)).read_all()
            if found.schema == rows.SCHEMA:
                return found
    return rows.SCHEMA.empty_table()


def still_true(table: pa.Table, versions: Mapping[str, str]) -> pa.Table:
    """The rows of runs whose files are as they were; `versions` is `record.version` of each."""
    kept = zip(table["run"].to_pylist(), table["version"].to_pylist(), strict=True)
    is_true = [version != "" and versions.get(run) == version for run, version in kept]
    return table if all(is_true) else table.filter(pa.array(is_true))


def save(file: Path, table: pa.Table) -> None:
    """Keep the rows, if the folder can be written to; of two who do so the last one is believed."""
    stream = BytesIO()
    stream.write(bytes(_BODY_BYTE))
    with pa.ipc.new_stream(stream, rows.SCHEMA) as writer:
        writer.write_table(table)
    with stream.getbuffer() as content:  # tens of megabytes: there is no second copy
        content[:_BODY_BYTE] = _FORMAT + hashlib.sha256(content[_BODY_BYTE:]).digest()
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomically(file, stream.getvalue())
