"""Training time: what is counted, a GPU that is waited for once per epoch, and going on from a checkpoint."""

import json
import math
from functools import partial

import pytest
import torch

from jobs.problems.problem import Problem
from jobs.store.attempts import AttemptFiles
from jobs.training import execute, loop
from jobs.training.checkpoint import Checkpoints
from jobs.training.cost import Meter
from jobs.training.loop import Training
from jobs.training.monitor import FiniteMonitor
from jobs.training.stop import InterruptionError, Stop
from jobs.training.training_time import TrainingTime
from tests.fake_gpu import FakeGpu
from tests.helpers import make_run

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
TRAINING = ("train", "estimate", "apply")


class Clockwork(Problem):
    """Each minibatch takes the host 1 s and the GPU 2 s, each evaluated split both 1000 s."""

    has_accuracy = False
    batch_size = 1

    def __init__(self, gpu, steps=3):
        self.gpu = gpu
        self.steps_per_epoch = steps
        self.model = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.ones_(self.model.weight)
        gpu.host(1000)

    def train_batches(self, _, start=0):
        for index in range(start, self.steps_per_epoch):
            yield (torch.tensor(index),)

    def evaluation_batches(self, *_):
        self.gpu.give(1000)
        self.gpu.now = self.gpu.ready()  # it reads the loss
        return iter([(torch.tensor(-1),)])

    def batch_loss(self, batch):
        if batch[0] >= 0:
            self.gpu.host(1)
            self.gpu.give(2)
        return self.model(torch.ones(1, 1)).square().sum(), None


class Restarting(torch.optim.SGD):
    """Works for 16 s between two epochs."""

    gpu: FakeGpu

    def start_estimate(self):
        self.gpu.host(16)


@pytest.fixture
def gpu(monkeypatch):
    # its tensors would have to be on the device
    monkeypatch.setattr(loop, "FiniteMonitor", lambda _, n: FiniteMonitor(CPU, n))
    return FakeGpu(monkeypatch)


def make(gpu, folder, device, *, steps=3, kind=torch.optim.SGD):
    problem = Clockwork(gpu, steps)
    optimizer = kind(problem.model.parameters(), lr=0.0)
    return Training(make_run(epochs=2), problem, optimizer, Meter(device), AttemptFiles(folder))


def test_work_on_the_gpu_counts_in_the_phase_that_asked_for_it(gpu):
    """The host has gone on long before; nobody waits until the end."""
    meter = Meter(CUDA)
    with meter.phase("train"):
        gpu.host(1)
        gpu.give(10)
    with meter.phase("apply"):
        gpu.host(1)
        gpu.give(4)
    assert (gpu.now, gpu.waits) == (2, 0)
    found = meter.to_json()

    assert (gpu.now, gpu.waits) == (15, 1)
    assert (found["train"]["wall_s"], found["apply"]["wall_s"]) == (11, 4)
    assert (found["train"]["cpu_s"], found["apply"]["cpu_s"]) == (2, 2)


def test_seconds_end_when_the_gpu_has_done_its_work(gpu, tmp_path):
    """An epoch of 3 steps takes the host 3 s and the GPU 6 s, from the end of the first second on."""
    training = make(gpu, tmp_path, CUDA)
    training.go()
    cost = training.meter.to_json()

    assert training.time.to_json() == {
        "wall_s": [0, 7, 14],
        "cpu_s": [0, 14, 28],
        "steps": [0, 3, 6],
    }
    assert sum(cost[phase]["wall_s"] for phase in TRAINING) == 14
    assert cost["eval"]["wall_s"] == 9000


def test_the_gpu_is_waited_for_once_per_epoch_however_many_steps_it_has(gpu, tmp_path):
    waits = []
    for steps in (3, 30):
        before = gpu.waits
        make(gpu, tmp_path, CUDA, steps=steps).go()
        waits.append(gpu.waits - before)

    assert waits == [2 * 3] * 2  # as the epoch begins, as it ends, and to read the events there


