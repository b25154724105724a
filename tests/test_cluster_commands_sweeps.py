"""The sweeps below a root: what `ls` shows of them, and what is said to a name that is none."""

import json

import pytest

from cluster import cli
from tests.fake_slurm import FakeSlurm
from tests.make_sweep import make_sweep

SPEC = "problems: [digits_mlp]\noptimizers: {SGD: {lr: 0.1}}\nseeds: 1..2\nepochs: 1\n"


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Two sweeps, one of them with a gap, and what else lies there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PROBPREC_ROOT", raising=False)
    folder = tmp_path / "sweeps"
    make_sweep(folder / "quick", problems=["digits_mlp"])
    make_sweep(
        folder / "quick@epochs=1",
        problems=["digits_mlp"],
        diverges=lambda planned: 3 if planned.optimizer == "Adam" else None,
        is_recorded=lambda planned: planned.run.seed < 44,
    )
    (folder / "notes").mkdir()
    (folder / "notes" / "today.txt").write_text("no sweep")
    (folder / "README").write_text("nor this")
    (tmp_path / "quick.yaml").write_text(SPEC)
    (tmp_path / "site.yaml").write_text("engine: slurm\n")
    return folder


def listed(capsys, *words):
    assert cli.main(["ls", "--json", *words]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == 1
    return {one["name"]: one for one in found["sweeps"]}


def test_every_sweep_is_there_with_its_states(root, capsys):
    found = listed(capsys)

    assert list(found) == ["quick", "quick@epochs=1"]
    assert found["quick"]["states"] == {"completed": 6}
    assert found["quick@epochs=1"]["states"] == {"completed": 2, "diverged": 2, "pending": 2}
    files = [path for path in (root / "quick").rglob("*") if path.is_file()]
    states = root / "quick" / "states.json"  # written when all had been looked at
    size = sum(path.stat().st_size for path in files if path != states)
    assert size <= found["quick"]["bytes"] <= size + states.stat().st_size
    assert found["quick"]["age_s"] >= 0
    assert (root / "quick").samefile(found["quick"]["path"])

    assert cli.main(["ls"]) == 0
    said = capsys.readouterr().out
    assert "2 completed, 2 diverged, 2 pending" in " ".join(said.split())
    assert "notes" not in said


@pytest.mark.parametrize("text", ["", "{", "[]", '{"runs": 3}', '{"name": "x", "runs": [{}]}'])
def test_a_sweep_that_cannot_be_read_is_shown_as_such(root, capsys, text):
    (root / "broken").mkdir()
    (root / "broken" / "sweep.json").write_text(text)
    (root / "closed").symlink_to("closed")
    (root / "shut").mkdir()
    (root / "shut" / "sweep.json").symlink_to("sweep.json")  # as unreadable, for root, too
    found = listed(capsys)

    assert "cannot be read" in found["broken"]["problem"]
    assert found["shut"]["problem"] == "Too many levels of symbolic links"
    assert found["broken"]["bytes"] is None
    assert found["quick"]["problem"] is None
    assert cli.main(["ls"]) == 0


def test_files_that_are_garbage_are_no_traceback(root, capsys):
    store = make_sweep(root / "odd", problems=["digits_mlp"], is_recorded=lambda _: False)
    run = store.folders().__next__()
    run.claim().release()
    run.journal_file.write_text('{"event": "ended", "fence": 1, "step": {}}\n{"fence": 1}\n[]\n')
    (run.path / "attempts" / "0001" / "progress.jsonl").write_text('{"epoch_s": "x"}\n')

    assert sum(listed(capsys)["odd"]["states"].values()) == 6


def test_slurm_is_not_asked(tmp_path, monkeypatch, capsys):
    fake = FakeSlurm(tmp_path, monkeypatch)
    fake.down()

    assert listed(capsys, "--root", str(tmp_path))["sweep"]["states"] == {"pending": 4}
    assert fake.calls("squeue") == []


def test_a_root_without_sweeps(tmp_path, capsys):
    assert listed(capsys, "--root", str(tmp_path / "none")) == {}
    assert cli.main(["ls", "--root", str(tmp_path)]) == 0
    assert "no sweep below" in capsys.readouterr().out
    (tmp_path / "file").write_text("")
    assert cli.main(["ls", "--root", str(tmp_path / "file")]) == 2
    assert "cannot be read: Not a directory" in capsys.readouterr().err


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("status quik", "; did you mean 'quick'? (there are: quick, quick@epochs=1;"),
        ("collect Quick", "; did you mean 'quick'?"),
        ("plot sweeps/quikc", "; did you mean 'quick'?"),
        ("cancel quick@epochs", "; did you mean 'quick@epochs=1'?"),
        ("retry zzz", "is no sweep: it has no sweep.json (there are: quick, quick@epochs=1;"),
        ("redo zzz --root none", "; there is no sweep below none, where --root"),
        ("why abc --of qick", "; did you mean 'quick'?"),
        (
            "status quick.yaml",
            "its sweeps are quick, quick@epochs=1: probprec status quick or probprec status quick@",
        ),
        ("collect site.yaml", "site.yaml is no sweep, but a cluster's profile: probprec run SPEC"),
        ("status sweeps/README", "sweeps/README is no sweep, but a file; sweeps are named by"),
        (
            "run quick.yaml --on quick.yaml",
            "quick.yaml:1:1: expected a cluster's profile, and this is an experiment's spec: probprec",
        ),
        (
            "submit site.yaml",
            "expected an experiment's spec, and this is a cluster's profile: probprec run SPEC --on ./",
        ),
        ("check site.yaml", "this is a cluster's profile"),
        ("build quick.yaml", "expected an image's recipe, and this is an experiment's spec"),
        ("run quick", "quick is a sweep, not a spec; the spec that made it: "),
    ],
)
def test_what_was_meant_is_said(capsys, words, said):
    assert cli.main(words.split()) == 2
    assert said in capsys.readouterr().err


def test_a_spec_that_was_never_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text(f"name: mine\n{SPEC}oops: 1\n")

    assert cli.main(["status", "own.yaml"]) == 2
    said = capsys.readouterr().err
    assert "is a spec, and its sweep mine is not below sweeps: probprec run own.yaml" in said


def test_the_command_for_a_spec_names_the_root(root, capsys):
    root.rename(root.parent / "my sweeps")
    assert cli.main(["status", "quick.yaml", "--root", "my sweeps"]) == 2
    assert "probprec status quick --root 'my sweeps'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("stauts quick", "no 'stauts'; did you mean 'status'? (there are: init, check, "),
        ("image lst", "no 'lst'; did you mean 'list'?"),
        ("plot quick --figure gird", "no 'gird'; did you mean 'grid'?"),
        ("xyzzy", "no 'xyzzy' (there are: init, check, "),
    ],
)
def test_a_mistyped_command(capsys, words, said):
    with pytest.raises(SystemExit) as left:
        cli.main(words.split())
    assert left.value.code == 2
    assert said in capsys.readouterr().err
