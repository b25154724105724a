"""Staging: one verified copy per node, whoever dies on the way."""

import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from cluster.lab import mounts
from jobs import hashes
from jobs.hashes import sha256_of
from jobs.manifests.archive import of_archive
from jobs.manifests.manifest import ManifestError, of_folder
from jobs.staging import copying, fetch, stage, staged_sets
from jobs.staging.stage import NoRoomError, in_place, prune, staged, store_of
from tests.helpers import wait_for

# A task that stages the set, says what it took, and waits for a line on its stdin. It hangs after
# so many blocks of a megabyte, if they are not 0.
TASK = """
import json, sys, time
from pathlib import Path
from jobs.staging import fetch, stage
from jobs.manifests.manifest import of_folder

fetch.SPARE_BYTES = 1 << 20
root, source, blocks = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
seen = 0

def hang(count):
    global seen
    seen += count > 0
    if count and seen == blocks:
        print("hangs", flush=True)
        time.sleep(1000)

def wait():
    print("waits", flush=True)

owner = "123_4"
with stage.staged(
    root, of_folder(source), source, owner=owner, on_bytes=hang, on_wait=wait
) as found:
    print(json.dumps({**vars(found), "path": str(found.path)}), flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def task():
    """Starts tasks; none outlives the test."""
    started = []

    def start(root, source, blocks=0):
        command = [sys.executable, "-c", TASK, str(root), str(source), str(blocks)]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def told(process):
    """What it took, once it has the set."""
    for line in process.stdout:
        if line.startswith("{"):
            return json.loads(line)
    raise AssertionError("it never had the set")


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.bin").write_bytes(os.urandom(5 << 20))
    (folder / "deep" / "b.bin").write_bytes(os.urandom(3 << 20))
    (folder / "empty").touch()
    return folder


SIZE = 8 << 20


def test_it_is_copied_once_and_found_then(tmp_path, source):
    manifest, root = of_folder(source), tmp_path / "scratch" / "probprec"
    with staged(root, manifest, source) as first:
        assert first.copied == SIZE == manifest.size
        assert of_folder(first.path) == manifest
        assert not any(path.stat().st_mode & 0o222 for path in first.path.rglob("*.bin"))
    with staged(root, manifest, Path("/nowhere")) as again:
        assert (again.path, again.copied) == (first.path, 0)
        assert (first.hit, again.hit) == (False, True)
    assert not list((root / "leases").iterdir())


def test_eight_tasks_copy_it_once(tmp_path, source, task):
    tasks = [task(tmp_path / "root", source) for _ in range(8)]
    found = [told(one) for one in tasks]

    assert sum(one["copied"] for one in found) == SIZE
    assert len({one["path"] for one in found}) == 1
    assert sorted(one["hit"] for one in found) == [False] + 7 * [True]
    assert all(0 <= one["waited"] <= one["seconds"] for one in found)
    leases = [path.name for path in (tmp_path / "root" / "leases").iterdir()]
    assert len(leases) == 8
    assert all(".123_4." in name for name in leases)
    assert prune(tmp_path / "root") == {}  # all of them read it
    for one in tasks:
        one.communicate("\n")
    removed = prune(tmp_path / "root")
    assert list(removed) == [Path(found[0]["path"]).parent.name]
    assert SIZE <= removed[Path(found[0]["path"]).parent.name] <= SIZE + (1 << 20)
    left = [path.name for path in (tmp_path / "root").rglob("*") if path.is_file()]
    assert left == ["lock"]


def test_the_next_one_goes_on_where_a_killed_copier_stopped(tmp_path, source, task):
    root = tmp_path / "root"
    copier = task(root, source, blocks=3)
    assert copier.stdout.readline() == "hangs\n"
    others = [task(root, source) for _ in range(2)]
    assert others[0].stdout.readline() == "waits\n"
    copier.kill()
    copier.wait()
    found = [told(one) for one in others]

    assert 0 < sum(one["copied"] for one in found) <= SIZE - (2 << 20)
    assert of_folder(Path(found[0]["path"])) == of_folder(source)


def test_a_leftover_with_wrong_bytes_is_copied_again(tmp_path, source):
    manifest, root = of_folder(source), tmp_path / "root"
    left = root / "partial" / manifest.sha256[:32] / "data"
    left.mkdir(parents=True)
    (left / "a.bin").write_bytes(b"x" * 1000)
    with staged(root, manifest, source) as found:
        assert of_folder(found.path) == manifest


def test_a_file_that_was_touched_is_looked_at_and_a_changed_one_replaced(tmp_path, source):
    manifest, root = of_folder(source), tmp_path / "root"
    with staged(root, manifest, source) as found:
        place = found.path / "a.bin"
    os.utime(place)
    with staged(root, manifest, source) as found:
        assert found.copied == 0
    place.chmod(0o644)
    content = bytearray(place.read_bytes())
    content[12345] ^= 1
    place.write_bytes(content)
    with staged(root, manifest, source) as found:
        assert found.copied == SIZE
        assert of_folder(found.path) == manifest


def test_an_original_that_is_not_what_was_submitted_is_refused(tmp_path, source):
    manifest, root = of_folder(source), tmp_path / "root"
    content = bytearray((source / "a.bin").read_bytes())
    content[-1] ^= 1
    (source / "a.bin").write_bytes(content)
    with (
        pytest.raises(ManifestError, match=r"a\.bin: sha256 .* not .* as its manifest says"),
        staged(root, manifest, source),
    ):
        pass
    assert not list((root / "sets").iterdir())
    (source / "a.bin").write_bytes(b"short")
    found = hashlib.sha256(b"short").hexdigest()
    with (
        pytest.raises(ManifestError, match=rf"a\.bin: 5 bytes with sha256 {found}, not 52428"),
        staged(root, manifest, source),
    ):
        pass
    (source / "a.bin").unlink()
    os.mkfifo(source / "a.bin")
    with (
        pytest.raises(ManifestError, match="not a plain file"),
        staged(root, manifest, source),
    ):
        pass


@pytest.fixture
def disk(tmp_path):
    """A file system of 20 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(folder)], check=True)
    assert mounts.is_mounted(folder)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_disk(disk, monkeypatch):
    """A store on it."""
    monkeypatch.setattr(fetch, "SPARE_BYTES", 1 << 20)
    return disk / "store"