def test_what_is_prepared_between_two_epochs_is_training(gpu, tmp_path, monkeypatch):
    """It is paid before the next evaluation."""
    monkeypatch.setattr(Restarting, "gpu", gpu, raising=False)
    training = make(gpu, tmp_path, CPU, kind=Restarting)
    training.go()

    assert training.time.to_json()["wall_s"] == [0, 3, 3 + 16 + 3]
    assert training.meter.phases["estimate"].wall_s == 16


def test_what_raises_is_not_counted(gpu):
    """No evaluation follows it."""
    time = TrainingTime(lambda: None)
    with pytest.raises(ZeroDivisionError), time.running():
        gpu.host(1 / 0)
    time.add_epoch(0)

    assert time.to_json()["wall_s"] == [0]


class KilledError(Exception):
    """What ends an attempt, or a checkpoint."""


def attempt(gpu, folder, *resume, leave_at=math.inf, die_at=math.inf):
    """An attempt that leaves with a checkpoint at one boundary, or dies at one; its series or None."""

    class Leaving(Training):
        seen = 0

        def boundary(self, **where):
            self.seen += 1
            self._stop.asked = self.seen == leave_at
            if self.seen == die_at:
                raise KilledError
            super().boundary(**where)

    def build(out):
        problem = Clockwork(gpu)
        optimizer = torch.optim.SGD(problem.model.parameters(), lr=0.0)
        return Leaving(make_run(epochs=2), problem, optimizer, Meter(CPU), out, Stop())

    folder.mkdir()
    out = AttemptFiles(folder)
    training = execute.begin(
        make_run(epochs=2), partial(build, out), out=out, resume=resume, every=math.inf
    )
    try:
        training.go()
    except (InterruptionError, KilledError):
        return None
    assert training.resumes == len(resume)
    return json.loads(json.dumps(training.time.to_json()))


@pytest.mark.parametrize("boundary", range(1, 2 * (3 + 1) + 1))
def test_the_series_goes_on_where_the_checkpoint_was_taken(gpu, tmp_path, boundary, monkeypatch):
    """By a clock that is the same each time; what was trained after the checkpoint counts once."""
    real = Checkpoints.write

    def write(self, run, take):
        gpu.host(1e6)
        return real(self, run, take)

    monkeypatch.setattr(Checkpoints, "write", write)
    whole = attempt(gpu, tmp_path / "whole")
    assert whole == {"wall_s": [0, 3, 6], "cpu_s": [0, 6, 12], "steps": [0, 3, 6]}

    assert attempt(gpu, tmp_path / "1", leave_at=boundary) is None
    attempt(gpu, tmp_path / "2", tmp_path / "1", die_at=2)
    assert attempt(gpu, tmp_path / "3", tmp_path / "1") == whole


def test_checkpoints_on_the_way_are_not_training(gpu, tmp_path):
    """Between steps and between epochs, also those that cannot be written."""
    training = make(gpu, tmp_path, CPU)
    training.checkpoints = Checkpoints(training.out, every=0)
    real = training._snapshot

    def snapshot():
        gpu.host(1e6)
        if training.step % 2:
            raise KilledError
        return real()

    training._snapshot = snapshot
    training.go()

    assert gpu.now > 8e6
    assert training.time.to_json()["wall_s"] == [0, 3, 6]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="asks a real GPU")
def test_a_real_gpu_has_done_its_work_where_a_stretch_ends():
    """As the fake one."""
    meter = Meter(CUDA)
    time = TrainingTime(meter.synchronize)
    with time.running(), meter.phase("train"):
        torch.cuda._sleep(10**9)
        assert not torch.cuda.current_stream().query()
    assert torch.cuda.current_stream().query()
    meter.drain()
    time.add_epoch(1)

    assert 0 < meter.phases["train"].wall_s <= time.to_json()["wall_s"][0]
