"""The code that runs use: what is kept, that it is found again, and that it imports."""

import hashlib
import os
import subprocess
import sys
import zipfile

import pytest

from jobs import snapshot
from jobs.errors import InputError
from tests.helpers import make_run

# Counts the modules that are compiled, for zipimport asks this function.
COUNTING = """
import zipimport
compiled, compile_source = [], zipimport._compile_source
zipimport._compile_source = lambda path, text: compiled.append(path) or compile_source(path, text)
"""


def python(code, *folders, cwd=None, options=()):
    """What a new Python prints that imports from these folders, before all others."""
    done = subprocess.run(
        [sys.executable, *options, "-c", code],
        env={"PYTHONPATH": ":".join(map(str, folders)), "PYTHONSAFEPATH": "1"},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


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
        ".hidden/a.py": "",
        "venv/pyvenv.cfg": "",
        "venv/lib/b.py": "",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_the_same_code_is_the_same_file(tmp_path):
    first = snapshot.take(tmp_path, (), [make_run()])
    before = first.file.stat().st_mtime_ns
    again = snapshot.take(tmp_path, (), [make_run()])

    assert again == first
    assert first.file.stat().st_mtime_ns == before
    assert snapshot.found_sha256(first.file) == first.sha256
    assert first.sha256.startswith(first.file.stem)


def test_own_code_is_kept_if_a_run_uses_it(tmp_path, own):
    without = snapshot.take(tmp_path, (str(own),), [make_run()])
    taken = snapshot.take(tmp_path, (str(own),), [make_run(), make_run(optimizer="my_opt:Mine")])
    names = {name for name in zipfile.ZipFile(taken.file).namelist() if name.startswith("own/")}

    assert without.own == ()
    assert taken.own == ("own/0",)
    assert {name for name in names if not name.endswith(".pyc")} == {
        "own/0/my_opt.py",
        "own/0/package/part.py",
    }


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        (make_run(), False),
        (make_run(optimizer="probprec.Preconditioner"), False),
        (make_run(optimizer="my_opt.Mine"), True),
        (make_run(problem="my_problem:Blobs"), True),
    ],
)
def test_what_own_code_is(used, expected):
    assert snapshot.uses_own_code([used]) is expected


def test_runs_import_from_it(tmp_path, own):
    """The toolkit and own modules come from the zip; its digest is that of the files."""
    taken = snapshot.take(tmp_path, (str(own),), [make_run(optimizer="my_opt:Mine")])
    code = (
        "import my_opt, jobs.snapshot as s, jobs.provenance as p;"
        "print(my_opt.VALUE, s.ROOT, p.code_digest(), p.code_digest() == DIGEST)"
    )
    from jobs import provenance

    code = code.replace("DIGEST", repr(provenance.code_digest()))
    words = python(code, taken.file, f"{taken.file}/own/0").split()

    assert words[:2] == ["1", str(taken.file)]
    assert words[3] == "True"


def test_the_python_that_submits_compiles_for_all(tmp_path, own):
    """Of what launchers and trainings import, down to the own modules, nothing is compiled again."""
    taken = snapshot.take(tmp_path, (str(own),), [make_run(optimizer="my_opt:Mine")])
    code = f"{COUNTING}\nimport cluster.task, jobs.training, my_opt\nprint(compiled)"

    assert python(code, taken.file, f"{taken.file}/own/0").strip() == "[]"


def test_another_python_reads_the_sources(tmp_path):
    """Bytecode begins with a number that each version of Python changes."""
    taken = snapshot.take(tmp_path, (), [make_run()])
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
        "import pathlib, jobs.snapshot as s;"
        f"print(s.take(pathlib.Path({str(tmp_path)!r}), (), []).sha256)"
    )
    plain = python(code, snapshot.ROOT)
    again = python(f"import cluster.run, asyncio\n{code}", snapshot.ROOT, options=["-O"])

    assert plain == again
    assert len(list(tmp_path.iterdir())) == 1


