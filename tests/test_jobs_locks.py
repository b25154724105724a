"""Locks: taken, probed, held."""

import os

import pytest

from jobs import locks


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "lock"
    path.touch()
    return path


@pytest.fixture
def opened(file):
    """Two descriptors of the file, as two processes have it open."""
    both = [os.open(file, os.O_RDWR) for _ in range(2)]
    yield both
    for one in both:
        os.close(one)


def test_a_lock_is_of_one_at_a_time(file, opened):
    first, second = opened
    assert not locks.is_held(file)
    locks.hold(first, file)

    assert locks.is_held(file)
    assert not locks.try_hold(second, file)
    assert not locks.try_hold(second, file, shared=True)


def test_a_shared_lock_is_of_several(file, opened):
    first, second = opened
    locks.hold(first, file, shared=True)

    assert locks.try_hold(second, file, shared=True)
    assert not locks.is_held(file)  # a probe is shared, too


def test_what_is_not_there_is_not_held(tmp_path):
    assert not locks.is_held(tmp_path / "lock")


def test_a_link_is_followed_only_where_nobody_else_can_put_one(file, opened):
    link = file.with_name("link")
    link.symlink_to(file)
    locks.hold(opened[0], file)

    assert locks.is_held(link)
    with pytest.raises(OSError, match="link"):
        locks.is_held(link, follow=False)


def test_a_lock_file_that_was_removed_meanwhile_is_made_again(file, opened):
    """What is waited for is the lock of that name, not of the file that had it."""
    locks.hold(opened[0], file)

    def remove():
        file.unlink(missing_ok=True)

    with locks.held(file, remove) as waited:
        assert waited > 0
        assert locks.is_held(file)
        assert not locks.is_at(opened[0], file)
    assert not locks.is_held(file)
