"""A time over what a partition gives is refused: sbatch takes it, and the job waits for ever."""

import pytest

from cluster import cli
from cluster.slurm import partitions
from cluster.slurm.partitions import check_times
from jobs.errors import InputError
from jobs.resources import Resources
from tests.fake_slurm import FakeSlurm

HOUR = 3600


@pytest.fixture
def fake(tmp_path, monkeypatch):
    found = FakeSlurm(tmp_path, monkeypatch)
    rows = ["day*|up|1-00:00:00", "short|up|1:00:00", "long|up|infinite"]
    rest = "n/a|2|0/2/0/2|8|16000|(null)|(null)"
    lines = ["Welcome | to", *(f"{row}|{rest.replace('/0/2', '', 1)}" for row in rows)]
    found.command("sinfo", "\n".join(f"echo '{line}'" for line in lines))
    return found


@pytest.mark.parametrize(
    "asked",
    [
        Resources(),
        Resources(time=24 * HOUR),
        Resources(time=99 * HOUR, partition="long"),
        Resources(time=2 * HOUR, partition="short,day"),
        Resources(time=99 * HOUR, partition="unknown"),  # sbatch says so
    ],
)
@pytest.mark.usefixtures("fake")
def test_a_time_that_fits(asked):
    assert check_times([asked]) == []


def test_all_that_does_not_fit_is_said_at_once(fake):
    asked = [Resources(time=25 * HOUR), Resources(time=2 * HOUR, partition="short")]

    with pytest.raises(InputError) as caught:
        check_times([*asked, *asked])

    first, second = str(caught.value).splitlines()
    assert first.startswith(
        "time: 1-01:00:00 asked, partition day gives at most 1-00:00:00: such a job would wait for"
    )
    assert "next: --set resources.time=01:00:00 (retry: --time 01:00:00)" in second
    assert len(fake.calls("sinfo")) == 1


@pytest.mark.usefixtures("fake")
def test_a_quality_of_service_may_give_more():
    (said,) = check_times([Resources(time=25 * HOUR, qos="long")])

    assert said.endswith("if the quality of service long does not allow more")


def test_slurm_is_not_asked_for_nothing(fake):
    assert check_times([Resources(mem=1)]) == []
    assert not fake.calls("sinfo")
    fake.command("sinfo", "exit 1")
    assert check_times([Resources(time=99 * HOUR)]) == []


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_submission_is_refused_before_anything_is_written(fake, monkeypatch, capsys, more):
    monkeypatch.chdir(fake.folder)
    (fake.folder / "a.yaml").write_text(
        "problems: [digits_mlp]\noptimizers: {SGD: {lr: 0.1}}\nseeds: 1\nepochs: 1\n"
        "resources: {time: 2-00:00:00}\n"
    )
    (fake.folder / "here.yaml").write_text("engine: slurm\n")

    assert cli.main(["submit", "a.yaml", "--on", "./here.yaml", *more]) == 2

    assert "time: 2-00:00:00 asked, partition day gives at most" in capsys.readouterr().err
    assert not (fake.folder / "sweeps").exists()
    assert not fake.calls("sbatch")


def test_a_retry_with_more_time_than_there_is(fake, capsys):
    fake.fail(0, "100_0", "timeout")
    fake.queue()

    words = ["retry", str(fake.store.root), "--failed"]
    assert cli.main([*words, "--time", "x30"]) == 2
    assert "partition day gives at most 1-00:00:00" in capsys.readouterr().err
    assert not fake.calls("sbatch")
    assert cli.main([*words, "--time", "1-00:00:00"]) == 0
    assert len(fake.calls("sbatch")) == 1


def test_times_as_slurm_prints_them():
    assert partitions.seconds_of("10:00") == 600
    assert partitions.seconds_of("infinite") is None
