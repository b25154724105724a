"""The store of staged sets: what others could have written to is not trusted."""

import os
import shutil

import pytest

from jobs import locks
from jobs.manifests.manifest import of_folder
from jobs.staging import staged_sets
from jobs.staging.stage import ForeignStoreError, prune, staged

SIZE = 3000


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.bin").write_bytes(os.urandom(2000))
    (folder / "deep" / "b.bin").write_bytes(os.urandom(1000))
    return folder


def spoil_owner(root):
    os.chown(root, 12345, 12345)


def spoil_mode(root):
    root.chmod(0o777)


def spoil_link(root):
    root.rename(root.with_name("elsewhere"))
    root.symlink_to(root.with_name("elsewhere"))


@pytest.mark.parametrize("spoil", [spoil_owner, spoil_mode, spoil_link])
@pytest.mark.parametrize("inner", ["", "sets", "partial", "leases"])
def test_a_store_that_others_could_write_to_is_refused(tmp_path, source, spoil, inner):
    if spoil is spoil_owner and os.geteuid() != 0:
        pytest.skip("giving files away takes root")
    root, manifest = tmp_path / "root", of_folder(source)
    with staged(root, manifest, source):
        pass
    spoil(root / inner)
    with (
        pytest.raises(ForeignStoreError, match="this user's alone") as error,
        staged(root, manifest, source),
    ):
        pass
    assert error.value.filename == str(root / inner)
    with pytest.raises(ForeignStoreError):
        prune(root)


@pytest.mark.parametrize("spoil", [spoil_owner, spoil_mode, spoil_link])
@pytest.mark.parametrize("inner", ["", "data", "data/deep", "data/a.bin", "state.json"])
def test_a_set_that_others_could_write_to_is_copied_again(tmp_path, source, spoil, inner):
    if spoil is spoil_owner and os.geteuid() != 0:
        pytest.skip("giving files away takes root")
    root, manifest = tmp_path / "root", of_folder(source)
    with staged(root, manifest, source) as found:
        place = found.path.parent
    spoil(place / inner)
    with staged(root, manifest, source) as found:
        assert found.hit == (inner == "state.json")  # then every byte was looked at
        assert of_folder(found.path) == manifest
        assert not found.path.is_symlink()
        assert not found.path.parent.is_symlink()


@pytest.mark.parametrize("spoil", [spoil_owner, spoil_mode, spoil_link])
@pytest.mark.parametrize("inner", ["", "data", "data/deep", "data/a.bin"])
def test_a_leftover_that_others_could_write_to_is_not_used(tmp_path, source, spoil, inner):
    if spoil is spoil_owner and os.geteuid() != 0:
        pytest.skip("giving files away takes root")
    root, manifest = tmp_path / "root", of_folder(source)
    partial = root / "partial" / manifest.sha256[:32]
    partial.parent.mkdir(parents=True)
    shutil.copytree(source, partial / "data")
    spoil(partial / inner)
    with staged(root, manifest, source) as found:
        assert found.copied == SIZE
        assert of_folder(found.path) == manifest


def test_only_its_user_can_enter_the_store(tmp_path, source):
    root = tmp_path / "root"
    root.mkdir(mode=0o755)
    with staged(root, of_folder(source), source) as found:
        folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
        assert all(path.stat().st_mode & 0o777 == 0o700 for path in folders)
        assert (found.path / "a.bin").stat().st_mode & 0o777 == 0o444


def test_a_lease_that_ends_just_now(tmp_path, source, monkeypatch):
    """Who ends one does not ask for the lock of those that make room."""
    root = tmp_path / "root"
    with staged(root, of_folder(source), source):
        (lease,) = (root / "leases").iterdir()
        monkeypatch.setattr(locks, "is_held", lambda _, **__: lease.unlink())
        assert len(staged_sets.unused(root)) == 1
