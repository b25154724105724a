"""Archives: round trips, and everything hostile that an archive can be."""

import gzip
import io
import os
import random
import stat
import struct
import tarfile
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.manifests.archive import is_archive, of_archive
from jobs.manifests.manifest import File, Manifest, ManifestError, of_folder
from jobs.staging import copying

TARS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst")


def pack(folder, target):
    """Pack a folder as the end of the target's name says."""
    if target.suffix == ".zip":
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(folder.rglob("*")):
                archive.write(path, path.relative_to(folder))
    elif target.suffix == ".zst":
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w") as archive:
            archive.add(folder, ".")
        target.write_bytes(zstandard.compress(plain.getvalue()))
    else:
        kind = {"tgz": "gz", "tar": ""}.get(target.suffix[1:], target.suffix[1:])
        with tarfile.open(target, f"w:{kind}") as archive:
            archive.add(folder, ".")


def unpack(source, data, manifest):
    told = []
    copying.fill(source, data, manifest, told.append)
    return sum(told)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "packed"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "none").mkdir()
    (folder / "a.bin").write_bytes(random.Random(0).randbytes(2_500_000))
    (folder / "deep" / "er" / "b").write_bytes(b"b" * 512)
    (folder / "A.bin").write_bytes(b"another")  # differs by case only
    (folder / "empty").touch()
    return folder


@pytest.mark.parametrize("kind", [*TARS, ".zip"])
def test_round_trip(tmp_path, folder, kind):
    archive = tmp_path / f"set{kind}"
    pack(folder, archive)
    told = []
    manifest = of_archive(archive, told.append)

    assert is_archive(archive)
    assert manifest == of_folder(folder)
    assert sum(told) == archive.stat().st_size
    assert unpack(archive, tmp_path / "data", manifest) == manifest.size
    assert of_folder(tmp_path / "data") == manifest
    assert unpack(archive, tmp_path / "data", manifest) == 0  # all is there


NAME = st.text(st.characters(exclude_characters="/\\:", exclude_categories=("C",)), min_size=1)
NAMES = NAME.filter(lambda name: name not in {".", ".."} and len(name.encode()) < 100)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


@settings(deadline=None, max_examples=30)
@given(
    content=st.dictionaries(PATHS, st.binary(max_size=3000), min_size=1, max_size=6),
    kind=st.sampled_from([".tar", ".tar.gz", ".tar.zst", ".zip"]),
)
def test_any_files_go_round(content, kind):
    folders = {parent.as_posix() for path in content for parent in Path(path).parents}
    content = {path: data for path, data in content.items() if path not in folders}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "packed")
        for path, data in content.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        archive = Path(temporary, f"set{kind}")
        pack(folder, archive)
        manifest = of_archive(archive)
        unpack(archive, Path(temporary, "data"), manifest)
        found = Path(temporary, "data")

        assert manifest == of_folder(folder) == of_folder(found)
        assert {path: (found / path).read_bytes() for path in content} == content


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1 << 30), kind=st.sampled_from([".tar", ".tar.gz", ".tar.zst", ".zip"]))
def test_a_damaged_archive_never_ends_otherwise_than_refused_or_equal(seed, kind):
    """Bytes that are flipped or cut off: a clear error, or the content as its manifest says."""
    draws = random.Random(seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "packed")
        folder.mkdir()
        for name in "abc":
            (folder / name).write_bytes(draws.randbytes(700))
        archive = Path(temporary, f"set{kind}")
        pack(folder, archive)
        manifest = of_archive(archive)
        content = bytearray(archive.read_bytes())
        if draws.random() < 0.3:
            del content[draws.randrange(len(content)) :]
        else:
            for _ in range(draws.choice([1, 5])):
                content[draws.randrange(len(content))] ^= 1 << draws.randrange(8)
        archive.write_bytes(content)
        data = Path(temporary, "data")
        with suppress(ManifestError):  # nothing else is raised
            unpack(archive, data, manifest)
            assert of_folder(data) == manifest


# --- hostile members -------------------------------------------------------------------------


