"""A sweep becomes another one only where somebody says so: runs it would lose, files it comes from."""

import json
import os
import shlex
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cluster import cli
from cluster.status import advice
from cluster.status.queue import Queue
from cluster.submit import admission
from cluster.submit.admission import is_taken_over
from jobs.errors import InputError
from jobs.spec import load
from jobs.store.store import Store
from jobs.store.workers import at_work
from tests.fake_slurm import FakeSlurm
from tests.helpers import make_plan, note
from tests.make_sweep import make_record, minibatch_series, write

SPEC = """\
problems: [digits_mlp]
optimizers:
  SGD: {lr: LR}
  Adam: {lr: {values: [0.001, 0.01]}}
seeds: 1..3
epochs: 2
"""


class Place:
    """A folder with a spec and a profile, and the commands that are typed there."""

    def __init__(self, folder, fake):
        self.folder, self.fake = folder, fake
        self.spec = self.wrote(SPEC.replace("LR", "0.1"))
        self.store = Store(folder / "sweeps" / "some")

    def wrote(self, text, path="some.yaml"):
        (self.folder / path).parent.mkdir(exist_ok=True)
        (self.folder / path).write_text(text)
        return self.folder / path

    def changed(self, before, after, path="some.yaml"):
        text = self.spec.read_text()
        assert before in text
        return self.wrote(text.replace(before, after), path)

    def submit(self, *words, spec="some.yaml"):
        return cli.main(["submit", spec, "--on", "./site.yaml", *words])

    def record(self, store=None):
        """Every run has its record, and is in no queue."""
        store = store or self.store
        for planned in store.sweep().runs:
            write(store, planned, make_record(planned), minibatch_series(0))
        self.age(store)

    def age(self, store):
        long_ago = time.time() - 3600
        for receipt in store.root.glob("submissions/*/*.receipt.json"):
            os.utime(receipt, (long_ago, long_ago))


@pytest.fixture
def place(tmp_path, monkeypatch):
    fake = FakeSlurm(tmp_path / "fake", monkeypatch, sent=False)
    fake.queue()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PROBPREC_ROOT", raising=False)
    (tmp_path / "site.yaml").write_text("engine: slurm\n")
    return Place(tmp_path, fake)


@pytest.fixture
def finished(place):
    assert place.submit() == 0
    place.record()
    return place


def all_files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_changed_value_is_told_by_label_and_setting(finished, capsys):
    before = all_files(finished.store.root)
    finished.changed("0.1}", "0.2}")
    capsys.readouterr()

    assert finished.submit() == 2
    said = capsys.readouterr().err
    assert "sweeps/some would become another sweep; nothing was written" in said
    assert "it would lose 3 runs that have a record:\n  digits_mlp SGD lr=0.1, seed 1..3\n" in said
    assert "--replace" in said
    assert "--name" in said
    after = all_files(finished.store.root)
    assert {path: after[path] for path in before if path.name != "states.json"} == {
        path: text for path, text in before.items() if path.name != "states.json"
    }
    assert len(finished.fake.calls("sbatch")) == 1


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        ("1..3", "1..2", ["SGD, seed 3", "Adam lr=0.001, seed 3", "Adam lr=0.01, seed 3"]),
        ("[0.001, 0.01]", "[0.001]", ["digits_mlp Adam lr=0.01, seed 1..3"]),
        ("  SGD: {lr: 0.1}\n", "", ["digits_mlp SGD, seed 1..3"]),
        ("epochs: 2", "epochs: 1", ["SGD epochs=2, seed 1..3", "Adam lr=0.01, epochs=2, seed"]),
        ("SGD: {lr: 0.1}", "SGD: {lr: 0.1, momentum: 0.9}", ["digits_mlp SGD, seed 1..3"]),
        ("SGD: {", "SGD: {optimizer: Adam, ", ["SGD optimizer=torch.optim.SGD, seed 1..3"]),
        ("seeds: 1..3", "seeds: [1, 3]\nbatch_size: 64", ["SGD batch_size=32, seed 1..3"]),
    ],
)
def test_what_would_be_lost_is_told_apart(finished, capsys, before, after, lost):
    finished.changed(before, after)

    assert finished.submit() == 2
    said = capsys.readouterr().err
    assert [text for text in lost if text not in said] == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("1..3", "1..5"),
        ("[0.001, 0.01]", "[0.001, 0.01, 0.1]"),
        ("  SGD:", "  Momentum: {lr: 0.1}\n  SGD:"),
        ("epochs: 2", "epochs: 2\nresources: {time: 01:00:00}"),
        ("epochs: 2", "epochs: 2\n# a comment"),
    ],
)
def test_more_is_no_loss(finished, before, after):
    finished.changed(before, after)
    assert finished.submit() == 0


def test_runs_that_never_came_to_anything_are_no_loss(place):
    """They failed, or were never sent: nothing of them is in a table."""
    assert place.submit("--only", "seed=1", "--only", "optimizer=SGD") == 0
    place.age(place.store)
    place.changed("0.1}", "0.2}")

    assert place.submit() == 0


