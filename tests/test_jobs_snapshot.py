"""The code that runs use: what is kept, that it is found again, and that it imports."""

import os
import zipfile

import pytest

from jobs import optimizers, snapshot
from jobs.errors import DriftedError, InputError
from tests.helpers import make_run, python

# Counts the modules that are compiled, for zipimport asks this function.
COUNTING = """
import zipimport
compiled, compile_source = [], zipimport._compile_source
zipimport._compile_source = lambda path, text: compiled.append(path) or compile_source(path, text)
"""


def names_in(file):
    return set(zipfile.ZipFile(file).namelist())


@pytest.fixture
def own(tmp_path):
    """A folder with an own module, and what is no code beside it."""
    folder = tmp_path / "own"
    for name, text in {
        "my_opt.py": "VALUE = 1\n",
        "package/part.py": "VALUE = 2\n",
        "data.csv": "1\n",
        "package/__init__.py": "",
        "package/words/few.txt": "a\n",
        "notes/of_last_week.txt": "no code lies here\n",
        ".hidden/a.py": "",
        "venv/pyvenv.cfg": "",
        "venv/lib/b.py": "",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_the_same_code_is_the_same_file(tmp_path):
    first = snapshot.take(tmp_path)
    before = first.file.stat().st_mtime_ns
    again = snapshot.take(tmp_path)

    assert again == first
    assert first.file.stat().st_mtime_ns == before
    assert snapshot.found_sha256(first.file) == first.sha256
    assert first.sha256.startswith(first.file.stem)


def test_own_code_is_kept(tmp_path, own):
    without = snapshot.take(tmp_path)
    taken = snapshot.take(tmp_path, (str(own),))
    names = {name for name in names_in(taken.file) if name.startswith("own/")}

    assert without.own == ()
    assert taken.own == ("own/0",)
    assert names == {
        "own/0/my_opt.py",
        "own/0/data.csv",
        "own/0/package/__init__.py",
        "own/0/package/part.py",
        "own/0/package/words/few.txt",
    }


def test_what_is_no_plain_file_is_no_code(tmp_path, own):
    """An editor's lock leads nowhere, and a pipe would be read for ever."""
    (own / ".#my_opt.py").symlink_to("user@host.1234")
    (own / "gone.py").symlink_to("nowhere.py")
    os.mkfifo(own / "pipe.py")
    os.mkfifo(own / "pipe")
    taken = snapshot.take(tmp_path, (str(own),))

    own_names = [name for name in names_in(taken.file) if name.startswith("own/")]
    assert not [name for name in own_names if "pipe" in name or "gone" in name]


def test_large_files_are_no_code(tmp_path, own, monkeypatch):
    """Nor is what only its owner may read; nor what lies beside a module, if it is a lot in all."""
    (own / "weights.pt").write_bytes(b"0" * 1_000_001)
    (own / "token.txt").touch(mode=0o600)
    taken = snapshot.take(tmp_path, (str(own),))
    assert "own/0/data.csv" in names_in(taken.file)
    assert not {"own/0/weights.pt", "own/0/token.txt"} & names_in(taken.file)

    monkeypatch.setattr(snapshot, "_SIDE_FILES_MAX_BYTES", 3)
    taken = snapshot.take(tmp_path, (str(own),))
    assert "own/0/package/part.py" in names_in(taken.file)
    assert not [name for name in names_in(taken.file) if name.endswith((".csv", ".txt"))]


def test_who_shares_nothing_has_no_secrets(tmp_path, own):
    """With umask 077 all files are one's own, and so is the snapshot."""
    for path in own.rglob("*"):
        path.chmod(0o700)
    taken = snapshot.take(tmp_path, (str(own),))

    assert "own/0/data.csv" in names_in(taken.file)


def test_own_code_is_unpacked_as_it_was(tmp_path, own):
    taken = snapshot.take(tmp_path, (str(own),))
    snapshot.unpack_own(taken.file, tmp_path / "there")
    there = tmp_path / "there"

    assert [path.name for path in there.iterdir()] == ["own"]
    assert (there / "own/0/package/words/few.txt").read_text() == "a\n"
    assert (there / "own/0/my_opt.py").read_bytes() == (own / "my_opt.py").read_bytes()


def test_a_toolkit_from_elsewhere_is_refused(tmp_path):
    """A path that PYTHONPATH cannot hold would quietly give the installed one."""
    taken = snapshot.take(tmp_path)
    snapshot.require_imported_from(snapshot.ROOT)
    with pytest.raises(DriftedError, match="not from the snapshot"):
        snapshot.require_imported_from(taken.file)
    code = f"import pathlib, jobs.snapshot as s; s.require_imported_from(pathlib.Path({str(taken.file)!r}))"
    python(code, taken.file)


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        (make_run(), False),
        (make_run(optimizer="probprec.Preconditioner"), False),
        (make_run(optimizer="my_opt.Mine"), True),
        (make_run(problem="my_problem:Blobs"), True),
        (make_run(regime={"schedule": {"class": "my_sched.Mine", "gamma": 0.9}}), True),
        (make_run(regime={"schedule": {"class": "torch.optim.lr_scheduler.StepLR"}}), False),
        (make_run(regime={"groups": [{"dims": [1]}, {"dims": [0], "class": "my_opt.Mine"}]}), True),
        (make_run(hyperparameters={"optim_class": {"class": "my_opt.Mine"}}), True),
    ],
)
def test_what_own_code_is(used, expected):
    assert optimizers.uses_own_code([used]) is expected


