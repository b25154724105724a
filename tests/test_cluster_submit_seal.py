"""What a submission writes down of the image and of the data, and what it refuses before it writes."""

import hashlib
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from cluster import cli
from cluster.submit import missing_data, profile_image, seal
from cluster.submit.data_places import DataPlaces
from containers import definition
from containers.images import SCHEMA
from jobs import hashes
from jobs.datasets import find
from jobs.errors import InputError
from jobs.manifests import registry
from jobs.profile import Limits, Profile
from jobs.store.store import Store
from tests.fake_slurm import FakeSlurm
from tests.helpers import content_of, make_plan

SPEC = "problems: [digits_mlp, fmnist_mlp]\noptimizers: {SGD: {lr: 0.1}}\nseeds: 1\nepochs: 1\n"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PROBPREC_IMAGES", raising=False)
    monkeypatch.delenv("PROBPREC_DATASETS", raising=False)
    monkeypatch.delenv("PROBPREC_DATA", raising=False)


@pytest.fixture
def sweep(tmp_path):
    from jobs import spec

    (tmp_path / "both.yaml").write_text(SPEC)
    return spec.load(tmp_path / "both.yaml")


@pytest.fixture
def runs(sweep):
    return [planned.run for planned in sweep.runs]


def sealed(sweep, runs, store=None, **profile):
    """What a submission would write down of the data; `store` gets the manifests."""
    place = Profile(name="p", engine="slurm", **profile)
    if store is None:
        return seal.sealed_data(DataPlaces.of(sweep, place), runs)[0].to_json()
    found = seal.sealed(sweep, place, [one for one in sweep.runs if one.run in runs], store)
    found.keep_manifests(store)
    return found.data.to_json()


def test_a_submission_reads_the_data_once(tmp_path, monkeypatch):
    """What was looked at before the sweep was held is what is written down."""
    FakeSlurm(tmp_path / "fake", monkeypatch, sent=False).queue()
    described, known = registry.manifest_of_dataset, registry.all_
    seen, read = [], []
    monkeypatch.setattr(
        registry, "manifest_of_dataset", lambda *words: seen.append(words) or described(*words)
    )
    monkeypatch.setattr(registry, "all_", lambda folder: read.append(folder) or known(folder))
    (tmp_path / "both.yaml").write_text(SPEC)
    (tmp_path / "place.yaml").write_text("engine: slurm\n")
    words = ["submit", "both.yaml", "--on", "./place.yaml", "--root", "sweeps"]

    assert cli.main([*words, "--dry-run"]) == 0
    assert (len(seen), len(read), (tmp_path / "sweeps").exists()) == (1, 1, False)
    assert cli.main(words) == 0
    assert (len(seen), len(read)) == (2, 2)
    store = Store(tmp_path / "sweeps" / "both")
    found = content_of(store.submission(1))["datasets"]["fmnist"]
    assert store.manifest_file(found["sha256"]).is_file()


def test_a_seal_is_made_anew_when_it_may_not_hold_any_more(sweep, tmp_path):
    """Whoever waited for the sweep finds that others have submitted, or have done some of its runs."""
    store, place = Store(tmp_path / "sweep"), Profile(name="p", engine="slurm")
    made = seal.sealed(sweep, place, sweep.runs, store)
    assert made.up_to_date(sweep, sweep.runs[::-1], store) is made

    digits = [one for one in sweep.runs if one.problem == "digits_mlp"]
    assert set(made.data.datasets) == {"fmnist"}
    assert not made.up_to_date(sweep, digits, store).data.datasets
    store.new_submission(
        make_plan(registered={"fmnist": "gone"}, datasets=made.data.to_json()["datasets"])
    )
    with pytest.raises(InputError, match=r"data set fmnist: .* sealed it"):
        made.up_to_date(sweep, sweep.runs, store)


def test_data_is_sealed_by_its_manifest(sweep, runs, tmp_path):
    """Where it lies and what it is; what Python packages carry is left to them."""
    store = Store(tmp_path / "sweep")
    content = sealed(sweep, runs, store)
    ((name, found),) = content["datasets"].items()

    assert name == "fmnist"
    assert found["path"] == str(find.find("fmnist").resolve())
    kept = json.loads(store.manifest_file(found["sha256"]).read_bytes())
    assert {Path(file["path"]).name.partition(".")[0] for file in kept["files"]} == {
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    }
    assert content["own_data"] is None


