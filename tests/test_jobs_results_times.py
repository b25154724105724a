"""Times are compared only where the records can tell them."""

import dataclasses

import pytest

from jobs.results import ledger, times
from jobs.results.reading import Result
from tests.make_sweep import make_sweep

OLD_GPU = "an older record of a GPU has the host's time, which did not wait for the GPU"


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> list[Result]:
    """Three seeds of SGD and of Adam, one after the other."""
    store = make_sweep(
        tmp_path_factory.mktemp("times") / "sweep",
        problems=["digits_mlp"],
        optimizers={"SGD": [{}], "Adam": [{}]},
    )
    return ledger.collect(store).found


def on_gpu(one: Result, *, is_old: bool) -> Result:
    gpu = {**one.provenance, "device": "cuda", "gpu": "A GPU"}
    return dataclasses.replace(one, provenance=gpu, seconds=None if is_old else one.seconds)


def test_an_older_record_of_a_gpu_has_no_time_to_compare(results):
    """It has the time that it took to ask the GPU, and none of the GPU's."""
    mixed = [on_gpu(one, is_old=index == 0) for index, one in enumerate(results)]

    assert times.shared_hosts(mixed) == {results[0].planned.run.id: OLD_GPU}


def test_an_older_record_of_a_cpu_has_its_time(results):
    old = [dataclasses.replace(one, seconds=None) for one in results]

    assert times.shared_hosts(old) == {}


def test_a_run_beside_one_that_shared_its_task_was_not_alone(results):
    """Whatever is said of the other run, it was on that host at that time."""
    first, second, *_ = results
    beside = {"started": 0.0, "ended": 10.0, "host": "node1"}
    pair = [
        dataclasses.replace(first, provenance=first.provenance | beside | {"co_tenants": ["a"]}),
        dataclasses.replace(second, provenance=second.provenance | beside),
    ]

    found = times.shared_hosts(pair)

    assert found[second.planned.run.id] == (
        "other runs were trained on the same host at the same time"
    )