def _wait_for_a_later_time_than(path, clock):
    """A file system's clock goes in steps."""
    clock.touch()
    wait_for(
        lambda: os.utime(clock) or clock.stat().st_mtime_ns > path.stat().st_mtime_ns, pause=0.001
    )


def test_the_longest_unused_make_room(tmp_path, small_disk):
    kept = []
    for number in range(4):
        folder = tmp_path / f"set{number}"
        folder.mkdir()
        (folder / "data").write_bytes(os.urandom(6 << 20))
        with staged(small_disk, of_folder(folder), folder) as found:
            kept.append(found.path.parent)
        _wait_for_a_later_time_than(kept[-1], small_disk.parent / "clock")
        if number == 2:
            os.utime(kept[0])  # used again
    assert [place.exists() for place in kept] == [True, False, True, True]


def test_no_room(tmp_path, small_disk, source, task):
    reader = task(small_disk, source)
    told(reader)
    big = tmp_path / "big"
    big.mkdir()
    (big / "data").write_bytes(bytes(15 << 20))
    with pytest.raises(NoRoomError, match="bytes wanted"), staged(small_disk, of_folder(big), big):
        pass
    reader.send_signal(signal.SIGKILL)  # its lease dies with it
    reader.wait()
    with staged(small_disk, of_folder(big), big) as found:
        assert found.copied == 15 << 20