def test_runs_import_from_it(tmp_path):
    """Its digest is that of the files."""
    taken = snapshot.take(tmp_path)
    code = "import jobs.snapshot as s; print(s.ROOT, s.code_digest())"

    assert python(code, taken.file).split() == [str(taken.file), snapshot.code_digest()]


def test_the_python_that_submits_compiles_for_all(tmp_path):
    """Of what launchers and trainings import of ours, nothing is compiled again."""
    taken = snapshot.take(tmp_path)
    code = f"{COUNTING}\nimport cluster.task, jobs.training\nprint(compiled)"

    assert python(code, taken.file).strip() == "[]"


def test_another_python_reads_the_sources(tmp_path):
    """Bytecode begins with a number that each version of Python changes."""
    taken = snapshot.take(tmp_path)
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(taken.file) as archive, zipfile.ZipFile(other, "w") as copy:
        for name in archive.namelist():
            content = archive.read(name)
            is_bytecode = name.endswith(".pyc")
            copy.writestr(name, b"\x01\x02\r\n" + content[4:] if is_bytecode else content)
    code = f"{COUNTING}\nimport cluster.task as t\nprint(t.__file__)\nprint(*compiled)"
    file, compiled = python(code, other).splitlines()

    assert file == f"{other}/cluster/task.py"
    assert file in compiled.split()


def test_whoever_submits_the_same_code_makes_the_same_file(tmp_path):
    """Whatever else was imported, in whatever order sets are, and however Python was started."""
    code = (
        f"import pathlib, jobs.snapshot as s;print(s.take(pathlib.Path({str(tmp_path)!r})).sha256)"
    )
    plain = python(code, snapshot.ROOT)
    again = python(f"import cluster.commands.run, asyncio\n{code}", snapshot.ROOT, options=["-O"])

    assert plain == again
    assert len(list(tmp_path.iterdir())) == 1


def test_without_keeping_nothing_is_written(tmp_path, monkeypatch):
    """Nor compiled: whoever asks for a dry run does not wait for it."""
    monkeypatch.setattr(snapshot, "_bytecode", None)
    snapshot.take(tmp_path / "code", keep=False)

    assert not (tmp_path / "code").exists()


def test_a_home_directory_is_no_folder_of_code(tmp_path, own, monkeypatch):
    monkeypatch.setattr(snapshot, "_OWN_FILES_MAX", 1)
    with pytest.raises(InputError, match=r"code: \[FOLDER\]"):
        snapshot.take(tmp_path / "code", (str(own),))


def test_what_an_editor_or_a_shell_left_is_no_code(tmp_path, own):
    """A lock of Emacs is a link to nowhere, and reading a pipe would never end."""
    before = snapshot.take(tmp_path / "before", [str(own)])
    (own / ".#mine.py").symlink_to("somebody@host.123:456")
    os.mkfifo(own / "pipe.py")
    (own / "folder.py").mkdir()
    after = snapshot.take(tmp_path / "after", [str(own)])

    assert after.sha256 == before.sha256
