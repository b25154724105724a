"""Checkpoints: two generations, read back with suspicion; the global random generators."""

import collections
import errno
import hashlib
import io
import json
import logging
import math
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jobs import files
from jobs.store.attempts import AttemptFiles
from jobs.training import checkpoint
from jobs.training.checkpoint import Checkpoint, CheckpointError, Checkpoints
from jobs.training.origin import NOTHING, Origin
from tests.helpers import make_run

RUN = make_run(epochs=2)


def at(index, epoch=1, **tensors):
    notes = {"step": index, "curves": {"value": [0.1, 1e-300, -0.0]}}
    origin = Origin.now(NOTHING, "cpu")
    return Checkpoint(epoch=epoch, index=index, tensors=tensors, notes=notes, origin=origin)


def write(folder, *checkpoints, run=RUN):
    """Written one after the other, as by one attempt; returns its files."""
    folder.mkdir(parents=True, exist_ok=True)
    out = AttemptFiles(folder)
    writer = Checkpoints(out, every=0)
    for saved in checkpoints:
        writer.write(run, lambda saved=saved: saved)
    return out.checkpoint_files


def found(*folders, run=RUN):
    return [(path.name, saved.index) for path, saved in checkpoint.find(folders, run)]


def test_what_is_written_is_read(tmp_path):
    weights = torch.randn(3, 4, 5, 6).to(memory_format=torch.channels_last)
    saved = at(7, weights=weights, state={"lr": 0.1, "betas": (0.9, 0.99), "groups": [None, "x"]})
    first, _ = write(tmp_path, saved)
    read = checkpoint.read(first, RUN)

    assert (read.epoch, read.index, read.notes) == (saved.epoch, saved.index, saved.notes)
    assert read.tensors["state"] == saved.tensors["state"]
    assert torch.equal(read.tensors["weights"], weights)
    assert read.tensors["weights"].stride() == weights.stride()


def test_the_older_of_two_generations_is_written_over(tmp_path):
    assert [path.exists() for path in write(tmp_path, at(1))] == [True, False]
    assert found(tmp_path) == [("checkpoint-a.pt", 1)]
    write(tmp_path, at(1), at(2))
    assert found(tmp_path) == [("checkpoint-b.pt", 2), ("checkpoint-a.pt", 1)]
    write(tmp_path, at(1), at(2), at(3))
    assert found(tmp_path) == [("checkpoint-a.pt", 3), ("checkpoint-b.pt", 2)]


def test_what_was_gone_on_from_is_not_written_over_first(tmp_path):
    first, second = write(tmp_path, at(1), at(2))
    for resumed, overwritten in ((first, second), (second, first)):
        writer = Checkpoints(AttemptFiles(tmp_path), every=0, resumed=resumed)
        assert writer.write(RUN, lambda: at(5)) == overwritten


def test_an_epochs_end_is_after_its_last_step(tmp_path):
    """Before the evaluation of epoch 1, and after it: both after step 37."""
    write(tmp_path, at(0, epoch=2), at(37, epoch=1))
    assert [index for _, index in found(tmp_path)] == [0, 37]


def test_the_newest_folder_comes_first(tmp_path):
    write(tmp_path / "1", at(8))
    write(tmp_path / "2", at(4), at(5))
    (tmp_path / "3").mkdir()
    folders = [tmp_path / name for name in ("4", "3", "2", "1")]
    assert [index for _, index in found(*folders)] == [5, 4, 8]


@given(data=st.data())
def test_a_torn_or_changed_file_is_never_read(tmp_path_factory, data):
    """Cut anywhere, or with any one byte changed."""
    folder = tmp_path_factory.mktemp("torn")
    path, _ = write(folder, at(7, weights=torch.arange(100.0)))
    content = path.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        path.write_bytes(content[:place])
    else:
        changed = data.draw(st.integers(1, 255)) ^ content[place]
        path.write_bytes(content[:place] + bytes([changed]) + content[place + 1 :])
    with pytest.raises(CheckpointError):
        checkpoint.read(path, RUN)


