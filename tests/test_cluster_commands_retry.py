"""What failed is sent again with what it lacked, and nothing else is."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from cluster import cli
from cluster.commands import escalate
from cluster.commands import retry as retrying
from cluster.profile.find import load
from cluster.recipe.recipe_file import read_recipe
from cluster.status import advice
from cluster.submit import profile_image
from containers import definition
from containers.images import SCHEMA
from jobs.errors import InputError
from jobs.profile import Limits, Profile
from jobs.resources import Resources
from tests.fake_slurm import FakeSlurm
from tests.helpers import content_of

NOTHING = {
    "failed": False,
    "classes": [],
    "runs": [],
    "mem": None,
    "time": None,
    "exclude_bad_nodes": False,
    "profile": None,
}


def retry(store, *, failed, classes, runs, **more):
    """The command, with which runs it retries by name."""
    which = retrying.Which(failed=failed, classes=classes, runs=runs)
    return retrying.retry(store, which=which, **more)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Four runs: out of memory, an error of its own, lost, and one that runs."""
    fake = FakeSlurm(tmp_path, monkeypatch)
    fake.fail(0, "100_0", "oom", node="node1")
    fake.fail(1, "100_1", "exception", node="node2")
    fake.claim(2, "100_2").release()
    fake.queue(("100_3", "RUNNING", "None", "node2"))
    return fake


def call(fake, capsys, code, **options):
    assert retry(fake.store, **(NOTHING | options), as_json=True) == code
    return json.loads(capsys.readouterr().out)


def changes(report):
    return {entry["class"]: entry["changes"] for entry in report["retried"]}


def asked(fake, index):
    return escalate.last_asked(fake.store)[fake.runs[index].id]


def test_the_policy_decides(fake, capsys):
    report = call(fake, capsys, 0)

    assert changes(report) == {"oom": "mem 2G -> 4G", "lost": "as before"}
    assert asked(fake, 0).mem == 4096
    assert asked(fake, 2).mem == 2048
    assert [left["id"] for left in report["left"]] == [fake.runs[1].id]
    assert "traceback" in report["left"][0]["why"]
    assert {job["job_id"] for job in report["jobs"]} == {"900"}
    scripts = [
        script.read_text() for script in (fake.store.root / "submitit" / "0002").glob("*.sh")
    ]
    assert sorted("--mem=4096M" in script for script in scripts) == [False, True]


def test_only_a_class(fake, capsys):
    report = call(fake, capsys, 0, classes=["exception"])
    assert [entry["id"] for entry in report["retried"]] == [fake.runs[1].id]


def test_all_that_failed_with_more_of_everything(fake, capsys):
    report = call(fake, capsys, 0, failed=True, mem="+1G", time="+50%")

    assert len(report["retried"]) == 3
    assert asked(fake, 1) == Resources(mem=3072, time=5400, cpus=1)


def test_a_second_retry_does_not_forget_the_first(fake, capsys):
    call(fake, capsys, 0, classes=["oom"])
    fake.fail(0, "900_0", "cancelled", submission=2)
    fake.queue()
    report = call(fake, capsys, 0, classes=["cancelled"])

    assert changes(report) == {"cancelled": "as before"}
    assert asked(fake, 0).mem == 4096


def test_named_runs_that_did_not_fail_are_told(fake, capsys):
    report = call(fake, capsys, 1, runs=[fake.runs[3].id])
    assert report["retried"] == []
    assert report["left"][0]["why"].startswith("running:")


def test_time_by_what_epochs_took(fake, capsys):
    attempt = fake.claim(0, "100_0")
    fake.progress(attempt, 2, epoch_s=1000.0)
    fake.end(attempt, "timeout")
    fake.queue()
    policy = {**fake.profile.policy, "timeout": "time"}
    report = call(
        fake, capsys, 0, classes=["timeout"], profile=replace(fake.profile, policy=policy)
    )

    assert changes(report) == {"timeout": "time 01:00:00 -> 02:40:00"}  # 8 epochs x 1000 s x 1.2


def test_the_node_it_failed_on_is_avoided(fake, capsys):
    fake.fail(3, "100_3", "gpu_missing", node="node7")
    fake.queue()
    report = call(fake, capsys, 0, classes=["gpu_missing"])

    assert changes(report) == {"gpu_missing": "not on node7"}
    assert asked(fake, 3).exclude == ("node7",)


def test_the_only_node_is_not_avoided(tmp_path, monkeypatch, capsys):
    fake = FakeSlurm(tmp_path, monkeypatch)
    fake.fail(0, "100_0", "node_fail", node="node1")
    fake.queue()
    report = call(fake, capsys, 0, runs=[fake.runs[0].id])

    assert changes(report) == {
        "node_fail": "as before; node1 is not avoided: no other node is known"
    }


