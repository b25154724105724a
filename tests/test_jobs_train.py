"""Training: DeepOBS' protocol, honest endings, costs by phase, and the command that runs it alone."""

import errno
import json
import math
import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
import torch

from jobs import files, train
from jobs.problems.problem import Problem
from jobs.store import record
from jobs.store.attempts import AttemptFiles
from jobs.training import checkpoint, execute, loop
from jobs.training import stop as stop_module
from jobs.training.cost import Meter
from jobs.training.curves import Curves
from jobs.training.monitor import FiniteMonitor
from jobs.training.stop import Stop
from tests import helpers

CPU = torch.device("cpu")


make_run = partial(helpers.make_run, epochs=2)


class Parabola(Problem):
    """Minimizes w^2; 25 steps per epoch. `bad_at` makes the loss of one step infinite."""

    has_accuracy = False
    steps_per_epoch = 25
    batch_size = 1

    def __init__(self, bad_at=None, bad_evaluation=None):
        self.model = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.ones_(self.model.weight)
        self.bad_at = bad_at
        self.bad_evaluation = bad_evaluation
        self.calls = []

    def train_batches(self, epoch, start=0):
        self.calls.append(("train", epoch))
        for index in range(start, self.steps_per_epoch):
            yield (torch.tensor((epoch - 1) * self.steps_per_epoch + index),)

    def evaluation_batches(self, split, epoch):
        self.calls.append((split, epoch))
        return iter([(torch.tensor(-1),)])

    def batch_loss(self, batch):
        loss = self.model(torch.ones(1, 1)).square().sum()
        if batch[0] == self.bad_at:
            loss = loss * math.inf
        if batch[0] == -1 and self.calls[-1] == self.bad_evaluation:
            loss = loss * math.nan
        return loss, None


@pytest.fixture(autouse=True)
def _handlers():
    """The command takes the signals over; give them back."""
    kept = {number: signal.getsignal(number) for number in stop_module.SIGNALS}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def go(tmp_path, problem, optimizer=None, epochs=2):
    optimizer = optimizer or torch.optim.SGD(problem.model.parameters(), lr=0.01)
    found = loop.Training(
        make_run(epochs=epochs), problem, optimizer, Meter(CPU), AttemptFiles(tmp_path)
    )
    return found.go(), found


def test_order_of_evaluations_and_epochs(tmp_path):
    """All splits before training and after every epoch, train first."""
    problem = Parabola()
    stop, loop = go(tmp_path, problem)

    assert problem.calls == [
        *[("train", 0), ("valid", 0), ("test", 0)],
        *[("train", 1), ("train", 1), ("valid", 1), ("test", 1)],
        *[("train", 2), ("train", 2), ("valid", 2), ("test", 2)],
    ]
    assert stop == {"reason": "completed", "epoch": 2, "step": 50}
    assert len(loop.curves.to_json()["test_loss"]) == 3


def test_every_tenth_minibatch_loss_of_each_epoch(tmp_path):
    _, loop = go(tmp_path, Parabola())

    assert loop.curves.to_json()["minibatch_loss"]["step"] == [0, 10, 20, 25, 35, 45]


def test_progress_has_a_line_per_evaluation(tmp_path):
    go(tmp_path, Parabola())
    lines = files.read_lines(AttemptFiles(tmp_path).progress_file)

    assert [(line["epoch"], line["epochs"]) for line in lines] == [(0, 2), (1, 2), (2, 2)]
    assert [(line["step"], line["steps"]) for line in lines] == [(0, 50), (25, 50), (50, 50)]
    assert "epoch_s" not in lines[0]  # an evaluation alone says nothing of how long an epoch takes
    assert all(line["epoch_s"] > 0 for line in lines[1:])


@pytest.mark.parametrize("bad_at", [0, 7, 25, 49])
def test_a_loss_that_is_not_finite_ends_the_run_where_it_happened(tmp_path, bad_at):
    """The stop names epoch and step; nothing at or after the step is kept, nothing is invented."""
    stop, loop = go(tmp_path, Parabola(bad_at=bad_at))
    curves = loop.curves.to_json()
    epoch = bad_at // 25 + 1

    assert stop == {"reason": "nonfinite_loss", "epoch": epoch, "step": bad_at}
    assert len(curves["test_loss"]) == epoch
    assert loop.time.to_json()["steps"] == [25 * before for before in range(epoch)]
    for name in ("minibatch_loss", "learning_rate"):
        assert all(step < bad_at for step in curves[name]["step"])


def test_an_evaluation_that_is_not_finite_ends_the_run(tmp_path):
    """The last update of an epoch may be the one that diverges."""
    stop, loop = go(tmp_path, Parabola(bad_evaluation=("valid", 1)))
    curves = loop.curves.to_json()

    assert stop == {"reason": "nonfinite_evaluation", "epoch": 1, "step": 25}
    assert [len(curves[name]) for name in ("train_loss", "valid_loss", "test_loss")] == [1, 1, 1]
    assert loop.time.to_json() == {"wall_s": [0.0], "cpu_s": [0.0], "steps": [0]}