def test_runs_in_the_queue_are_not_dropped(place, capsys):
    assert place.submit() == 0
    place.changed("1..3", "1..2")

    assert place.submit() == 2
    assert "it would lose 3 runs that wait or run:" in capsys.readouterr().err


def test_what_slurm_may_still_hold_is_not_dropped(place, capsys):
    assert place.submit() == 0
    place.age(place.store)
    place.fake.down()
    place.changed("1..3", "1..2")

    assert place.submit() == 2
    assert "it would lose 3 runs that wait or run:" in capsys.readouterr().err


def test_what_a_worker_here_will_come_to_is_not_dropped(tmp_path, monkeypatch):
    """One run of its submission is under way; the others have nothing but their place in it."""
    fake = FakeSlurm(tmp_path, monkeypatch, sent=False)
    tasks = [[fake._entry(index)] for index in range(4)]
    submission = fake.store.new_submission(make_plan(groups=[{"tasks": tasks}]))
    folder = fake.store.run(fake.runs[0].id)
    folder.create(fake.runs[0])
    attempt = folder.claim()
    note(folder, "claimed", fence=1, host="here", pid=1, submission=1)
    fake.claim(3, "100_3").release()
    fewer = replace(fake.sweep, runs=(fake.sweep.runs[0], fake.sweep.runs[3]))

    loss = r"2 runs that wait or run:\n  digits SGD, seed 1..2\n"
    with at_work(submission, 0), pytest.raises(InputError, match=loss):
        admission.admitted(fewer, fake.store, Queue())
    attempt.release()
    assert admission.admitted(fewer, fake.store, Queue()) == fewer


def test_many_are_folded(place, capsys):
    values = ", ".join(str(number / 1000) for number in range(1, 41))
    place.changed("[0.001, 0.01]", f"[{values}]")
    assert place.submit() == 0
    place.record()
    place.wrote(SPEC.replace("LR", "0.1"))
    capsys.readouterr()

    assert place.submit() == 2
    said = capsys.readouterr().err
    assert "it would lose 114 runs" in said
    assert "\n  and 84 more\n" in said
    assert len(said.splitlines()) < 20