def test_bad_nodes_are_avoided_by_all(tmp_path, monkeypatch, capsys):
    fake = FakeSlurm(tmp_path, monkeypatch, 8)
    for index in (0, 1):
        fake.fail(index, f"100_{index}", "killed", node="node7")
        fake.record(index, node="node1")
    fake.fail(2, "100_2", "oom", node="node1")
    fake.queue(*[(f"100_{index}", "PENDING") for index in range(3, 8)])
    report = call(fake, capsys, 0, exclude_bad_nodes=True)

    assert changes(report) == {"oom": "mem 2G -> 4G, not on node7"}


def test_nothing_to_retry(tmp_path, monkeypatch, capsys):
    fake = FakeSlurm(tmp_path, monkeypatch)
    fake.queue(*[(f"100_{index}", "PENDING") for index in range(4)])
    assert retry(fake.store, **NOTHING, as_json=False) == 1
    assert "nothing to retry: no run failed so; next: probprec status " in capsys.readouterr().out
    for index in range(4):
        fake.record(index)
    assert retry(fake.store, **NOTHING, as_json=False) == 0
    assert "every run has a record" in capsys.readouterr().out
    assert fake.calls("sbatch") == []


def test_nothing_is_sent_while_slurm_does_not_answer(fake, capsys):
    for index in (0, 1, 3):
        fake.record(index)
    fake.down()
    assert retry(fake.store, **NOTHING, as_json=False) == 1
    assert "of 1 runs nothing is known: Slurm cannot be asked" in capsys.readouterr().out


def test_the_table_for_people(fake, capsys):
    assert retry(fake.store, **NOTHING, as_json=False) == 0
    shown = capsys.readouterr().out

    assert "mem 2G -> 4G" in shown
    assert "job 900: array of 1 (1 runs)" in shown
    assert "not retried" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ["omm"]}, "did you mean 'oom'"),
        ({"mem": "8"}, "--mem 8: expected a size"),
        ({"time": "x0"}, "expected a factor above 0"),
        ({"runs": ["zz"]}, "no run of sweep begins"),
    ],
)
def test_wrong_input(fake, options, message):
    with pytest.raises(InputError, match=message):
        retry(fake.store, **(NOTHING | options), as_json=False)


def test_on_this_machine_there_are_no_limits(fake):
    local = Profile(name="local", engine="local")
    with pytest.raises(InputError, match="there are no limits"):
        retry(fake.store, **(NOTHING | {"profile": local, "mem": "x2"}), as_json=False)


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [("x2", 1000, 2000), ("+50%", 1001, 1502), ("+2G", 1024, 3072), ("8G", None, 8192)],
)
def test_amounts(text, before, after):
    assert escalate.parse_change("mem", text).of(before, "mem") == after


def test_a_relative_amount_of_nothing():
    with pytest.raises(InputError, match="nothing was asked for before"):
        escalate.parse_change("mem", "x2").of(None, "mem")
    assert escalate.with_memory(Resources(), None) == Resources()
    assert escalate.with_memory(Resources(mem_per_cpu=512), None) == Resources(mem_per_cpu=1024)
    assert escalate.described(Resources(), Resources(mem=8192)) == "mem 8G"


def test_memory_that_was_given_instead_of_memory_per_cpu_stays(fake):
    place = Profile(name="here", engine="slurm", resources=Resources(mem_per_cpu=1024, cpus=2))
    one = fake.sweep.runs[0]

    assert escalate.kept(one, place, Resources(mem=8192)) == Resources(mem=8192)
    assert escalate.kept(one, place, Resources(mem=1024)) == Resources()
    assert escalate.kept(one, place, None) == Resources()