def test_sources_that_are_no_python(tmp_path, own):
    """They are kept as they are; who imports one learns what is wrong with it."""
    (own / "broken.py").write_text("def (\n")
    (own / "bytes.py").write_bytes(b"VALUE = '\xff'\0\n")
    (own / "doubtful.py").write_text("PATTERN = '\\d'\n")
    taken = snapshot.take(tmp_path / "code", (str(own),), [make_run(optimizer="my_opt:Mine")])
    own_names = {name.partition("own/0/")[2] for name in names_in(taken.file)} - {""}

    assert {"broken.py", "bytes.py", "doubtful.py", "doubtful.pyc"} <= own_names
    assert not {"broken.pyc", "bytes.pyc"} & own_names


def test_a_large_folder_of_code_is_not_compiled(tmp_path, own, monkeypatch):
    """Submitting stays quick; the toolkit is compiled."""
    monkeypatch.setattr(snapshot, "_MOST_COMPILED", 10)
    names = names_in(snapshot.take(tmp_path, (str(own),), [make_run(optimizer="my_opt:M")]).file)

    assert "jobs/train.pyc" in names
    assert {name for name in names if name.startswith("own/")} == {
        "own/0/my_opt.py",
        "own/0/package/part.py",
    }


def test_errors_show_their_lines(tmp_path, own):
    """Those of the zip, not of a file of that name where the process stands."""
    (own / "my_opt.py").write_text("def go():\n    return 1 / 0  # from the zip\n")
    taken = snapshot.take(tmp_path / "code", (str(own),), [make_run(optimizer="my_opt:Mine")])
    for folder in (tmp_path, tmp_path / "own" / "0"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "my_opt.py").write_text("\n    elsewhere\n")
    code = (
        "import inspect, traceback, my_opt\n"
        "try:\n    my_opt.go()\n"
        "except ZeroDivisionError:\n    print(traceback.format_exc())\n"
        "print(inspect.getsource(my_opt.go))"
    )
    shown = python(code, taken.file, f"{taken.file}/own/0", cwd=tmp_path)

    assert 'own/0/my_opt.py", line 2, in go' in shown
    assert shown.count("return 1 / 0  # from the zip") == 2
    assert "elsewhere" not in shown


def test_a_record_names_the_sources_of_own_code(tmp_path, own):
    """As of a module that lies in a folder; and of a module without source, what there is."""
    import py_compile

    (own / "bare.py").write_text("VALUE = 3\n")
    (own / "data").mkdir()
    py_compile.compile(str(own / "bare.py"), cfile=str(own / "data" / "bare.pyc"))
    taken = snapshot.take(tmp_path / "code", (str(own),), [make_run(optimizer="my_opt:Mine")])
    code = (
        "import json, sys, my_opt, bare, jobs.provenance as p; from tests.helpers import make_run;"
        "print(*(p._own_code(make_run(optimizer=name))[name] for name in ('my_opt:M', 'bare:B')))"
    )
    in_zip = python(code, own / "data", taken.file, f"{taken.file}/own/0", snapshot.ROOT).split()
    in_folder = python(code, own / "data", own, snapshot.ROOT).split()

    assert in_zip == in_folder
    assert in_zip == [
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (own / "my_opt.py", own / "data" / "bare.pyc")
    ]


def test_without_keeping_nothing_is_written(tmp_path, monkeypatch):
    """Nor compiled: whoever asks for a dry run does not wait for it."""
    monkeypatch.setattr(snapshot, "_bytecode", None)
    snapshot.take(tmp_path / "code", (), [make_run()], keep=False)

    assert not (tmp_path / "code").exists()


def test_a_home_directory_is_no_folder_of_code(tmp_path, own, monkeypatch):
    monkeypatch.setattr(snapshot, "_MOST_FILES", 1)
    with pytest.raises(InputError, match=r"code: \[FOLDER\]"):
        snapshot.take(tmp_path / "code", (str(own),), [make_run(optimizer="my_opt:Mine")])


def test_what_an_editor_or_a_shell_left_is_no_code(tmp_path, own):
    """A lock of Emacs is a link to nowhere, and reading a pipe would never end."""
    before = snapshot.take(tmp_path / "before", [str(own)], [make_run(optimizer="mine.Own")])
    (own / ".#mine.py").symlink_to("somebody@host.123:456")
    os.mkfifo(own / "pipe.py")
    (own / "folder.py").mkdir()
    after = snapshot.take(tmp_path / "after", [str(own)], [make_run(optimizer="mine.Own")])

    assert after.sha256 == before.sha256