def tar_with(path, *members):
    """An archive with a good file first, then (TarInfo, content) each."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in ((tarfile.TarInfo("good"), b"good"), *members):
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def of_kind(name, kind, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info, b""


def named(name):
    return tarfile.TarInfo(name), b"evil"


HOSTILE = {
    "absolute": ([named("/tmp/evil")], "not a path inside"),
    "upwards": ([named("../evil")], "not a path inside"),
    "hidden upwards": ([named("a/../../evil")], "not a path inside"),
    "backslash": ([named("..\\evil")], "not a path inside"),
    "drive": ([named("C:evil")], "not a path inside"),
    "newline": ([named("a\nb")], "control characters"),
    "long": ([named("x" * 300)], "too long"),
    "very long": ([named("x/" * 2000 + "x")], "too long"),
    "folder upwards": ([of_kind("../evil", tarfile.DIRTYPE)], "not a path inside"),
    "symbolic link": ([of_kind("a", tarfile.SYMTYPE, "/etc/passwd")], "a link to '/etc/passwd'"),
    "hard link": ([of_kind("a", tarfile.LNKTYPE, "good")], "a link to 'good'"),
    "device": ([of_kind("a", tarfile.CHRTYPE)], "a device"),
    "block device": ([of_kind("a", tarfile.BLKTYPE)], "a device"),
    "pipe": ([of_kind("a", tarfile.FIFOTYPE)], "a pipe"),
    "sparse": ([of_kind("a", tarfile.GNUTYPE_SPARSE)], "sparse|torn"),
    "unknown": ([of_kind("a", b"Z")], "unknown"),
    "twice": ([named("good")], "'good' is there twice"),
    "twice, spelt otherwise": ([named("./good")], "'good' is there twice"),
    "file and folder": ([named("good/evil")], "'good' is a file and a folder"),
    "folder and file": ([of_kind("good", tarfile.DIRTYPE)], "'good' is a file and a folder"),
}


@pytest.fixture
def jail(tmp_path):
    """A folder; afterwards nothing may have come to be beside it."""
    (tmp_path / "jail" / "data").mkdir(parents=True)
    yield tmp_path / "jail" / "data"
    assert not list(tmp_path.rglob("evil*"))
    assert not Path("/tmp/evil").exists()


def refused(archive, jail, why, manifest=None):
    """Neither a manifest is made of it nor is it unpacked."""
    with pytest.raises(ManifestError, match=why) as error:
        of_archive(archive)
    assert str(archive) in str(error.value)
    good = File(
        path="good",
        size=4,
        sha256="770e607624d689265ca6c44884d0807d9b054d23c473c106c72be9de08b7376c",
    )
    with pytest.raises(ManifestError, match=why):
        unpack(archive, jail, manifest or Manifest((good,)))
    assert {path.name for path in jail.rglob("*") if path.is_file()} <= {"good"}
    assert not any(path.is_symlink() for path in jail.rglob("*"))


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_members_of_a_tar(tmp_path, jail, what):
    members, why = HOSTILE[what]
    refused(tar_with(tmp_path / "set.tar", *members), jail, why)


def zip_with(path, *members):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good", b"good")
        for name, mode in members:
            info = zipfile.ZipInfo("x")
            info.filename = info.orig_filename = name  # as it is: the constructor would mend it
            info.external_attr = mode << 16
            archive.writestr(info, b"evil")
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("name", "mode", "why"),
    [
        ("/tmp/evil", 0, "not a path inside"),
        ("../evil", 0, "not a path inside"),
        ("..\\evil", 0, "not a path inside"),
        ("C:/evil", 0, "not a path inside"),
        ("evil\0.txt", 0, "control characters"),
        ("x" * 300, 0, "too long"),
        ("a", stat.S_IFLNK | 0o777, "a link"),
        ("a", stat.S_IFCHR | 0o666, "a device"),
        ("a", stat.S_IFIFO | 0o666, "a device"),
        ("good", 0, "there twice"),
        ("good/evil", 0, "a file and a folder"),
        ("evil/", 0, "a folder with content"),
    ],
)
def test_hostile_members_of_a_zip(tmp_path, jail, name, mode, why):
    refused(zip_with(tmp_path / "set.zip", (name, mode)), jail, why)


def test_an_encrypted_zip(tmp_path, jail):
    archive = zip_with(tmp_path / "set.zip", ("other", 0))
    content = bytearray(archive.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 8] |= 1
    archive.write_bytes(content)
    refused(archive, jail, "encrypted")


def test_a_compression_that_is_not_known(tmp_path, jail):
    archive = zip_with(tmp_path / "set.zip", ("other", 0))
    content = bytearray(archive.read_bytes())
    struct.pack_into("<H", content, content.rindex(b"PK\x01\x02") + 10, 93)
    struct.pack_into("<H", content, content.rindex(b"PK\x03\x04") + 8, 93)
    archive.write_bytes(content)
    refused(archive, jail, "'other'.*compression|compression.*'other'|torn or damaged at 'other'")


def test_members_of_a_zip_that_share_bytes(tmp_path, jail):
    archive = zip_with(tmp_path / "set.zip", ("other", 0), ("third", 0))
    content = bytearray(archive.read_bytes())
    struct.pack_into("<I", content, content.rindex(b"PK\x01\x02") + 42, 0)
    archive.write_bytes(content)
    refused(archive, jail, "overlaps")


@pytest.mark.parametrize("kind", [".zip", ".tar.gz"])
def test_no_more_is_written_than_the_manifest_says(tmp_path, jail, kind):
    """A bomb: a small archive of a member of 200 MB, where the manifest has one of 4 bytes."""
    folder = tmp_path / "packed"
    folder.mkdir()
    with (folder / "good").open("wb") as file:
        file.truncate(200 << 20)
    archive = tmp_path / f"set{kind}"
    pack(folder, archive)
    assert archive.stat().st_size < 1 << 20
    good = File(path="good", size=4, sha256="0" * 64)
    with pytest.raises(ManifestError, match=r"'good': 209715200 bytes, not 4 bytes"):
        unpack(archive, jail, Manifest((good,)))
    assert not list(jail.iterdir())


@pytest.mark.parametrize("size", [3, 5])
def test_sizes_that_lie(tmp_path, jail, size):
    """The directory of a zip says another size than there is."""
    archive = zip_with(tmp_path / "set.zip")
    content = bytearray(archive.read_bytes())
    struct.pack_into("<I", content, content.rindex(b"PK\x01\x02") + 24, size)
    archive.write_bytes(content)
    lying = Manifest((File(path="good", size=size, sha256="0" * 64),))
    refused(archive, jail, "good", lying)
    assert all(path.stat().st_size <= size for path in jail.iterdir())


def test_a_member_that_the_manifest_does_not_name(tmp_path, jail, folder):
    archive = tmp_path / "set.tar"
    pack(folder, archive)
    manifest = of_archive(archive)
    fewer = Manifest(tuple(file for file in manifest.files if file.path != "a.bin"))
    with pytest.raises(ManifestError, match=r"'a\.bin' is not in its manifest"):
        unpack(archive, jail, fewer)
    more = Manifest.of([*manifest.files, File(path="z", size=0, sha256="0" * 64)])
    with pytest.raises(ManifestError, match="1 files of its manifest are missing: 'z'"):
        unpack(archive, jail, more)


def test_other_bytes_are_told_with_both_hashes(tmp_path, jail, folder):
    archive = tmp_path / "set.tar"
    pack(folder, archive)
    manifest = of_archive(archive)
    (folder / "A.bin").write_bytes(b"changed")
    pack(folder, archive)
    old = next(file.sha256 for file in manifest.files if file.path == "A.bin")
    new = next(file.sha256 for file in of_archive(archive).files if file.path == "A.bin")
    with pytest.raises(ManifestError, match=rf"'A\.bin': sha256 {new}, not {old}"):
        unpack(archive, jail, manifest)


@pytest.mark.parametrize("kind", [*TARS, ".zip"])
def test_torn_at_every_place(tmp_path, folder, kind):
    """However much is missing: no manifest is made, least of all of fewer files."""
    (folder / "a.bin").write_bytes(os.urandom(5000))
    archive, torn = tmp_path / f"set{kind}", tmp_path / f"torn{kind}"
    pack(folder, archive)
    content, whole = archive.read_bytes(), of_archive(archive)
    for length in range(0, len(content), max(1, len(content) // 60)):
        torn.write_bytes(content[:length])
        with suppress(ManifestError):  # nothing else is raised
            assert of_archive(torn) == whole  # only zeros after the end are missing


def test_two_tars_in_one_file_are_refused(tmp_path, folder):
    archive = tmp_path / "set.tar"
    pack(folder, archive)
    archive.write_bytes(archive.read_bytes() * 2)
    with pytest.raises(ManifestError, match="more data after the end"):
        of_archive(archive)


def test_headers_that_are_too_long_or_too_many(tmp_path):
    archive = tmp_path / "set.tar"
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("a")
        info.pax_headers = {"comment": "x" * (2 << 20)}
        tar.addfile(info)
    with pytest.raises(ManifestError, match=r"torn or damaged at .*a header of"):
        of_archive(archive)
    header = tarfile.TarInfo("a")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2
    block = header.tobuf(tarfile.GNU_FORMAT) + b"x\0".ljust(512, b"\0")
    archive.write_bytes(block * 3000)
    with pytest.raises(ManifestError, match="torn or damaged"):
        of_archive(archive)


def test_what_is_no_archive(tmp_path):
    for name in ("set.tar", "set.tar.gz", "set.tar.zst", "set.zip", "set.tar.xz", "set.tar.bz2"):
        (tmp_path / name).write_bytes(b"no archive at all " * 100)
        with pytest.raises(ManifestError, match="torn or damaged"):
            of_archive(tmp_path / name)
    (tmp_path / "set.npz").write_bytes(b"x")
    with pytest.raises(ManifestError, match="neither a folder nor an archive"):
        of_archive(tmp_path / "set.npz")
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    with pytest.raises(ManifestError, match="has no files"):
        of_archive(tmp_path / "empty.tar")
    with pytest.raises(FileNotFoundError):
        of_archive(tmp_path / "nowhere.tar")


def test_a_gzip_whose_checksum_is_wrong(tmp_path, folder):
    archive = tmp_path / "set.tar.gz"
    pack(folder, archive)
    content = bytearray(archive.read_bytes())
    content[-6] ^= 1
    archive.write_bytes(content)
    with pytest.raises(ManifestError, match="torn or damaged"):
        of_archive(archive)
    with pytest.raises(gzip.BadGzipFile):
        gzip.decompress(content)