def test_two_that_copy_at_once_reserve_their_room(tmp_path, small_disk, source, task):
    copier = task(small_disk, source, blocks=1)
    assert copier.stdout.readline() == "hangs\n"
    other = tmp_path / "other"
    other.mkdir()
    (other / "data").write_bytes(bytes(13 << 20))  # it would fit into what is free now
    with pytest.raises(NoRoomError), staged(small_disk, of_folder(other), other):
        pass
    copier.kill()
    copier.wait()
    with staged(small_disk, of_folder(other), other):  # what the dead one left makes room, too
        pass


def one_file(folder, size):
    folder.mkdir()
    (folder / "data").write_bytes(os.urandom(size))
    return of_folder(folder)


def test_room_is_not_made_in_vain(tmp_path, small_disk, source):
    """Where all that nobody reads would not be enough, it stays."""
    with staged(small_disk, of_folder(source), source):
        pass
    big = one_file(tmp_path / "big", 25 << 20)
    with (
        pytest.raises(NoRoomError, match=r"26214400 bytes wanted, \d+ free"),
        staged(small_disk, big, tmp_path / "big"),
    ):
        pass
    with staged(small_disk, of_folder(source), Path("/nowhere")) as found:
        assert found.hit


def test_somebody_else_fills_the_disk_meanwhile(tmp_path, disk, small_disk, source):
    """What nobody reads makes room; if there is nothing, no reservation and no copy remain."""
    small = one_file(tmp_path / "small", 4 << 20)
    with staged(small_disk, small, tmp_path / "small"):
        pass
    manifest = of_folder(source)

    def fill(_):
        if not (disk / "filler").exists():
            with suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(1 << 16))

    with pytest.raises(NoRoomError) as error, staged(small_disk, manifest, source, on_bytes=fill):
        pass
    assert error.value.errno == errno.ENOSPC
    assert str(small_disk) in str(error.value)
    assert not list((small_disk / "sets").iterdir())  # they were given up first
    assert not [path for path in (small_disk / "partial").iterdir() if path.suffix != ".lock"]
    assert not list((small_disk / "leases").iterdir())
    (disk / "filler").unlink()
    with staged(small_disk, manifest, source) as found:
        assert found.copied == SIZE


def test_a_set_that_nobody_reads_makes_room_in_the_middle_of_a_copy(
    tmp_path, disk, small_disk, source
):
    small = one_file(tmp_path / "small", 9 << 20)
    with staged(small_disk, small, tmp_path / "small"):
        pass
    manifest = of_folder(source)

    def fill(_):
        if not (disk / "filler").exists():
            (disk / "filler").write_bytes(bytes(4 << 20))

    with staged(small_disk, manifest, source, on_bytes=fill) as found:
        assert of_folder(found.path) == manifest
    assert len(list((small_disk / "sets").iterdir())) == 1


def test_another_disk_that_is_full_is_not_this_one(tmp_path, source):
    """What `on_bytes` raises is passed on, whatever it is."""
    root, manifest = tmp_path / "root", of_folder(source)
    full = OSError(errno.ENOSPC, "the log's disk is full")

    def tell(_):
        raise full

    with (
        pytest.raises(OSError, match="the log's disk") as error,
        staged(root, manifest, source, on_bytes=tell),
    ):
        pass
    assert error.value is full
    assert (root / "partial" / manifest.sha256[:32] / "data" / "a.bin").stat().st_size == 1 << 20


class StopError(Exception):
    """The task was told to stop."""


def test_a_task_that_is_told_to_stop_leaves_its_copy_to_the_next_one(tmp_path, source):
    root, manifest, told = tmp_path / "root", of_folder(source), []

    def stop(count):
        told.append(count)
        if sum(told) > 3 << 20:
            raise StopError

    with pytest.raises(StopError), staged(root, manifest, source, on_bytes=stop):
        pass
    assert not list((root / "leases").iterdir())
    assert not list((root / "partial").glob("*.size"))
    with staged(root, manifest, source) as found:
        assert found.copied == SIZE - (4 << 20)
        assert of_folder(found.path) == manifest


