"""Reading records: one that is known is not read again, and nothing else is ever believed."""

import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
from functools import wraps
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.commands.collect import collect, plot
from jobs import snapshot
from jobs.results import ledger, records, rows, table_files
from jobs.results.ledger import Collection
from jobs.results.reading import Result
from jobs.store import journal
from jobs.store.store import Store
from tests.make_sweep import make_record, make_sweep


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """12 runs: two have no record, one has a torn one, one diverged at once, one has no accuracy."""
    store = make_sweep(
        tmp_path / "sweep",
        problems=["fmnist_2c2d", "quadratic_deep"],
        epochs=2,
        diverges=lambda planned: 1 if planned.run.seed == 43 else None,
        is_recorded=lambda one: (one.problem, one.run.seed) != ("quadratic_deep", 44),
    )
    torn = store.run(store.sweep().runs[0].run.id).record_file
    torn.write_text(torn.read_text()[:100])
    return store


@pytest.fixture
def whole(tmp_path: Path) -> Store:
    """12 runs with a record each, the first of which an attempt has published."""
    store = make_sweep(tmp_path / "whole", epochs=2)
    planned = store.sweep().runs[0]
    store.run(planned.run.id).record_file.unlink()
    store.run(planned.run.id).claim().publish(make_record(planned))
    return store


def content(found: Collection) -> list[object]:
    """All that was found, without arrays, which are compared with tolist."""
    return [
        (
            one.planned,
            (one.diverged, one.stop, one.cost, one.provenance, one.sha256),
            [series(one.seconds), series(one.cpu_seconds), series(one.steps)],
            {
                name: [None if np.isnan(x) else x for x in curve]
                for name, curve in one.curves.items()
            },
        )
        if isinstance(one, Result)
        else one
        for one in found.outcomes
    ] + [found.ledger.to_json()]


def series(values) -> tuple[object, list[float]] | None:
    return None if values is None else (values.dtype, values.tolist())


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """The ids of the runs of which a record was looked for in this process."""
    asked: list[str] = []
    real = rows.read

    @wraps(real)  # other processes know it by its name
    def reading(paths):
        asked.extend(path.name for path in paths)
        return real(paths)

    monkeypatch.setattr(rows, "read", reading)
    return asked


def test_what_was_read_is_not_read_again(store, read):
    first = ledger.collect(store)
    readable = len(first.found)
    assert len(read) == readable + 1  # the torn one

    read.clear()
    again = ledger.collect(store)

    assert content(again) == content(first)
    assert read == [store.sweep().runs[0].run.id]  # of which nothing is kept


_AGAIN = """
import sys
from pathlib import Path
from cluster.commands.collect import collect
from jobs.results import figures
from jobs.store.store import Store

collect(Store(Path(sys.argv[1])), strict=False, as_json=True)
assert sys.modules.keys() & {"pandas", "pyarrow.parquet", "scipy.stats"} == set()
"""


def test_what_is_known_needs_no_library_that_takes_longer_than_all_the_rest(whole, capsys):
    collect(whole, strict=False, as_json=True)
    capsys.readouterr()

    subprocess.run(
        [sys.executable, "-c", _AGAIN, str(whole.root)], stdout=subprocess.DEVNULL, check=True
    )


def test_what_was_taken_so_far_is_kept_where_a_record_tells(whole):
    """Older records tell nothing."""
    first, second = (whole.run(planned.run.id).record_file for planned in whole.sweep().runs[1:3])
    content = json.loads(first.read_text())
    content["time"] = {"wall_s": [0, 1.5, 2.5], "cpu_s": [0.0, 2.0, 4.0], "steps": [0, 10, 20]}
    first.write_text(json.dumps(content))
    second.write_text(json.dumps(json.loads(second.read_text()) | {"time": None}))
    for _ in range(2):
        one, other = ledger.collect(whole).found[1:3]

        assert series(one.seconds) == (np.float64, [0.0, 1.5, 2.5])
        assert series(one.cpu_seconds) == (np.float64, [0.0, 2.0, 4.0])
        assert series(one.steps) == (np.int64, [0, 10, 20])
        assert (other.seconds, other.cpu_seconds, other.steps) == (None, None, None)


