"""Training: DeepOBS' protocol, honest endings, costs by phase, and the command that runs it alone."""

import json
import math
import subprocess
import sys

import pytest
import torch

from jobs import files, record, train
from jobs.cost import Meter
from jobs.curves import Curves
from jobs.problems.problem import Problem
from jobs.store import AttemptFiles
from jobs.sweep import Run

CPU = torch.device("cpu")


def make_run(**changes):
    fields = {
        "problem": "digits_mlp",
        "optimizer": "torch.optim.SGD",
        "hyperparameters": {"lr": 0.1},
        "seed": 42,
        "epochs": 2,
        "batch_size": 32,
    }
    return Run(**(fields | changes))


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


def go(tmp_path, problem, optimizer=None, epochs=2):
    optimizer = optimizer or torch.optim.SGD(problem.model.parameters(), lr=0.01)
    training = train.Training(
        make_run(epochs=epochs), problem, optimizer, Meter(CPU), AttemptFiles(tmp_path)
    )
    return training.go(), training


def test_order_of_evaluations_and_epochs(tmp_path):
    """All splits before training and after every epoch, train first."""
    problem = Parabola()
    stop, training = go(tmp_path, problem)

    assert problem.calls == [
        *[("train", 0), ("valid", 0), ("test", 0)],
        *[("train", 1), ("train", 1), ("valid", 1), ("test", 1)],
        *[("train", 2), ("train", 2), ("valid", 2), ("test", 2)],
    ]
    assert stop == {"reason": "completed", "epoch": 2, "step": 50}
    assert len(training.curves.to_json()["test_loss"]) == 3


def test_every_tenth_minibatch_loss_of_each_epoch(tmp_path):
    _, training = go(tmp_path, Parabola())

    assert training.curves.to_json()["minibatch_loss"]["step"] == [0, 10, 20, 25, 35, 45]


def test_progress_has_a_line_per_evaluation(tmp_path):
    go(tmp_path, Parabola())
    lines = files.read_lines(AttemptFiles(tmp_path).progress_file)

    assert [(line["epoch"], line["epochs"]) for line in lines] == [(0, 2), (1, 2), (2, 2)]


@pytest.mark.parametrize("bad_at", [0, 7, 25, 49])
def test_a_loss_that_is_not_finite_ends_the_run_where_it_happened(tmp_path, bad_at):
    """The stop names epoch and step; nothing at or after the step is kept, nothing is invented."""
    stop, training = go(tmp_path, Parabola(bad_at=bad_at))
    curves = training.curves.to_json()
    epoch = bad_at // 25 + 1

    assert stop == {"reason": "nonfinite_loss", "epoch": epoch, "step": bad_at}
    assert len(curves["test_loss"]) == epoch
    for name in ("minibatch_loss", "learning_rate"):
        assert all(step < bad_at for step in curves[name]["step"])


def test_an_evaluation_that_is_not_finite_ends_the_run(tmp_path):
    """The last update of an epoch may be the one that diverges."""
    stop, training = go(tmp_path, Parabola(bad_evaluation=("valid", 1)))
    curves = training.curves.to_json()

    assert stop == {"reason": "nonfinite_evaluation", "epoch": 1, "step": 25}
    assert [len(curves[name]) for name in ("train_loss", "valid_loss", "test_loss")] == [1, 1, 1]


def test_a_late_look_finds_the_first_bad_step():
    """As on a GPU, where the host looks only every tenth step."""
    monitor = train.FiniteMonitor(CPU)
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
        return {"alpha": [0.5], "bad": math.nan, "text": "x", "count": self.hvp_count}


def test_estimations_restart_each_epoch_and_are_booked(tmp_path):
    problem = Parabola()
    optimizer = Restarting(problem.model.parameters(), lr=0.01)
    _, training = go(tmp_path, problem, optimizer, epochs=3)
    phases = training.meter.phases
    log = training.curves.to_json()["optimizer"]

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
    assert found.cost["peak_memory_bytes"] > 10**7
    assert {"code", "host", "torch", "threads", "cpu"} <= set(found.provenance)
    assert found.provenance["data"]["dataset"] == "digits"
    assert len(found.provenance["data"]["sha256"]["digits.csv"]) == 64


def test_the_same_run_twice_is_bit_equal(tmp_path):
    """Curves depend on the run alone."""
    run = make_run(optimizer="probprec.PreconditionedSGD", hyperparameters={}, epochs=2)
    first, second = (
        train.execute(run, data=None, out=AttemptFiles(tmp_path))["curves"] for _ in range(2)
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
