"""Tune, choose, evaluate: what the commands send and say. What real Slurm does: `test_slurm_choices`."""

import json
import shlex
import sys
from pathlib import Path

import pytest

from cluster import cli, feeder
from cluster.commands import check
from cluster.commands.ask_construction import Construction
from cluster.slurm.site import Cap
from cluster.submit import queue_room, submit
from cluster.submit.queue_room import QueueRoom
from jobs.store import record
from jobs.store.store import Store
from tests import trainer
from tests.fake_slurm import FakeSlurm
from tests.helpers import content_of, make_plan
from tests.make_sweep import make_record

SPEC = """\
problems: [digits_mlp]
epochs: 2
seeds: 42..44
optimizers:
  SGD:
    lr: {values: [0.01, 0.1, 1.0]}
    tune: {seeds: 1..2, choose: valid_accuracy final}
  Adam: {lr: 1e-3}
"""
RUNS, FOLLOW = 3 * 2 + 3, 3


class Tuned:
    """A tuned sweep on a Slurm that takes what it is given; `queue` says what is there of it."""

    def __init__(self, folder, monkeypatch, capsys, limits):
        self.capsys = capsys
        self.fake = FakeSlurm(folder, monkeypatch, sent=False)
        self.fake.queue()
        counter = shlex.quote(str(folder / "counter"))
        count = f"n=$(cat {counter} 2>/dev/null || echo 100); n=$((n+1)); echo $n > {counter}"
        self.fake.command("sbatch", f"{count}; echo $n")
        monkeypatch.chdir(folder)
        self.spec = folder / "t.yaml"
        self.spec.write_text(SPEC)
        (folder / "site.yaml").write_text(
            f"engine: slurm\nlimits: {limits}\nresources: {{time: 00:10:00, mem: 1G}}\n"
        )
        self.store = Store(folder / "sweeps" / "t")

    def call(self, *words, code=0):
        """A command's JSON."""
        assert cli.main([*map(str, words), "--json"]) == code
        return json.loads(self.capsys.readouterr().out)

    def said(self, *words, code=0):
        """What a command prints."""
        assert cli.main([*map(str, words)]) == code
        return "".join(self.capsys.readouterr())

    def submit(self, *words, code=0):
        return self.call("submit", "t.yaml", "--on", "./site.yaml", *words, code=code)

    def queue(self, *elements):
        """What squeue says, of (name, state)."""
        self.fake.queue(*elements)

    def record(self, *, diverges=lambda _: None, only=lambda _: True):
        """Records of the runs that have none: by an accuracy that is best at lr 0.1."""
        for planned in filter(only, self.store.sweep().runs):
            folder = self.store.run(planned.run.id)
            if not folder.record_file.exists():
                folder.create(planned.run)
                content = make_record(planned, diverges(planned))
                content["curves"]["minibatch_loss"] = {"step": [], "value": []}
                folder.record_file.write_text(json.dumps(content))
                record.read(folder.record_file, run_id=planned.run.id)

    def script(self, number, kind, first):
        """A batch script that was sent."""
        return (self.store.root / f"submitit/{number:04d}/{kind}-{first:05d}.sh").read_text()


@pytest.fixture
def tuned(tmp_path, monkeypatch, capsys):
    return Tuned(tmp_path, monkeypatch, capsys, "{max_array: 4}")


def test_a_job_that_chooses_waits_behind_all_arrays(tuned):
    report = tuned.submit()

    assert [job["job_id"] for job in report["jobs"]] == ["101", "102", "103"]
    assert (report["submitted"], report["feeder"], report["waiting"]) == (RUNS, "104", 0)
    assert "--dependency=afterany:101:102:103\n" in tuned.script(1, "feeder", RUNS)
    said = tuned.said("submit", "t.yaml", "--on", "./site.yaml", "--dry-run", "--name", "other")
    assert "; 3 more follow from what is chosen; nothing was written" in said


@pytest.mark.parametrize(("places", "sent", "waiting"), [(RUNS + 1, RUNS, 0), (RUNS, RUNS - 1, 1)])
def test_a_place_in_the_queue_is_kept_for_it(tmp_path, monkeypatch, capsys, places, sent, waiting):
    tuned = Tuned(tmp_path, monkeypatch, capsys, f"{{max_submit: {places}}}")
    report = tuned.submit()

    assert sum(len(job["runs"]) for job in report["jobs"]) == sent
    assert (report["waiting"], report["problem"]) == (waiting, None)
    assert report["feeder"] is not None