def test_what_was_added_is_taken_from_there(sweep, runs, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in find.find("fmnist").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    registry.add(tmp_path / "datasets", "fmnist", copy)
    (copy / "README").touch()  # no problem of the catalog reads it
    assert sealed(sweep, runs)["datasets"]["fmnist"]["path"] == str(copy)

    changed = copy / "t10k-labels-idx1-ubyte.gz"
    changed.write_bytes(changed.read_bytes() + b"\0")
    with pytest.raises(InputError, match=r"t10k-labels-idx1-ubyte\.gz") as error:
        sealed(sweep, runs)
    assert "probprec data verify fmnist" in str(error.value)


def test_data_that_only_nodes_can_see_is_left_to_them(sweep, runs):
    """The profile says so, whatever lies there here."""
    place = {"data": find.find("fmnist"), "data_on_nodes": True}
    assert sealed(sweep, runs, **place)["datasets"] == {}


@pytest.fixture
def unadded(tmp_path):
    """A sweep of an own problem, with a folder of data that nobody added."""
    from jobs import spec

    (tmp_path / "mine.py").write_text(
        "from jobs.problems.problem import Problem\n\n\nclass Mine(Problem):\n    pass\n"
    )
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "x.bin").write_bytes(b"x")
    (tmp_path / "own.yaml").write_text(
        'problems: {m: {problem: "mine:Mine", epochs: 1, batch_size: 2}}\n'
        "optimizers: {SGD: {lr: 0.1}}\nseeds: 1\ndata: own\n"
    )
    return spec.load(tmp_path / "own.yaml")


def test_the_data_of_own_problems_is_sealed_though_nobody_added_it(unadded, tmp_path):
    """By all that is in the folder; and a retry needs no registry for it."""
    chosen = [planned.run for planned in unadded.runs]
    store = Store(tmp_path / "sweep")
    content = sealed(unadded, chosen, store)
    ((name, found),) = content["datasets"].items()

    assert content["own_data"] == name
    assert (content["registered"], content["unverified"]) == ({}, None)
    assert found["path"] == str(tmp_path / "own")
    (file,) = json.loads(store.manifest_file(found["sha256"]).read_bytes())["files"]
    assert (file["path"], file["sha256"]) == ("x.bin", hashlib.sha256(b"x").hexdigest())
    store.save(unadded)
    store.new_submission(make_plan(**content))
    place = Profile(name="p", engine="slurm")
    missing_data.require_as_before(DataPlaces.of(unadded, place), chosen, store)

    (tmp_path / "own" / "x.bin").write_bytes(b"y")
    assert sealed(unadded, chosen)["datasets"][name]["sha256"] != found["sha256"]


def test_hashes_of_many_files_are_not_remembered_one_by_one(unadded, tmp_path, monkeypatch):
    """Each would be a file on the login node."""
    monkeypatch.setattr(hashes, "MOST_REMEMBERED", 1)
    monkeypatch.setattr(hashes, "known_sha256", None)
    (tmp_path / "own" / "y.bin").write_bytes(b"y")
    content = sealed(unadded, [planned.run for planned in unadded.runs])

    assert content["own_data"] is not None


def too_large(folder):
    (folder / "x.bin").write_bytes(bytes(1 << 20))


def link(folder):
    (folder / "link").symlink_to(folder / "x.bin")


def gone(folder):
    shutil.rmtree(folder)


def empty(folder):
    (folder / "x.bin").unlink()


def only_a_file(folder):
    shutil.rmtree(folder)
    folder.write_bytes(b"x")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (too_large, r"own has more than 0 MiB or .* files \(limits: max_hashed_data\)"),
        (link, "own/link is neither a plain file nor a folder"),
        (gone, "own cannot be seen here"),
        (empty, "own has no files"),
        (only_a_file, "own is a file, not a folder"),
    ],
)
def test_data_that_gets_no_manifest_is_called_unverified(unadded, tmp_path, change, why):
    change(tmp_path / "own")
    chosen = [planned.run for planned in unadded.runs]
    content = sealed(
        unadded, chosen, limits=Limits(max_hashed_data=0 if change is too_large else 9)
    )

    assert (content["datasets"], content["own_data"]) == ({}, None)
    assert re.search(why, content["unverified"])


def test_the_data_of_own_problems(unadded, tmp_path):
    """What was added from the folder that the spec names as `data:`."""
    found = unadded
    chosen = [planned.run for planned in found.runs]
    added = registry.add(tmp_path / "datasets", "things", tmp_path / "own")
    content = sealed(found, chosen)
    assert content["own_data"] == "things"
    assert content["datasets"]["things"]["sha256"] == added.manifest.sha256
    assert content["registered"] == {"things": str(tmp_path / "datasets")}

    (tmp_path / "own" / "y.bin").write_bytes(b"y")
    with pytest.raises(InputError, match=r"y\.bin: is not in its manifest"):
        sealed(found, chosen)