def test_replace_keeps_all_that_is_lost(finished, capsys):
    before = finished.store.sweep()
    finished.changed("0.1}", "0.2}")

    assert finished.submit("--replace") == 0
    kept = json.loads((finished.store.root / "replaced" / "0001.json").read_bytes())
    assert kept == before.to_json()
    assert finished.submit("--replace") == 0  # nothing is replaced
    assert len(list((finished.store.root / "replaced").iterdir())) == 1
    ids = {planned.run.id for planned in before.runs}
    assert all(finished.store.run(run_id).record_file.exists() for run_id in ids)
    capsys.readouterr()
    assert cli.main(["collect", "some", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["expected"], report["completed"], report["extra"]) == (9, 6, 3)
    assert not any("replaced" in finding for finding in report["findings"])

    finished.age(finished.store)
    finished.changed("0.2}", "0.1}")
    assert finished.submit() == 0  # nothing is lost: what was extra counts again
    capsys.readouterr()
    assert cli.main(["collect", "some", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["completed"] == 9


def test_a_dry_run_says_the_same(finished, capsys):
    finished.changed("0.1}", "0.2}")
    assert finished.submit("--dry-run") == 2
    assert "digits_mlp SGD lr=0.1, seed 1..3" in capsys.readouterr().err
    assert finished.submit("--dry-run", "--replace") == 0


def test_a_definition_that_cannot_be_read_is_not_overwritten(finished, capsys):
    finished.store.sweep_file.write_text('{"runs": [')
    assert finished.submit() == 2
    assert "cannot be read" in capsys.readouterr().err
    assert finished.store.sweep_file.read_text() == '{"runs": ['

    assert finished.submit("--replace") == 0
    assert (finished.store.root / "replaced" / "0001.json").read_text() == '{"runs": ['


def test_another_spec_of_the_same_name_is_refused(finished, capsys):
    """Also if it loses nothing."""
    other = finished.changed("1..3", "1..4", "other/some.yaml")

    assert finished.submit(spec="other/some.yaml") == 2
    assert f"it was made by {finished.spec}, and this is {other}" in capsys.readouterr().err
    assert finished.submit("--name", "mine", spec="other/some.yaml") == 0
    assert finished.submit("--replace", spec="other/some.yaml") == 0
    assert finished.store.sweep().file == str(other)


def test_a_name_that_another_spec_says_is_refused(finished, capsys):
    finished.wrote(f"name: some\n{finished.spec.read_text()}seeds: 1..4\n", "b.yaml")
    text = finished.spec.read_text().replace("1..3", "1..4")
    finished.wrote(f"name: some\n{text}", "b.yaml")

    assert finished.submit(spec="b.yaml") == 2
    assert "it was made by" in capsys.readouterr().err


def test_a_copy_that_says_the_same_is_no_other_spec(finished):
    """As in somebody else's checkout; the sweep stays the first one's."""
    finished.changed("epochs: 2", "epochs: 2  # as in the thesis", "other/some.yaml")
    assert finished.submit(spec="other/some.yaml") == 0
    assert finished.store.sweep().file == str(finished.spec)

    finished.changed("1..3", "1..4")
    assert finished.submit() == 0
    finished.changed("1..4", "1..4", "other/some.yaml")  # pulled
    assert finished.submit(spec="other/some.yaml") == 0


def test_a_project_that_was_moved_is_no_other_spec(finished):
    (finished.folder / "new").mkdir()
    moved = finished.spec.rename(finished.folder / "new" / "some.yaml")
    moved.write_text(moved.read_text().replace("1..3", "1..4"))

    assert finished.submit(spec="new/some.yaml") == 0
    assert finished.store.sweep().file == str(moved)
    assert moved.rename(finished.folder / "renamed.yaml")
    assert finished.submit("--name", "some", spec="renamed.yaml") == 0


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_one_file_on_two_paths_is_no_other_spec(finished, link):
    (finished.folder / "mnt").mkdir()
    link(finished.spec, finished.folder / "mnt" / "some.yaml")
    finished.changed("1..3", "1..4")

    assert finished.submit(spec="mnt/some.yaml") == 0


def test_what_a_spec_extends_is_part_of_it(place, capsys):
    for folder in ("a", "b"):
        place.wrote(SPEC.replace("LR", "0.1"), f"{folder}/base.yaml")
        place.wrote("extends: base.yaml\nname: some\n", f"{folder}/small.yaml")
    assert place.submit(spec="a/small.yaml") == 0
    assert place.submit(spec="b/small.yaml") == 0
    place.wrote(SPEC.replace("LR", "0.1").replace("1..3", "1..4"), "b/base.yaml")

    assert place.submit(spec="b/small.yaml") == 2
    assert "it was made by" in capsys.readouterr().err
    place.wrote((place.folder / "b/base.yaml").read_text(), "a/base.yaml")
    assert place.submit(spec="b/small.yaml") == 0


def test_a_spec_where_nobody_may_look_may_be_there(tmp_path):
    """Told by its content then; a chain of links without end stands for a folder that is closed."""
    (tmp_path / "loop").symlink_to("loop")
    spec = tmp_path / "some.yaml"
    spec.write_text(SPEC.replace("LR", "0.1"))
    now = load(spec)
    before = type(now).from_json({**now.to_json(), "file": str(tmp_path / "loop" / "some.yaml")})

    assert not is_taken_over(before, now)
    spec.write_text(spec.read_text().replace("1..3", "1..4"))
    assert is_taken_over(before, load(spec))


def test_a_sweep_of_before_has_no_file(finished):
    content = json.loads(finished.store.sweep_file.read_bytes())
    del content["file"]
    finished.store.sweep_file.write_text(json.dumps(content))
    finished.changed("1..3", "1..4", "other/some.yaml")

    assert finished.submit(spec="other/some.yaml") == 0


def test_overrides_make_a_sweep_of_their_own(finished, capsys):
    before = all_files(finished.store.root)
    words = ["--set", "epochs=1", "--set", "seeds=1"]

    assert finished.submit(*words) == 0
    said = capsys.readouterr().out
    assert "sweeps/some@epochs=1+seeds=1: 3 runs" in said
    assert "next: probprec status sweeps/some@epochs=1+seeds=1" in said
    assert all_files(finished.store.root) == before
    own = Store(finished.folder / "sweeps" / "some@epochs=1+seeds=1")
    finished.record(own)
    assert finished.submit(*words[2:], *words[:2]) == 0
    assert len(own.submissions()) == 1
    for command in ("status", "collect"):
        assert cli.main([command, own.root.name]) == 0
    command = shlex.split(advice.submit_command(own, own.sweep()))
    assert cli.main(command[1:]) == 0
    assert len(own.submissions()) == 1


def test_overrides_of_resources_alone_change_no_sweep(finished):
    assert finished.submit("--set", "resources.time=01:00:00") == 0
    assert [path.name for path in (finished.folder / "sweeps").iterdir()] == ["some"]


@pytest.mark.parametrize("words", [["--name", "1e3"], ["--set", "name=smoke"], ["--name", "no"]])
def test_a_name_may_be_said(finished, words):
    assert finished.submit("--set", "epochs=1", *words) == 0
    name = words[1].removeprefix("name=")
    store = Store(finished.folder / "sweeps" / name)
    assert store.sweep().name == name
    command = shlex.split(advice.submit_command(store, store.sweep()))
    assert ["--name", name] == command[command.index("--name") :][:2]
    assert cli.main(command[1:]) == 0


def test_a_name_that_is_none(finished, capsys):
    assert finished.submit("--name", "a/b") == 2
    assert "expected a folder's name" in capsys.readouterr().err
    assert [path.name for path in (finished.folder / "sweeps").iterdir()] == ["some"]


def test_the_suggested_command_names_the_spec_from_elsewhere(finished, monkeypatch):
    (finished.folder / "elsewhere").mkdir()
    monkeypatch.chdir(finished.folder / "elsewhere")
    Path("some.yaml").write_text("another: spec\n")

    assert str(finished.spec) in advice.submit_command(finished.store, finished.store.sweep())