@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("free", [0, 1, 2, 3, 9])
def test_what_fits_beside_a_job_that_comes_after(free, after):
    """All of two, if there is room for them and for what comes after; else one place is kept."""
    found = queue_room.next_size(
        [0, 0], QueueRoom(per_array=9, caps=(Cap(jobs=9),), is_certain=True), free, after
    )

    assert found == (2 if free >= 2 + after else free - 1)


def test_nobody_waits_for_a_choice_that_cannot_be_made(tuned):
    """Some of the runs that decide it are not sent."""
    assert tuned.submit("--only", "seed=1")["feeder"] is None
    tuned.queue(*[(f"101_{index}", "PENDING") for index in range(3)])
    assert tuned.submit("--only", "seed=2")["feeder"] is not None


def test_it_chooses_and_sends_what_follows_once(tuned):
    tuned.submit()
    tuned.record()
    assert feeder.main([str(tuned.store.root), "1"]) == 0

    [tuning] = tuned.store.sweep().tunings
    choice = tuned.store.choice(tuning.key)
    assert choice.winner.setting == {"lr": 0.1}
    first, second = (content_of(one) for one in tuned.store.submissions())
    entries = [entry for task in second["groups"][0]["tasks"] for entry in task]
    assert second["follows"] == 1
    assert sorted(entry["run"]["seed"] for entry in entries) == [42, 43, 44]
    assert {entry["run"]["hyperparameters"]["lr"] for entry in entries} == {0.1}
    assert {**second, "groups": [], "time": 0, "follows": 0} == {
        **first, "groups": [], "time": 0, "follows": 0
    }  # fmt: skip
    assert second["groups"][0] | {"tasks": []} == first["groups"][0] | {"tasks": []}
    sent = len(tuned.fake.calls("sbatch"))
    tuned.queue(*[(f"105_{index}", "RUNNING") for index in range(3)])
    assert feeder.main([str(tuned.store.root), "1"]) == 0
    assert len(tuned.fake.calls("sbatch")) == sent
    assert len(tuned.store.submissions()) == 2


def test_of_two_tunings_one_waits_for_one_job_more(tuned):
    """What follows from the first is sent at once; a single job waits for the other one."""
    more = "  AdamW: {lr: {values: [1e-3, 1e-2]}, tune: {seeds: 1, choose: valid_loss final}}\n"
    tuned.spec.write_text(SPEC + more)
    tuned.submit()
    tuned.record(only=lambda planned: planned.optimizer == "SGD")
    arrays = [(f"{job}_{index}", "RUNNING") for job in (102, 103) for index in range(4)]
    tuned.queue(*arrays)
    assert feeder.main([str(tuned.store.root), "1"]) == 0

    first, second = tuned.store.submissions()
    assert len(second.parts("chunk")) == 1
    assert second.parts("feeder") == []
    [part] = first.parts("feeder")
    assert content_of(part)["after"] == [102, 103]


def test_whoever_submits_again_chooses_too(tuned):
    """Where the job that was to choose is gone."""
    tuned.submit()
    tuned.record()
    report = tuned.submit()

    assert (report["submitted"], report["already"]) == (FOLLOW, RUNS)
    assert len(tuned.store.sweep().runs) == RUNS + FOLLOW


def test_what_a_submission_chooses_is_said(tuned):
    words = ("submit", "t.yaml", "--on", "./site.yaml")
    assert "chosen: " not in tuned.said(*words)
    tuned.record()
    chosen = "chosen: digits_mlp SGD lr=0.1, of 3 settings by valid_accuracy final ("
    assert chosen in tuned.said(*words)
    assert "chosen: " not in tuned.said(*words)


def test_a_feeder_does_not_take_itself_for_the_next_one(tuned, monkeypatch):
    """It runs, there is no room for all that is left, and nobody else would send it."""
    tuned.spec.write_text(SPEC.replace("tune: {seeds: 1..2, choose: valid_accuracy final}", ""))
    Path("site.yaml").write_text("engine: slurm\nlimits: {max_submit: 5}\n")
    report = tuned.submit()
    assert (report["waiting"], report["feeder"]) == (8, "102")
    tuned.queue(*[(f"101_{index}", "RUNNING") for index in range(4)], ("102", "RUNNING"))
    monkeypatch.setenv("SLURM_JOB_ID", "102")
    assert feeder.main([str(tuned.store.root), "1"]) == 0

    [part] = tuned.store.submission(1).parts("feeder")
    assert part.job_id() == 103