def test_a_bad_generation_is_named_and_skipped(tmp_path, caplog):
    first, second = write(tmp_path, at(1), at(2))
    second.write_bytes(second.read_bytes()[:-10])
    assert found(tmp_path) == [("checkpoint-a.pt", 1)]
    assert f"{second} skipped: torn" in caplog.text
    first.unlink()
    first.mkdir()  # cannot be read
    assert found(tmp_path) == []
    assert f"{first} skipped: [Errno" in caplog.text


def test_foreign_checkpoints_are_refused(tmp_path, caplog, monkeypatch):
    path, _ = write(tmp_path, at(1))
    other = replace(RUN, seed=43)
    assert found(tmp_path, run=other) == []
    assert f"is of run {RUN.id}, not of {other.id}" in caplog.text
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "PROTOCOL_VERSION", 99)
        with pytest.raises(CheckpointError, match="protocol version 1"):
            checkpoint.read(path, RUN)
    path.write_bytes(path.read_bytes().replace(b"checkpoint 2 sha", b"checkpoint 1 sha"))
    with pytest.raises(CheckpointError, match="not of format 2"):
        checkpoint.read(path, RUN)


def test_no_code_is_loaded_from_a_file(tmp_path):
    """A well-formed file with a pickled object in it is refused."""
    payload = io.BytesIO()
    torch.save({"tensors": collections.deque(), "notes": "{}"}, payload)
    digest = hashlib.sha256(payload.getvalue()).hexdigest()
    path = tmp_path / "x.pt"
    path.write_bytes(payload.getvalue() + f"\nprobprec checkpoint 2 sha256 {digest}\n".encode())
    with pytest.raises(CheckpointError, match=r"it holds collections\.deque; what can be kept are"):
        checkpoint.read(path, RUN)


@pytest.mark.parametrize(
    ("state", "message"),
    [(collections.deque(), r"holds collections\.deque"), (lambda: 0, "cannot be saved")],
)
def test_a_state_that_could_not_be_read_back_is_not_written(tmp_path, state, message):
    files_ = write(tmp_path, at(1), at(2))
    before = [path.read_bytes() for path in files_]
    writer = Checkpoints(AttemptFiles(tmp_path), every=0)
    with pytest.raises(CheckpointError, match=message):
        writer.write(RUN, lambda: at(3, state=state))
    assert [path.read_bytes() for path in files_] == before


def test_a_state_that_cannot_be_taken_is_a_checkpoint_error_and_not_tried_at_every_step(tmp_path):
    writer = Checkpoints(AttemptFiles(tmp_path), every=0.05)
    writer._last = -math.inf
    assert writer.is_due

    def fail():
        raise NotImplementedError("no state here")

    with pytest.raises(CheckpointError, match="no state here"):
        writer.write(RUN, fail)
    assert not writer.is_due


def test_a_full_disk_leaves_the_other_generation(tmp_path, monkeypatch):
    write(tmp_path, at(1), at(2))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = Checkpoints(AttemptFiles(tmp_path), every=0)
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        writer.write(RUN, lambda: at(3))
    assert found(tmp_path) == [("checkpoint-b.pt", 2), ("checkpoint-a.pt", 1)]
    assert len(list(tmp_path.iterdir())) == 2


def draws():
    return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()  # noqa: NPY002 - the global ones


def test_global_generators_are_seeded_by_the_run_and_brought_back():
    checkpoint.seed_generators(42)
    first = draws()
    torch.randn(1)  # numpy's and torch's keep half a pair of normal numbers
    np.random.randn(1)  # noqa: NPY002 - the global one
    random.gauss()
    tensors, notes = checkpoint.generator_tensors(), checkpoint.generator_notes()
    notes = json.loads(json.dumps(notes))
    expected = draws(), random.gauss(), np.random.randn()  # noqa: NPY002 - the global one
    checkpoint.restore_generators(tensors, notes)
    assert (draws(), random.gauss(), np.random.randn()) == expected  # noqa: NPY002 - the global one
    checkpoint.seed_generators(42)
    assert draws() == first
    checkpoint.seed_generators(43)
    assert draws() != first


def test_nothing_is_logged_where_there_is_nothing(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        assert found(tmp_path / "no", tmp_path) == []
    assert caplog.text == ""