def test_a_task_that_waits_can_be_told_to_stop(tmp_path, source, task, monkeypatch):
    root = tmp_path / "root"
    copier = task(root, source, blocks=3)
    assert copier.stdout.readline() == "hangs\n"
    pauses = []

    def stop():
        if len(pauses) == 20:
            raise StopError

    with monkeypatch.context() as patch:
        patch.setattr(staged_sets.time, "sleep", pauses.append)
        with pytest.raises(StopError), staged(root, of_folder(source), source, on_wait=stop):
            pass
    assert max(pauses) < 1  # it asks often, however long it waits
    copier.kill()
    copier.wait()
    with staged(root, of_folder(source), source) as found:
        assert 0 < found.copied < SIZE


def test_two_sets_are_copied_at_once(tmp_path, source, task):
    root = tmp_path / "root"
    copier = task(root, source, blocks=3)
    assert copier.stdout.readline() == "hangs\n"
    other = one_file(tmp_path / "other", 3 << 20)
    with staged(root, other, tmp_path / "other"):
        assert copier.poll() is None  # it hangs for ever, and nobody waited for that
    (first,) = [path for path in (root / "partial").iterdir() if path.is_dir()]
    assert (first / "data" / "a.bin").stat().st_size == 3 << 20  # still there, still going


def test_what_a_dead_job_left_is_swept(tmp_path, source, task):
    root = tmp_path / "root"
    dead = task(root, source)
    told(dead)
    dead.kill()
    dead.wait()
    assert len(list((root / "leases").glob("*.123_4.*"))) == 1
    assert len(prune(root)) == 1
    assert not list((root / "leases").iterdir())


def test_many_tasks_many_kills(tmp_path, source, task):
    """Whoever is killed, wherever, the set comes to be whole."""
    root, manifest = tmp_path / "root", of_folder(source)
    for _ in range(6):
        tasks = [task(root, source) for _ in range(2)]
        time.sleep(0.05 + random.random() * 0.2)
        for one in tasks:
            one.kill()
            one.wait()
    with staged(root, manifest, source) as found:
        assert of_folder(found.path) == manifest


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"a.bin": 1}'])
def test_a_state_that_cannot_be_read_costs_a_look_at_every_byte(tmp_path, source, content):
    root, manifest = tmp_path / "root", of_folder(source)
    with staged(root, manifest, source) as found:
        state = found.path.parent / "state.json"
    good = json.loads(state.read_bytes())
    state.write_bytes(content)
    with staged(root, manifest, Path("/nowhere")) as found:
        assert found.hit
    assert json.loads(state.read_bytes()) == good
    state.unlink()
    state.mkdir()
    with staged(root, manifest, source) as found:
        assert of_folder(found.path) == manifest


def test_a_hit_costs_no_reading(tmp_path, source):
    """Bytes that change while size, inode and times stay are the disk's doing; nobody looks."""
    root, manifest, told = tmp_path / "root", of_folder(source), []
    with staged(root, manifest, source):
        pass
    with staged(root, manifest, source, on_bytes=told.append):
        pass
    assert told == []


def test_a_file_that_was_added_makes_it_another_set(tmp_path, source):
    root, manifest = tmp_path / "root", of_folder(source)
    with staged(root, manifest, source) as found:
        (found.path / "deep" / "b.bin.gz").write_bytes(b"x")  # would be read instead of b.bin
    with staged(root, manifest, source) as found:
        assert found.copied == SIZE
        assert of_folder(found.path) == manifest


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_an_archive_is_unpacked(tmp_path, source, kind):
    root, archive = tmp_path / "root", tmp_path / f"set.{kind}"
    shutil.make_archive(str(archive.with_suffix("")), kind, source)
    manifest = of_archive(archive)
    assert manifest == of_folder(source)

    def stop(_):
        if (root / "partial" / manifest.sha256[:32] / "data" / "deep").exists():
            raise StopError

    with pytest.raises(StopError), staged(root, manifest, archive, on_bytes=stop):
        pass
    with staged(root, manifest, archive) as found:
        assert of_folder(found.path) == manifest
        assert found.copied == 3 << 20  # what was complete was kept
    (tmp_path / "set.txt").write_bytes(b"")
    with (
        pytest.raises(ManifestError, match="neither a folder nor an archive"),
        staged(tmp_path / "other", manifest, tmp_path / "set.txt"),
    ):
        pass