def test_a_new_record_is_read_beside_those_that_are_known(store, read):
    ledger.collect(store)
    planned = next(p for p in store.sweep().runs if not store.run(p.run.id).record_file.exists())
    store.run(planned.run.id).claim().publish(make_record(planned))
    read.clear()
    found = ledger.collect(store)

    assert planned.run.id in read
    assert len(read) == 2
    assert planned in [one.planned for one in found.found]
    read.clear()
    assert content(ledger.collect(store)) == content(found)
    assert len(read) == 1


def edited(text: str) -> str:
    """Another number, of as many digits."""
    return re.sub(r"(?<=\"test_loss\": \[)\d", lambda digit: str((int(digit[0]) + 1) % 10), text)


def test_an_edit_that_hides_is_found(whole):
    """As many bytes, and the time set back; the file in the same place or another one in its."""
    file = whole.run(whole.sweep().runs[0].run.id).record_file
    text, was = file.read_text(), file.stat()
    assert ledger.collect(whole).ledger.findings == ()
    for replace in (False, True):
        changed = edited(text)
        assert len(changed) == len(text)
        assert changed != text
        if replace:
            file.unlink()
        file.write_text(changed)
        os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
        finding, *_ = ledger.collect(whole).ledger.findings

        assert "was changed after it was published" in str(finding)
        file.write_text(text)
        assert ledger.collect(whole).ledger.findings == ()


def test_a_journal_that_says_something_else_is_heard(whole):
    """The record is as it was, but it is no longer what is known to have been published."""
    ledger.collect(whole)
    folder = whole.run(whole.sweep().runs[0].run.id)
    folder.journal_file.write_text("")
    folder.attempt(1).note(journal.publishing("0" * 64))

    assert ledger.collect(whole).ledger.states == {"completed": 11, "failed": 1}


def test_a_record_that_is_gone_is_not_remembered(whole):
    ledger.collect(whole)
    whole.run(whole.sweep().runs[1].run.id).record_file.unlink()

    assert ledger.collect(whole).ledger.states == {"completed": 11, "pending": 1}


def test_a_number_that_is_none_is_a_bad_record(whole):
    file = whole.run(whole.sweep().runs[1].run.id).record_file
    file.write_text(re.sub(r"(?<=\"test_loss\": \[)[^,]*", "1" + "0" * 400, file.read_text()))

    assert ledger.collect(whole).ledger.states == {"completed": 11, "failed": 1}


def test_what_is_remembered_may_be_gone_or_of_another_kind(store, read):
    before = content(ledger.collect(store))
    file = store.known_records_file
    kept = file.read_bytes()
    for damage in (b"", b"{}", kept[:-1], kept[:100], kept + b"x", b"other" + kept[5:]):
        read.clear()
        file.write_bytes(damage)
        assert content(ledger.collect(store)) == before
        assert len(read) > 1
        assert file.read_bytes()[:20] == kept[:20]  # mended
    file.unlink()
    file.mkdir()
    assert content(ledger.collect(store)) == before
    shutil.rmtree(store.collected)
    store.collected.write_text("no folder")
    assert content(ledger.collect(store)) == before


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(min_value=0), bits=st.integers(1, 255))
def test_damage_changes_nothing(whole, place, bits):
    before = content(ledger.collect(whole))
    damaged = bytearray(whole.known_records_file.read_bytes())
    damaged[place % len(damaged)] ^= bits
    whole.known_records_file.write_bytes(damaged)

    assert content(ledger.collect(whole)) == before


def test_a_copy_of_the_sweep_is_read_anew(store, tmp_path, read):
    """Other files, although they look the same."""
    ledger.collect(store)
    read.clear()
    found = ledger.collect(Store(shutil.copytree(store.root, tmp_path / "copy")))

    assert len(read) == len(found.found) + 1


