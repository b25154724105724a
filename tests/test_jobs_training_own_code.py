"""The user's own modules in a training: where they come from, and which of them a record names."""

import hashlib
import json
from pathlib import Path

import pytest

from jobs.snapshot import ROOT
from tests.helpers import python

START = "import json, sys, pathlib; from jobs.training import own_code; own_code.use([pathlib.Path({folder!r})]);"
NAMES = "print(json.dumps(own_code.modules()))"


def using(folder, code, *path):
    """What a new Python prints that uses own code from the folder."""
    return python(START.format(folder=str(folder)) + code, ROOT, *path)


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@pytest.fixture
def own(tmp_path):
    folder = tmp_path / "own"
    for name, text in {
        "my_opt.py": "import helper\nfrom plain.part import VALUE\n",
        "helper.py": "VALUE = 1\n",
        "unused.py": "",
        "plain/part.py": "VALUE = 2\n",  # without __init__.py
        "factors.json": "[1]",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_every_own_module_that_was_imported_is_named(own):
    found = json.loads(using(own, f"import my_opt, numpy; {NAMES}"))

    assert found == {
        "helper": sha256(own / "helper.py"),
        "my_opt": sha256(own / "my_opt.py"),
        "plain.part": sha256(own / "plain/part.py"),
    }


def test_so_is_a_file_that_a_module_reads_beside_itself(own):
    """By its name below the own folder; what is written there, or lies elsewhere, is no code."""
    (own / "my_opt.py").write_text(
        "import pathlib\nhere = pathlib.Path(__file__).parent\n"
        "FACTORS = (here / 'plain' / '..' / 'factors.json').read_text()\n"
        "open('/etc/hostname').close()\n"
    )
    found = json.loads(using(own, f"import my_opt; {NAMES}"))

    assert found == {
        "./factors.json": sha256(own / "factors.json"),
        "my_opt": sha256(own / "my_opt.py"),
    }


@pytest.mark.parametrize(
    "used",
    [
        "spec = util.spec_from_file_location('_', FILE); spec.loader.exec_module(util.module_from_spec(spec))",
        "import helper; del sys.modules['helper']",
        # the second time from its bytecode
        "for _ in 1, 2: own_code._read.clear(); import helper; del sys.modules['helper']",
        "import runpy; runpy.run_path(FILE)",
        "exec(open(FILE).read())",
        "open(FILE.encode()).close()",
        "import sqlite3; sqlite3.connect(FILE)",
        "import ctypes, contextlib\nwith contextlib.suppress(OSError): ctypes.CDLL(FILE)",
    ],
)
def test_so_is_code_that_is_no_module_and_whatever_is_opened_otherwise(own, used):
    code = f"import importlib.util as util; FILE = {str(own / 'helper.py')!r}\n{used}\n{NAMES}"

    assert json.loads(using(own, code)) == {"./helper.py": sha256(own / "helper.py")}


def test_so_is_what_is_read_by_a_resolved_path(own, tmp_path):
    """A node's scratch, where own code is unpacked, is often a link."""
    (own / "my_opt.py").write_text(
        "import pathlib\npathlib.Path(__file__).resolve().with_name('factors.json').read_text()\n"
    )
    (tmp_path / "link").symlink_to(own)

    assert "./factors.json" in json.loads(using(tmp_path / "link", f"import my_opt; {NAMES}"))


def test_what_a_training_writes_is_no_code(own):
    """Neither its log nor what it keeps for itself: a later attempt does not find them."""
    code = (
        f"import pathlib; folder = pathlib.Path({str(own)!r});"
        "open(folder / 'log.txt', 'a').write('step');"
        "(folder / 'kept.txt').write_text('x'); (folder / 'kept.txt').read_text();"
    )

    assert using(own, f"{code} {NAMES}").strip() == "{}"


@pytest.mark.parametrize("name", ["random.py", "types.py", "logging.py", "jobs.py", "probprec.py"])
def test_own_modules_hide_nothing_of_python_and_of_the_toolkit(own, name):
    (own / name).write_text("raise RuntimeError('mine')\n")
    code = "import random, types, logging, jobs.files, probprec, my_opt; print(my_opt.VALUE)"

    assert using(own, code).strip() == "2"


def test_they_hide_what_is_installed(own, tmp_path):
    """A copy that the user works on is what is meant."""
    installed = tmp_path / "site-packages"
    installed.mkdir()
    (installed / "helper.py").write_text("VALUE = 'installed'\n")
    code = f"sys.path.remove({str(installed)!r}); sys.path.append({str(installed)!r});"
    start = f"{code} own_code._folders.clear(); own_code.use([pathlib.Path({str(own)!r})]);"

    assert using(tmp_path, f"{start} import helper; print(helper.VALUE)", installed) == "1\n"


def test_as_it_is_now(own):
    """Of a module that was not imported the file is looked at; what is gone has no hash."""
    code = (
        "import my_opt; print(list(own_code.sha256_now("
        "['helper', 'unused', 'plain.part', './factors.json', 'gone', 'gone.too', './gone']).values()))"
    )
    files = ("helper.py", "unused.py", "plain/part.py", "factors.json")

    assert using(own, code).strip() == str([*(sha256(own / name) for name in files), *[None] * 3])


def test_modules_of_python_are_nobodys(own):
    """Nor is what a site adds to Python itself."""
    code = f"import sitecustomize, decimal, xml.dom; {NAMES}"
    with_site = "sys.modules.setdefault('sitecustomize', decimal);"

    assert using(own, f"import decimal; {with_site} {code}").strip() == "{}"


def test_the_toolkit_names_what_was_imported(own):
    code = "import jobs.training.curves; print(sorted(own_code.toolkit_modules()))"
    found = using(own, code)

    assert "'jobs.training.curves'" in found
    assert "'jobs.training.own_code'" in found
    assert "cluster" not in found