def test_an_original_that_cannot_be_read(tmp_path, source):
    root, manifest = tmp_path / "root", of_folder(source)
    (source / "a.bin").unlink()
    with pytest.raises(FileNotFoundError) as error, staged(root, manifest, source):
        pass
    assert error.value.filename == str(source / "a.bin")
    with pytest.raises(FileNotFoundError) as error, staged(root, manifest, source / "none"):
        pass
    assert error.value.filename == str(source / "none")
    assert not list((root / "leases").iterdir())


def test_an_input_output_error_names_the_file():
    """Reading the beginning of this file of the kernel's is one."""
    with (
        pytest.raises(OSError, match="Input/output error") as error,
        Path("/proc/self/mem").open("rb") as reader,
    ):
        list(copying._rest(reader, Path("/proc/self/mem"), 0, 10))
    assert error.value.filename == "/proc/self/mem"


def test_owners_have_plain_names(tmp_path, source):
    for owner in ("../x", "a b", "a/b", "a\n"):
        with (
            pytest.raises(ValueError, match="owner"),
            staged(tmp_path / "root", of_folder(source), source, owner=owner),
        ):
            pass
    assert not (tmp_path / "root").exists()


def test_the_original_is_verified_where_it_lies(source):
    manifest = of_folder(source)
    in_place(manifest, source)
    was = hashlib.sha256((source / "deep" / "b.bin").read_bytes()).hexdigest()
    (source / "deep" / "b.bin").write_bytes(b"other")
    (source / "empty").unlink()
    is_ = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(ManifestError) as error:
        in_place(manifest, source)
    text = str(error.value)
    assert f"{source}/deep/b.bin: sha256 {is_}, not {was} as its manifest says" in text
    assert f"{source}/empty: missing" in text
    (source / "a.bin").unlink()
    (source / "a.bin").mkdir()
    with pytest.raises(IsADirectoryError):
        in_place(manifest, source)


def test_a_set_of_many_files_is_remembered_in_parts(tmp_path, monkeypatch):
    """A million files are not a million hashes in a folder of the node's."""
    monkeypatch.setattr(hashes, "_CACHE_PARENT", tmp_path)
    monkeypatch.setattr(hashes, "MOST_REMEMBERED", 3)
    hashed = []
    monkeypatch.setattr(
        stage, "sha256_of", lambda path, on: hashed.append(path.name) or sha256_of(path, on)
    )
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.bin").write_bytes(bytes([number]))
    manifest = of_folder(folder)

    def stop():
        if len(hashed) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_place(manifest, folder, stop)
    for _ in range(3):
        in_place(manifest, folder)
    assert hashed == [f"{number}.bin" for number in (0, 1, 2, 3, 4, 3, 4)]
    assert len(list(tmp_path.glob("probprec-*/sha256-*"))) == 2

    (folder / "3.bin").write_bytes(b"x")
    (folder / "4.bin").unlink()
    for _ in range(2):
        hashed.clear()
        with pytest.raises(ManifestError, match=r"(?s)3\.bin: sha256 .*4\.bin: missing"):
            in_place(manifest, folder)
        assert "0.bin" not in hashed
    (folder / "3.bin").write_bytes(bytes([3]))
    (folder / "4.bin").write_bytes(bytes([4]))
    in_place(manifest, folder)


def test_there_is_nothing_to_prune(tmp_path):
    assert prune(tmp_path / "nowhere") == {}
    assert not (tmp_path / "nowhere").exists()
    assert store_of(tmp_path).parent == tmp_path


def test_many_small_files(tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(300):
        (folder / str(number)).write_bytes(bytes(number))
    manifest = of_folder(folder)
    with staged(tmp_path / "root", manifest, folder) as found:
        assert of_folder(found.path) == manifest