@pytest.fixture
def placed(tmp_path, monkeypatch):
    """Runs that failed in a place that a file describes; its image was built by a recipe."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PROBPREC_IMAGES", raising=False)
    fake = FakeSlurm(tmp_path / "a folder", monkeypatch, sent=False)
    (tmp_path / "tree").mkdir()
    fake.recipe = tmp_path / "own.yaml"
    fake.recipe.write_text("base: {localimage: tree}\n")
    fake.place = tmp_path / "my place.yaml"
    fake.place.write_text(f"engine: slurm\nimage: {fake.recipe}\nsetup: [module load old]\n")
    build(fake.recipe)
    place = load(str(fake.place))
    fake.profile = replace(place, image=profile_image.image_of(place), threads=3)
    fake.send(range(4), job=100)
    fake.fail(0, "100_0", "import_error")
    fake.fail(1, "100_1", "oom")
    fake.queue()
    return fake


def build(recipe):
    """What `probprec build` leaves."""
    made = definition.of_recipe(read_recipe(recipe))
    image = Path("images", f"own-{made.key[:12]}.sif")
    image.parent.mkdir(exist_ok=True)
    image.write_bytes(b"an image")
    meta = {"schema": SCHEMA, "name": "own", "key": made.key, "size": 8, "built": 0.0}
    image.with_suffix(".json").write_text(json.dumps(meta))
    return image.resolve()


def last(fake):
    return content_of(fake.store.submissions()[-1])["profile"]


def test_the_printed_command_takes_what_was_mended(placed):
    """The profile's file as it is now, and the image that its recipe was built to since."""
    why, command = advice.commands(placed.store.root, "import_error", placed.runs[0].id)
    placed.place.write_text(placed.place.read_text().replace("old", "new"))
    placed.recipe.write_text("base: {localimage: tree}\nlabels: {a: b}\n")
    image = build(placed.recipe)

    assert cli.main(shlex.split(command)[1:]) == 0
    assert last(placed)["setup"] == ["module load new"]
    assert last(placed)["image"] == str(image)
    assert "--on" not in why
    assert "--on" not in advice.commands(placed.store.root, "oom", placed.runs[1].id)[1]
    placed.place.unlink()
    assert "--on" not in advice.commands(placed.store.root, "image", placed.runs[0].id)[1]


def test_what_is_not_retried_is_told_with_the_profile(placed, capsys):
    for index in (1, 2, 3):
        placed.record(index)
    assert retry(placed.store, **NOTHING, as_json=False) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert f"--failed --on '{placed.place}'" in said


def rebuilt(placed):
    placed.recipe.write_text("base: {localimage: tree}\nlabels: {a: b}\n")
    build(placed.recipe)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda _: None, None, id="nothing"),
        pytest.param(lambda placed: placed.place.unlink(), None, id="gone"),
        pytest.param(
            lambda placed: placed.place.write_text(placed.place.read_text() + "throttle: 2\n"),
            "my place.yaml has changed since; to use it: --on '",
            id="a key",
        ),
        pytest.param(
            lambda placed: placed.place.write_text("engine: slurm\n"),
            "my place.yaml has changed since; to use it: --on '",
            id="no image",
        ),
        pytest.param(
            lambda placed: placed.place.write_text("engine: slrum\n"),
            "my place.yaml has changed since: ",
            id="mistakes",
        ),
        pytest.param(
            lambda placed: placed.recipe.write_text("base: {localimage: own.yaml}\n"),
            "next: probprec build ",
            id="not built",
        ),
        pytest.param(rebuilt, "my place.yaml names another image since, ", id="rebuilt"),
    ],
)
def test_a_profile_that_has_changed_is_told(placed, capsys, monkeypatch, change, said):
    """In one line, for people and for machines; the runs go where the others went."""
    change(placed)
    assert retry(placed.store, **NOTHING, as_json=True) == 0
    out, err = capsys.readouterr()
    notes = [note for note in json.loads(out)["notes"] if "my place.yaml" in note]

    assert len(notes) == (said is not None)
    for note in notes:
        assert said in note
        assert f"to use it: --on '{placed.place}'" in note
        assert note in err.splitlines()
    assert last(placed)["setup"] == ["module load old"]

    placed.fail(1, "900_0", "oom", submission=2)
    monkeypatch.setenv("PROBPREC_IMAGES", "elsewhere")  # as in another shell
    if said is None:
        retry(placed.store, **NOTHING, as_json=True)
        assert "my place.yaml" not in capsys.readouterr().out


def test_who_names_the_profile_is_told_nothing(placed, capsys):
    placed.place.write_text(placed.place.read_text().replace("old", "new"))
    report = call(placed, capsys, 0, profile=load(str(placed.place)))
    assert not [note for note in report["notes"] if "place.yaml" in note]


def test_why_nothing_was_sent(tmp_path, monkeypatch, capsys):
    """A queue that is full of other jobs: as `submit` says it, in text and in JSON."""
    fake = FakeSlurm(tmp_path, monkeypatch)
    fake.fail(0, "100_0", "oom")
    fake.queue(("77", "PENDING"), *[(f"100_{index}", "CANCELLED") for index in (1, 2, 3)])
    profile = replace(fake.profile, limits=Limits(max_submit=1))
    report = call(fake, capsys, 1, profile=profile, classes=["oom"])

    assert report["jobs"] == []
    assert (report["feeder"], report["waiting"]) == (None, 1)
    assert report["problem"] == "the queue has no room, and nothing of this sweep is in it"