def test_status_says_what_waits_for_a_choice(tuned):
    tuned.submit()
    tuned.record(only=lambda planned: planned.run.seed == 1)
    report = tuned.call("status", "t", code=1)
    assert report["tunings"] == [
        {
            "problem": "digits_mlp",
            "optimizer": "SGD",
            "choose": "valid_accuracy final",
            "settings": 3,
            "seeds": [1, 2],
            "evaluation_seeds": [42, 43, 44],
            "chosen": None,
            "why": "3 of 6 tuning runs done",
        }
    ]
    said = " ".join(tuned.said("status", "t", code=1).split())
    assert "digits_mlp SGD: 3 of 6 tuning runs done; then 3 runs of the best of 3" in said


def test_where_every_setting_diverged_that_is_said(tuned):
    tuned.submit()
    tuned.record(diverges=lambda planned: 2 if planned.run.seed == 2 else None)
    assert tuned.submit()["submitted"] == 0
    said = " ".join(tuned.said("status", "t", code=1).split())

    assert "digits_mlp SGD: a run of each of the 3 settings diverged; with other settings" in said
    assert "next: probprec submit t.yaml --on " in said
    report = tuned.call("status", "t", code=1)
    assert report["tunings"][0]["why"] == "a run of each of the 3 settings diverged"


def test_more_settings_are_another_choice(tuned):
    """What followed from the old one would be lost: not unasked."""
    tuned.submit()
    tuned.record()
    tuned.submit()
    tuned.record()
    tuned.spec.write_text(SPEC.replace("1.0]", "1.0, 3.0]"))
    refused = tuned.said("submit", "t.yaml", "--on", "./site.yaml", code=2)
    assert "it would lose 3 runs that have a record" in refused
    assert "other settings, tuning seeds or another rule are another choice" in refused
    tuned.spec.write_text(SPEC.replace("42..44", "42..46"))
    assert tuned.submit()["submitted"] == 2 + 2  # of the chosen setting, and of Adam


def test_redo_of_what_decided_decides_anew(tuned):
    tuned.submit()
    tuned.record()
    tuned.submit()
    tuned.record()
    [tuning] = tuned.store.sweep().tunings
    refused = tuned.said("redo", "t", "--only", "role=tuning", code=2)
    assert "3 runs follow from a choice that rests on these; nothing was set aside" in refused
    assert refused.rstrip().endswith("--only optimizer=SGD")
    assert tuned.store.choice(tuning.key) is not None
    shown = tuned.said("redo", "t", "--only", "optimizer=SGD", "--dry-run")
    assert "what was chosen of digits_mlp SGD would be set aside" in shown
    report = tuned.call("redo", "t", "--only", "optimizer=SGD")

    assert len(report["runs"]) == 6 + 3
    assert sum(len(job["runs"]) for job in report["jobs"]) == 6
    assert report["feeder"] is not None
    assert tuned.store.choice(tuning.key) is None
    assert len(list((tuned.store.root / "choices").glob("*.set-aside-0001.json"))) == 1
    tuned.record()
    assert feeder.main([str(tuned.store.root), str(len(tuned.store.submissions()))]) == 0
    entries = content_of(tuned.store.submissions()[-1])["groups"][0]["tasks"]
    assert sorted(task[0]["run"]["seed"] for task in entries) == [42, 43, 44]
    assert {task[0]["fence"] for task in entries} == {1}  # set aside, and so attempted before


def test_redo_of_what_was_evaluated_leaves_the_choice(tuned):
    tuned.submit()
    tuned.record()
    tuned.submit()
    tuned.record()
    report = tuned.call("redo", "t", "--only", "role=evaluation", "--only", "optimizer=SGD")

    assert len(report["runs"]) == 3
    assert tuned.store.sweep().undecided == []


def test_what_redo_proposes_names_all_that_it_needs(tuned):
    """Both optimizers, and of two problems only the one that is meant; a label may have a comma."""
    more = '  "A, B": {optimizer: AdamW, lr: {values: [1e-3, 1e-2]}, tune: {seeds: 1, choose: valid_loss final}}\n'
    tuned.spec.write_text(SPEC.replace("[digits_mlp]", "[digits_mlp, digits_2c2d]") + more)
    tuned.submit()
    tuned.record()
    tuned.submit()
    tuned.record()
    words = ("redo", "t", "--only", "role=tuning", "--only", "problem=digits_mlp")
    refused = tuned.said(*words, code=2)
    assert refused.rstrip().endswith("--only 'optimizer=SGD,A, B' --only problem=digits_mlp")
    refused = tuned.said(*words, "--only", "optimizer=A, B", code=2)
    assert refused.rstrip().endswith("--only 'optimizer=A, B' --only problem=digits_mlp")
    report = tuned.call("redo", "t", "--only", "optimizer=A, B", "--only", "problem=digits_mlp")
    assert len(report["runs"]) == 2 + 3