def test_a_sweep_whose_tables_go_elsewhere_is_left_alone(store, tmp_path, capsys):
    collect(store, strict=False, out=tmp_path / "tables", as_json=True)
    plot(store, figure="final", out=tmp_path / "figures", as_json=True)
    capsys.readouterr()

    assert not store.collected.exists()
    assert not store.figures.exists()
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {
        *table_files.TABLES,
        "ledger.json",
    }


@pytest.fixture
def few(monkeypatch) -> None:
    """Other processes are started for a few records, and get one at a time."""
    monkeypatch.setattr(records, "MAX_RECORDS_READ_HERE", 2)
    monkeypatch.setattr(records, "_CHUNK_RECORDS", 1)


@pytest.mark.usefixtures("few")
def test_two_processes_read_the_same(store, read):
    found = ledger.collect(store, keep=False)
    assert read == []

    records.MAX_RECORDS_READ_HERE = 100
    assert content(ledger.collect(store, keep=False)) == content(found)


@pytest.mark.usefixtures("few")
def test_processes_that_are_killed_are_not_missed(whole):
    killed = []

    def track(runs):
        yield runs[0]
        killed.extend(multiprocessing.active_children())
        for process in killed:
            process.kill()
        yield from runs[1:]

    found = ledger.collect(whole, track)

    assert killed
    assert found.ledger.states == {"completed": 12}


@pytest.mark.usefixtures("few")
def test_where_no_process_can_be_started_there_is_this_one(whole, read, monkeypatch):
    def refuse(*_):
        raise BlockingIOError

    monkeypatch.setattr(records, "ProcessPoolExecutor", refuse)

    assert ledger.collect(whole).ledger.states == {"completed": 12}
    assert len(read) == 12


@pytest.mark.usefixtures("few")
def test_ctrl_c_is_for_this_process_alone(whole):
    """The others do not hear it, and are over when it is through."""
    masks = []

    def track(runs):
        yield runs[0]
        for process in multiprocessing.active_children():
            status = Path(f"/proc/{process.pid}/status").read_text()
            masks.append(int(re.search(r"SigBlk:\s*(\w+)", status)[1], 16))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ledger.collect(whole, track)

    assert masks
    assert all(mask & 1 << signal.SIGINT - 1 for mask in masks)
    assert multiprocessing.active_children() == []
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def versions(store: Store) -> dict[str, int]:
    return {name: (store.collected / name).stat().st_ino for name in table_files.TABLES}


def test_tables_are_written_again_only_when_they_would_be_others(whole, capsys, monkeypatch):
    def write() -> dict[str, int]:
        collect(whole, strict=False, as_json=True)
        capsys.readouterr()
        return versions(whole)

    first = write()
    table = (whole.collected / "summary.csv").read_bytes()
    assert write() == first

    for damage in (lambda file: file.unlink(), lambda file: file.write_bytes(b"x")):
        damage(whole.collected / "summary.csv")
        write()
        assert (whole.collected / "summary.csv").read_bytes() == table

    second = write()
    whole.known_tables_file.write_text("{}")
    third = write()
    assert third["runs.parquet"] != second["runs.parquet"]

    monkeypatch.setattr(snapshot, "toolkit", lambda: [("jobs/new.py", b"")])
    fourth = write()
    assert fourth["runs.parquet"] != third["runs.parquet"]

    whole.run(whole.sweep().runs[1].run.id).record_file.unlink()
    write()
    assert (whole.collected / "summary.csv").read_bytes() != table


def test_tables_tell_of_a_run_that_failed_in_another_way(whole, capsys):
    """What they tell beside the records is heard, too."""
    folder = whole.run(whole.sweep().runs[1].run.id)
    folder.record_file.unlink()
    attempt = folder.claim()
    tables = []
    for message in ("one", "two"):
        attempt.note(journal.Event("ended", {"failure": "oom", "message": message}))
        attempt.release()
        collect(whole, strict=False, as_json=True)
        tables.append((whole.collected / "runs.parquet").read_bytes())
    capsys.readouterr()

    assert tables[0] != tables[1]
    assert json.loads(whole.known_tables_file.read_text())["files"].keys() == {*table_files.TABLES}
