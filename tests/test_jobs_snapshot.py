"""The code that runs use: what is kept, that it is found again, and that it imports."""

import subprocess
import sys
import zipfile

import pytest

from jobs import snapshot
from jobs.errors import InputError
from tests.helpers import make_run


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
    assert names == {"own/0/my_opt.py", "own/0/package/part.py"}


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

    done = subprocess.run(
        [sys.executable, "-c", code.replace("DIGEST", repr(provenance.code_digest()))],
        env={"PYTHONPATH": f"{taken.file}:{taken.file}/own/0", "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[:2] == ["1", str(taken.file)]
    assert done.stdout.split()[3] == "True"


def test_without_keeping_nothing_is_written(tmp_path):
    snapshot.take(tmp_path / "code", (), [make_run()], keep=False)

    assert not (tmp_path / "code").exists()


def test_a_home_directory_is_no_folder_of_code(tmp_path, own, monkeypatch):
    monkeypatch.setattr(snapshot, "_MOST_FILES", 1)
    with pytest.raises(InputError, match=r"code: \[FOLDER\]"):
        snapshot.take(tmp_path / "code", (str(own),), [make_run(optimizer="my_opt:Mine")])