def test_a_late_look_finds_the_first_bad_step():
    """As on a GPU, where the host looks only every tenth step."""
    monitor = FiniteMonitor(CPU, 10)
    for step, loss in enumerate([1.0, math.nan, 2.0, math.inf]):
        monitor.see(torch.tensor(loss), step, keep=True)

    assert monitor.collect() == ([(0, 1.0)], 1)


class Restarting(torch.optim.SGD):
    """Offers all that `Training` knows to use."""

    def __init__(self, params, lr):
        super().__init__(params, lr=lr)
        self.restarts = 0
        self.hvp_count = 0
        self.left = 5
        self.backwards = 0

    @property
    def estimating(self):
        return self.left > 0

    def backward(self, loss):
        self.backwards += 1
        loss.backward()

    def start_estimate(self):
        self.restarts += 1
        self.left = 5

    def step(self, closure=None):
        if self.left:
            self.left -= 1
            self.hvp_count += 2
        else:
            super().step(closure)

    def get_log(self):
        return {"alpha": [0.5], "bad": math.nan, "count": self.hvp_count}


def test_estimations_restart_each_epoch_and_are_booked(tmp_path):
    problem = Parabola()
    optimizer = Restarting(problem.model.parameters(), lr=0.01)
    _, loop = go(tmp_path, problem, optimizer, epochs=3)
    phases = loop.meter.phases
    log = loop.curves.to_json()["optimizer"]

    assert optimizer.restarts == 2
    assert optimizer.backwards == 75
    assert (phases["estimate"].forward, phases["estimate"].hvp) == (15, 30)
    assert (phases["train"].forward, phases["train"].backward, phases["train"].hvp) == (60, 60, 0)
    assert log["alpha"] == {"step": [0], "value": [[0.5]]}
    assert log["bad"]["value"] == [None]
    assert log["count"]["value"][-1] == 30


def test_learning_rates_are_kept_where_they_change():
    curves = Curves()
    for step, rate in enumerate([0.1, 0.1, 0.2, 0.2, math.inf]):
        curves.see_learning_rate(step, rate)

    assert curves.to_json()["learning_rate"] == {"step": [0, 2, 4], "value": [0.1, 0.2, None]}


def test_the_command_alone(tmp_path):
    """`python -m jobs.train RUN.json --out DIR` leaves a record that reads back."""
    run = make_run(epochs=1)
    (tmp_path / "run.json").write_bytes(files.to_json(run.to_json()))
    command = [sys.executable, "-m", "jobs.train", str(tmp_path / "run.json")]
    subprocess.run([*command, "--out", str(tmp_path / "out")], check=True, capture_output=True)
    found = record.read(AttemptFiles(tmp_path / "out").outcome_file)

    assert found.run == run
    assert found.outcome == "completed"
    assert found.evaluated_epochs == 2
    assert found.curves["test_accuracy"][1] > found.curves["test_accuracy"][0]
    assert found.cost["train"]["wall_s"] > 0
    assert found.time is not None
    assert found.time["steps"] == [0, 37]
    assert found.time["wall_s"][1] > found.cost["train"]["wall_s"]
    assert found.cost["peak_memory_bytes"] > 10**7
    assert {"code", "host", "torch", "threads", "cpu"} <= set(found.provenance)
    assert found.provenance["data"]["dataset"] == "digits"
    assert len(found.provenance["data"]["sha256"]["digits.csv"]) == 64


def test_the_same_run_twice_is_bit_equal(tmp_path):
    """Curves depend on the run alone."""
    run = make_run(optimizer="probprec.PreconditionedSGD", hyperparameters={}, epochs=2)
    first, second = (
        execute.execute(run, data=None, out=AttemptFiles(tmp_path))["curves"] for _ in range(2)
    )

    assert first == second


@pytest.mark.parametrize(
    ("content", "failure", "message"),
    [
        ({"optimizer": "no_such_package.Lion"}, "import_error", "no_such_package"),
        ({"optimizer": "torch.optim.Lyon"}, "import_error", "no class 'Lyon'"),
        ({"hyperparameters": {"lr": -1}}, "exception", "Invalid learning rate: -1"),
        ({"problem": "no_problem"}, "import_error", "'no_problem' is neither a known name"),
    ],
)
def test_a_run_that_cannot_be_leaves_its_reason(tmp_path, content, failure, message):
    (tmp_path / "run.json").write_bytes(files.to_json(make_run(**content).to_json()))
    out = AttemptFiles(tmp_path / "out")
    code = train.main([str(tmp_path / "run.json"), "--out", str(out.path)])
    error = json.loads(out.error_file.read_bytes())

    assert code == 1
    assert error["failure"] == failure
    assert message in error["message"]
    assert not out.outcome_file.exists()


def write_run(tmp_path, **changes):
    """Arguments of the command, and where it writes to."""
    (tmp_path / "run.json").write_bytes(files.to_json(make_run(**changes).to_json()))
    out = AttemptFiles(tmp_path / "out")
    return [str(tmp_path / "run.json"), "--out", str(out.path)], out