def test_where_one_stands_is_no_data(tmp_path, monkeypatch):
    """Without `data:` an own problem gets none, not even that of the current folder."""
    from jobs import spec

    own = tmp_path / "own"
    own.mkdir()
    (own / "x.bin").write_bytes(b"x")
    registry.add(tmp_path / "datasets", "things", own)
    monkeypatch.setenv("PROBPREC_DATASETS", str(tmp_path / "datasets"))
    (tmp_path / "mine.py").write_text("class Mine:\n    pass\n")
    (tmp_path / "bare.yaml").write_text(
        'problems: {m: {problem: "mine:Mine", epochs: 1, batch_size: 2}}\n'
        "optimizers: {SGD: {lr: 0.1}}\nseeds: 1\n"
    )
    found = spec.load(tmp_path / "bare.yaml")
    monkeypatch.chdir(own)

    assert sealed(found, [planned.run for planned in found.runs]) == {
        "datasets": {},
        "own_data": None,
        "unverified": None,
        "registered": {},
    }


def profile(folder, line):
    (folder / "place.yaml").write_text(f"engine: local\nthreads: 1\n{line}\n")
    return str(folder / "place.yaml")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("image: nowhere.sif", "nowhere.sif cannot be read: No such file"),
        ("image: own.yaml", "next: probprec build"),
    ],
)
def test_an_image_that_is_not_there_stops_before_anything_is_written(
    tmp_path, capsys, line, message
):
    (tmp_path / "tree").mkdir()
    (tmp_path / "own.yaml").write_text("base: {localimage: tree}\n")
    (tmp_path / "small.yaml").write_text(SPEC)
    before = sorted(tmp_path.iterdir())
    place = profile(tmp_path, line)

    assert cli.main(["submit", "small.yaml", "--on", place]) == 2
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "place.yaml"])


