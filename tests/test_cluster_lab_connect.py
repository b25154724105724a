"""Which cluster a command talks to, and which sweep a run belongs to."""

import os

import pytest

from cluster.commands import selection
from cluster.lab import connect
from jobs.errors import InputError
from jobs.store.store import Store
from tests.helpers import make_plan, short_folder
from tests.make_sweep import make_sweep


@pytest.fixture(autouse=True)
def no_lab(monkeypatch):
    """The folder of a lab that is not there."""
    with short_folder() as folder:
        monkeypatch.setenv("PROBPREC_LAB", str(folder / "lab"))
        monkeypatch.setenv("SLURM_CONF", "mine")
        yield folder / "lab"


def test_other_profiles_leave_slurm_as_it_is():
    connect.use("tcml")

    assert os.environ["SLURM_CONF"] == "mine"


def test_the_lab_has_to_be_up(no_lab):
    with pytest.raises(InputError, match="probprec lab up"):
        connect.use("lab")
    assert not no_lab.exists()


def test_a_sweep_that_was_sent_to_the_lab_is_looked_for_there(tmp_path, no_lab):
    store = Store(tmp_path / "sweep")
    connect.use_that_of(store)
    assert os.environ["SLURM_CONF"] == "mine"
    store.new_submission(make_plan(profile={"name": "lab"}))
    connect.use_that_of(store)
    assert os.environ["SLURM_CONF"] == str(no_lab / "slurm.conf")


def test_the_sweep_of_a_run(tmp_path):
    for name, seeds in (("one", [42]), ("two", [42, 43])):
        make_sweep(tmp_path / name, seeds=seeds, is_recorded=lambda _: False)
    (tmp_path / "no sweep").mkdir()
    runs = {
        planned.run.seed: planned.run.id for planned in Store(tmp_path / "two").sweep().runs[:2]
    }

    assert selection.find_sweep(tmp_path, runs[43][:9]).root == tmp_path / "two"
    with pytest.raises(InputError, match=r"several sweeps \(one, two\)"):
        selection.find_sweep(tmp_path, runs[42])
    with pytest.raises(InputError, match="no sweep below"):
        selection.find_sweep(tmp_path, "zz")
    with pytest.raises(InputError, match="no sweep below"):
        selection.find_sweep(tmp_path / "none", runs[42])


def test_a_sweep_that_cannot_be_read_is_no_matter_for_the_others():
    """As somebody's private one in a root of many, or a damaged one."""
    with short_folder() as root:
        make_sweep(root / "mine", seeds=[42], is_recorded=lambda _: False)
        run = Store(root / "mine").sweep().runs[0].run.id
        for name in ("damaged", "private"):
            (root / name).mkdir()
            (root / name / "sweep.json").write_text("torn {")
        (root / "private").chmod(0)
        root.chmod(0o755)
        user = os.geteuid()
        os.seteuid(65534 if user == 0 else user)
        try:
            assert selection.find_sweep(root, run).root == root / "mine"
            with pytest.raises(InputError, match=r"cannot be read: damaged, private\)"):
                selection.find_sweep(root, "zz")
        finally:
            os.seteuid(user)
            (root / "private").chmod(0o700)