def test_what_is_not_chosen_yet_cannot_be_selected(tuned):
    tuned.submit()
    refused = tuned.said("submit", "t.yaml", "--on", "./site.yaml", "--only", "seed=50", code=2)
    assert "no run of t has it; what follows from a choice is known once it is made" in refused


@pytest.mark.parametrize("damage", ["torn", "worse", "other"])
def test_a_choice_that_was_changed_is_none(tuned, damage):
    """What to do is said, and does what it says."""
    tuned.submit()
    tuned.record()
    tuned.submit()
    [tuning] = tuned.store.sweep().tunings
    file = tuned.store.choice_file(tuning.key)
    content = json.loads(file.read_bytes())
    if damage == "worse":
        content["cell"] = next(cell for cell in tuning.cells if cell != content["cell"])
    if damage == "other":
        content["candidates"][-1]["cell"] = "0" * 12
    text = json.dumps(content)
    file.write_text(text[:100] if damage == "torn" else text)
    refused = tuned.said("status", "t", code=2)
    assert f"{file.name} cannot be used: " in refused
    assert "move it away, and the next submission chooses again, by the records" in refused
    file.unlink()
    tuned.submit()
    assert tuned.store.choice(tuning.key).winner.setting == {"lr": 0.1}


def test_there_are_workers_for_what_follows():
    """One tuning run is left; then come three runs at once."""
    content = make_plan(groups=[{"tasks": [[{"id": "a", "fence": 0, "run": {}}]]}])

    assert submit.usable_lanes(content, 4, 0) == 1
    assert submit.usable_lanes(content, 4, 3) == 4


def test_check_counts_and_prices_what_follows(tuned, monkeypatch):
    monkeypatch.setattr(
        check, "construct", lambda _: Construction(constructed=0, notes=())
    )  # not asked about here
    tuned.spec.write_text(SPEC + "resources: {time: 01:00:00, cpus: 1}\n")
    report = tuned.call("check", "t.yaml")
    assert (report["runs"], report["runs_to_follow"]) == (RUNS, FOLLOW)
    assert report["hours_at_most"] == {"CPU": RUNS + FOLLOW}
    lines = tuned.said("check", "t.yaml").splitlines()
    assert lines[1] == "then 3 runs more: 1 setting chosen by valid_accuracy final on seed 1..2"


def test_explain_knows_what_may_follow(tuned):
    tuned.submit()
    tuned.record()
    tuned.submit()
    run = next(one.run for one in tuned.store.sweep().runs if one.run.seed == 43)
    fields = {one["name"]: one for one in tuned.call("explain", "t.yaml", run.id)["fields"]}

    assert fields["seed"]["source"] == "t.yaml:3:8"
    run = next(one.run for one in tuned.store.sweep().runs if one.run.seed == 2)
    fields = {one["name"]: one for one in tuned.call("explain", "t.yaml", run.id)["fields"]}
    assert fields["seed"]["source"] == "t.yaml:7:19"


def test_run_tells_what_is_chosen(tmp_path, monkeypatch, capsys):
    """On this machine the workers choose, and go on."""
    monkeypatch.chdir(tmp_path)
    python = tmp_path / "light-python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {trainer.__file__} "$@"\n')
    python.chmod(0o755)
    Path("light.yaml").write_text(f"engine: local\npython: {python}\nthreads: 1\n")
    Path("t.yaml").write_text(SPEC)
    assert cli.main(["run", "t.yaml", "--on", "./light.yaml", "--workers", "2"]) == 0
    said = capsys.readouterr().out

    store = Store(tmp_path / "sweeps" / "t")
    [tuning] = store.sweep().tunings
    setting = store.choice(tuning.key).winner.setting
    assert "9 runs, 9 submitted, 0 done already, 3 more follow when 1 setting is chosen" in said
    assert f"chosen: digits_mlp SGD lr={setting['lr']}, of 3 settings by valid_accuracy" in said
    assert "[12/12] completed" in said
    assert "every run has a record" in said