def test_the_image_of_a_recipe(tmp_path):
    """The one that was built from it as it is now."""
    from cluster.recipe.recipe_file import read_recipe

    (tmp_path / "tree").mkdir()
    recipe = tmp_path / "own.yaml"
    recipe.write_text("base: {localimage: tree}\n")
    made = definition.of_recipe(read_recipe(recipe))
    image = tmp_path / "images" / f"own-{made.key[:12]}.sif"
    image.parent.mkdir()
    image.write_bytes(b"an image")
    meta = {"schema": SCHEMA, "name": "own", "key": made.key, "size": 8, "built": 0.0}
    image.with_suffix(".json").write_text(json.dumps(meta))
    place = Profile(name="p", engine="slurm", image=recipe)
    found = profile_image.sealed(place).to_json()

    assert found == {"path": str(image), "sha256": hashlib.sha256(b"an image").hexdigest()}
    recipe.write_text("base: {localimage: tree}\nlabels: {a: b}\n")
    with pytest.raises(InputError, match="has changed since"):
        profile_image.sealed(place)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Runs of an own problem, one of which failed; its data was added before they were submitted."""
    fake = FakeSlurm(tmp_path / "fake", monkeypatch, sent=False)
    fake.queue()
    (tmp_path / "mine.py").write_text("class Mine:\n    pass\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.bin").write_bytes(b"x")
    (tmp_path / "own.yaml").write_text(
        'problems: {m: {problem: "mine:Mine", epochs: 1, batch_size: 2}}\n'
        "optimizers: {SGD: {lr: 0.1}}\nseeds: 1..2\ndata: data\n"
    )
    (tmp_path / "place.yaml").write_text("engine: slurm\n")
    registry.add(tmp_path / "my sets", "things", tmp_path / "data")
    monkeypatch.setenv("PROBPREC_DATASETS", "my sets")
    monkeypatch.setenv("PROBPREC_ROOT", str(tmp_path / "sweeps"))
    assert cli.main(["submit", "own.yaml", "--on", "./place.yaml"]) == 0
    fake.store = Store(tmp_path / "sweeps" / "own")
    fake.runs = [planned.run for planned in fake.store.sweep().runs]
    fake.fail(0, "900_0", "exception")
    return fake


def everything(folder):
    return {
        path: path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "fake_slurm" not in path.parts and path.suffix != ".calls"
    }


def commands(tmp_path):
    place = str(tmp_path / "place.yaml")
    submit = ["submit", str(tmp_path / "own.yaml"), "--on", place]
    return [["retry", "own", "--failed"], submit, [*submit, "--dry-run"]]


def test_a_seal_is_not_dropped_in_another_shell(own, tmp_path, monkeypatch, capsys):
    """Where what was added is not known, nothing is written and nothing is sent."""
    monkeypatch.delenv("PROBPREC_DATASETS")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    before = everything(tmp_path)
    for command in commands(tmp_path):
        assert cli.main(command) == 2
        said = capsys.readouterr().err

        assert f"data set things: {own.store.submission(1).file} sealed it" in said
        assert f"looked in: {tmp_path / 'elsewhere' / 'datasets'}\n" in said
        assert f"next: export PROBPREC_DATASETS='{tmp_path / 'my sets'}'\n" in said
        assert f"probprec data add things {tmp_path / 'data'}" in said
        assert everything(tmp_path) == before
    assert len(own.calls("sbatch")) == 1

    exported = next(line for line in said.splitlines() if line.startswith("next: export"))
    name, _, value = shlex.split(exported)[-1].partition("=")
    monkeypatch.setenv(name, value)
    assert cli.main(commands(tmp_path)[0]) == 0
    first, second = (content_of(one) for one in own.store.submissions())
    assert second["own_data"] == "things"
    assert second["datasets"] == first["datasets"]
    assert second["registered"] == {"things": str(tmp_path / "my sets")}


def test_a_seal_that_older_submissions_have_is_not_dropped(own, tmp_path, monkeypatch, capsys):
    """Also where a later one had no use for it, and none says where it was added."""
    content = content_of(own.store.submission(1))
    del content["registered"]
    own.store.submission(1).file.write_text(json.dumps(content))
    later = content | {"datasets": {}, "own_data": None, "groups": []}
    own.store.new_submission(make_plan(**later))
    monkeypatch.delenv("PROBPREC_DATASETS")

    assert cli.main(commands(tmp_path)[0]) == 2
    assert "next: export PROBPREC_DATASETS=DIR, where it was added" in capsys.readouterr().err


@pytest.mark.usefixtures("own")
def test_the_manifest_is_gone(tmp_path, capsys):
    shutil.rmtree(tmp_path / "my sets")
    command = commands(tmp_path)[0]

    assert cli.main(command) == 2
    said = capsys.readouterr().err
    assert "it is no longer in" in said
    assert f"\nnext: probprec data add things {tmp_path / 'data'}\n" in said
    assert cli.main(["data", "add", "things", str(tmp_path / "data")]) == 0
    assert cli.main(command) == 0


@pytest.mark.usefixtures("own")
def test_what_was_added_lies_elsewhere_now(tmp_path, capsys):
    (tmp_path / "data").rename(tmp_path / "moved")
    registry.add(tmp_path / "my sets", "things", tmp_path / "moved")

    assert cli.main(commands(tmp_path)[0]) == 2
    assert f"which knows it from {tmp_path / 'moved'}\n" in capsys.readouterr().err


def test_runs_that_have_a_record_need_no_seal(own, tmp_path, monkeypatch):
    monkeypatch.delenv("PROBPREC_DATASETS")
    command = commands(tmp_path)[1]
    own.record(0)
    assert cli.main([*command, "--only", "seed=1"]) == 0
    assert cli.main(command) == 2
    own.record(1)
    assert cli.main(command) == 0


@pytest.mark.usefixtures("own")
def test_other_data_is_no_lost_seal(tmp_path):
    """Who names another folder as `data:`, with what was added at hand, has decided so."""
    (tmp_path / "other").mkdir()
    command = commands(tmp_path)[1]
    assert cli.main([*command, "--name", "own", "--set", f"data={tmp_path / 'other'}"]) == 0


def test_a_seal_of_the_catalog_is_not_dropped(sweep, runs, tmp_path, monkeypatch):
    """Only one that was added: what was found is found, and sealed, again."""
    store = Store(tmp_path / "sweep")
    place = Profile(name="p", engine="slurm")
    store.new_submission(make_plan(**sealed(sweep, runs)))
    missing_data.require_as_before(DataPlaces.of(sweep, place), runs, store)

    registry.add(tmp_path / "datasets", "fmnist", find.find("fmnist"))
    store.new_submission(make_plan(**sealed(sweep, runs)))
    missing_data.require_as_before(DataPlaces.of(sweep, place), runs, store)
    monkeypatch.setenv("PROBPREC_DATASETS", str(tmp_path / "none"))
    with pytest.raises(InputError, match=f"data set fmnist: {store.submission(2).file} sealed"):
        missing_data.require_as_before(DataPlaces.of(sweep, place), runs, store)
    digits = [run for run in runs if run.problem == "digits_mlp"]
    missing_data.require_as_before(DataPlaces.of(sweep, place), digits, store)


def test_data_that_an_image_cannot_see():
    """Where it was added from has what separates paths for --bind."""
    with pytest.raises(InputError, match="/d:1: data in a path with : or , cannot be bound"):
        seal._require_bindable([Path("/d:1"), Path("/d2")])
