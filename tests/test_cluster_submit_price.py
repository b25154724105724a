"""What runs will cost: a bound by the time that they ask for, an estimate by records that are there."""

import json

import pytest

from cluster.submit import price
from jobs.resources import Resources
from jobs.store.store import Store
from jobs.sweep import PlannedRun
from tests.fake_slurm import make_record
from tests.helpers import make_run, make_sweep_of

HALF = Resources(time=1800)
NOTHING = Resources()


def planned(*resources, **changes):
    """A run for each of the resources, by its seed."""
    return [
        PlannedRun(run=make_run(seed=seed, **changes), problem="p", optimizer="o", resources=one)
        for seed, one in enumerate(resources)
    ]


def stored(folder, runs, *, device="cpu", outcome="completed"):
    """A sweep of these runs, each with a record: 99 s of setup, 25 s per epoch."""
    store = Store(folder)
    store.save(make_sweep_of(runs, folder.name))
    for one in runs:
        record = make_record(one.run)
        record["provenance"]["device"] = device
        record["outcome"] = outcome
        store.run(one.run.id).create(one.run)
        store.run(one.run.id).record_file.write_text(json.dumps(record))
    return store


@pytest.mark.parametrize(
    ("base", "text"),
    [
        (Resources(gpus=1), "at most 36 GPU-hours, requeues aside (72 tasks x 30 min x 1 GPU)"),
        (Resources(gpus="a:1,b:2"), "at most 108 GPU-hours, * (72 tasks x 30 min x 3 GPUs)"),
        (
            Resources(gres="gpu:a100:2,disk:9"),
            "at most 72 GPU-hours, * (72 tasks x 30 min x 2 GPUs)",
        ),
        (Resources(gres="gpu"), "at most 36 GPU-hours, * (72 tasks x 30 min x 1 GPU)"),
        (Resources(gres="disk:9"), "at most 36 task-hours, * (72 tasks x 30 min)"),
        (Resources(gpus=0, cpus=4), "at most 144 CPU-hours, * (72 tasks x 30 min x 4 CPUs)"),
        (
            Resources(gpus=1, runs_per_task=5),
            "at most 7.5 GPU-hours, * (15 tasks x 30 min x 1 GPU)",
        ),
        (Resources(), "at most 36 task-hours, * (72 tasks x 30 min)"),
    ],
)
def test_the_bound_is_tasks_times_time_times_what_a_task_uses(base, text):
    found = price.expected(planned(*[HALF] * 72), base, [])

    assert str(found) == text.replace("*", "requeues aside")
    assert found.to_json()["hours_about"] is None


def test_runs_of_different_resources_are_summed():
    asks = [
        *[Resources(time=7200, gpus=1)] * 3,
        *[Resources(time=5400, gpus=2)] * 2,
        Resources(time=9000, cpus=4),
        Resources(time=60, cpus=1),
    ]
    found = price.expected(planned(*asks), NOTHING, [])

    assert str(found) == (
        "at most 12 GPU-hours and 10.1 CPU-hours, requeues aside (3 tasks x 2 h x 1 GPU,"
        " 2 tasks x 90 min x 2 GPUs, 1 task x 02:30:00 x 4 CPUs, ...)"
    )
    assert found.to_json()["hours_at_most"] == {"GPU": 12.0, "CPU": pytest.approx(10 + 1 / 60)}


def test_without_a_time_limit_there_is_no_bound():
    none = price.expected(planned(NOTHING, NOTHING), Resources(gpus=1), [])
    some = price.expected(planned(NOTHING, HALF, HALF), NOTHING, [])

    assert str(none) == "no bound: no time limit"
    assert str(some) == "no bound: 1 of 3 tasks have no time limit"
    assert some.to_json()["hours_at_most"] is None


def test_a_spec_alone_has_a_price_only_if_it_says_all_times():
    """What it leaves out the profile may say."""
    assert price.asked(planned(HALF, Resources(gpus=1))) is None
    assert str(price.asked(planned(HALF))).startswith("at most 0.5 task-hours")


def test_records_tell_what_it_will_be_about(tmp_path):
    """By the epochs of each; 99 + 4 x 25 s is that of a run, and half as much in a shared task."""
    store = stored(tmp_path / "smoke", planned(NOTHING, NOTHING, epochs=1))
    wanted = planned(HALF, HALF, HALF, HALF, epochs=4)

    found = price.expected(wanted, Resources(cpus=2, runs_per_task=2), [store])

    assert found.about == {"CPU": pytest.approx(4 * 199 / 3600)}
    assert str(found) == (
        "at most 2 CPU-hours, requeues aside (2 tasks x 30 min x 2 CPUs);"
        " about 0.22 CPU-hours by 2 earlier records"
    )


def test_only_records_of_the_same_kind_tell(tmp_path):
    """Problem, optimizer, batch size and device; what diverged took another time."""
    stores = [
        stored(tmp_path / "1", planned(NOTHING, problem="quadratic_deep")),
        stored(tmp_path / "2", planned(NOTHING, optimizer="torch.optim.Adam")),
        stored(tmp_path / "3", planned(NOTHING, batch_size=8)),
        stored(tmp_path / "4", planned(NOTHING), device="cuda"),
        stored(tmp_path / "5", planned(NOTHING), outcome="diverged"),
        Store(tmp_path / "6"),
    ]
    stores[4].run("torn").path.mkdir(parents=True)
    other = planned(HALF, batch_size=8)[0]

    assert price.expected(planned(HALF), NOTHING, stores).about == {}
    assert str(price.expected([*planned(HALF), other], NOTHING, stores)).endswith(
        "; about 0.034 task-hours for 1 of 2 runs, by 1 earlier record"
    )
    on_gpu = price.expected(planned(HALF), Resources(gpus=1), stores)
    assert on_gpu.about == {"GPU": pytest.approx(124 / 3600)}


def test_a_few_records_are_enough(tmp_path):
    """And nothing is read of the sweeps behind those."""
    first = stored(tmp_path / "first", planned(*[NOTHING] * 9))
    (tmp_path / "first" / "runs" / planned(NOTHING)[0].run.id / "record.json").write_text("{")

    def stores():
        yield first
        raise AssertionError("looked further")

    found = price.expected(planned(HALF), NOTHING, stores())

    assert found.basis == "by 5 earlier records"