def test_curves_go_on_where_they_were():
    """The series of changes, too: the value before the interruption is known."""
    curves, pieces = Curves(), Curves()
    for step, rate in enumerate([0.1, 0.1, 0.2, 0.2, 0.1]):
        pieces = Curves.from_json(json.loads(json.dumps(pieces.to_json())))
        for each in (curves, pieces):
            each.see_learning_rate(step, rate)
            each.add_log(step, {"alpha": (rate, math.nan), "n": 1})
            each.add_minibatch_loss(step, rate / 3)
            each.add_epoch({"test_loss": rate / 7})
    assert pieces.to_json() == curves.to_json()


def test_costs_add_up_over_attempts():
    first, second = Meter(CPU), Meter(CPU)
    for meter in (first, second):
        with meter.phase("train") as phase:
            phase.forward += 3
    before = json.loads(json.dumps(first.to_json())) | {"peak_memory_bytes": 10**15}
    before["train"] |= {"wall_s": 100.0}
    second.add(before)
    found = second.to_json()

    assert found["train"]["forward"] == 6
    assert 100 < found["train"]["wall_s"] < 101
    assert found["peak_memory_bytes"] == 10**15
    assert found["peak_gpu_memory_bytes"] is None


def test_there_is_time_with_a_margin(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    assert Stop().has_time_for(1e9)
    assert Stop(until=1000 + 112).has_time_for(100)
    assert not Stop(until=1000 + 111).has_time_for(100)


def test_time_that_is_over_ends_each_attempt_after_an_epoch(tmp_path):
    """Each makes progress, so a chain of attempts comes to the end of the run."""
    whole = execute.execute(make_run(epochs=3), data=None, out=AttemptFiles(tmp_path))
    folders = []
    for epoch in (1, 2):
        arguments, out = write_run(tmp_path, epochs=3)
        out = AttemptFiles(tmp_path / str(epoch))
        resume = [word for folder in reversed(folders) for word in ("--resume", str(folder))]
        arguments = [arguments[0], "--out", str(out.path), *resume]
        assert train.main([*arguments, "--until", str(time.time())]) == 75
        last = files.read_lines(out.progress_file)[-1]
        assert (last["epoch"], last["step"], last["checkpoint"]) == (
            epoch,
            37 * epoch,
            "checkpoint-a.pt",
        )
        folders.append(out.path)
    out = AttemptFiles(tmp_path / "last")
    arguments = [arguments[0], "--out", str(out.path), "--resume", str(folders[-1])]
    assert train.main([*arguments, "--until", str(time.time())]) == 0  # no next epoch to fit in
    assert json.loads(out.outcome_file.read_bytes())["curves"] == whole["curves"]


def test_a_signal_in_an_evaluation_waits_for_its_end(tmp_path, monkeypatch):
    """A checkpoint comes after it; a second signal changes nothing."""
    real = Problem.evaluate

    def evaluate(self, split, epoch):
        if (split, epoch) == ("valid", 1):
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGUSR2)
        return real(self, split, epoch)

    monkeypatch.setattr(Problem, "evaluate", evaluate)
    arguments, out = write_run(tmp_path)
    assert train.main(arguments) == 75
    lines = files.read_lines(out.progress_file)
    assert [(line["epoch"], line["step"]) for line in lines] == [(0, 0), (1, 37), (1, 37)]
    run = make_run()
    saved = checkpoint.read(out.checkpoint_files[0], run)
    assert (saved.epoch, saved.index) == (2, 0)


def test_a_signal_after_the_last_evaluation_changes_nothing(tmp_path, monkeypatch):
    real = Problem.evaluate

    def evaluate(self, split, epoch):
        if (split, epoch) == ("valid", 1):
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, split, epoch)

    monkeypatch.setattr(Problem, "evaluate", evaluate)
    arguments, out = write_run(tmp_path, epochs=1)
    assert train.main(arguments) == 0
    assert out.outcome_file.exists()


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("what", ["append_line", "write_atomically"])
def test_a_full_disk_is_named_even_if_only_the_exit_code_can(tmp_path, monkeypatch, what):
    """Met in a progress line or in a checkpoint; in the second case the report fails, too."""
    arguments, out = write_run(tmp_path)
    monkeypatch.setattr(files, what, full)
    code = train.main([*arguments, "--checkpoint-every", "0"])
    if what == "write_atomically":
        assert code == 73
        assert not out.error_file.exists()
    else:
        assert code == 1
        assert json.loads(out.error_file.read_bytes())["failure"] == "disk_full"


@pytest.mark.parametrize("claims", [False, True])
def test_a_run_that_was_given_a_gpu_does_not_train_without(tmp_path, monkeypatch, claims):
    """None there, or one that is said to be there and does not work."""
    if torch.version.cuda is not None:
        pytest.skip("this torch is built for CUDA")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: claims)
    arguments, out = write_run(tmp_path)
    assert train.main([*arguments, "--gpu"]) == 1
    error = json.loads(out.error_file.read_bytes())
    assert error["failure"] == "gpu_missing"
    for words in ("1 GPUs allocated", "CUDA_VISIBLE_DEVICES='3'", f"torch {torch.__version__}"):
        assert words in error["message"]
