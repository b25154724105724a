"""Own optimizers and own problems: trained and resumed as they are, evaluated where they stand."""

import json
import math

import numpy as np
import pytest
import torch

from jobs.errors import InputError
from jobs.problems.checked import check
from jobs.problems.classification import Classification, Examples
from jobs.problems.problem import Problem
from jobs.regime import recording
from jobs.store.attempts import AttemptFiles
from jobs.training import checkpoint, restoring
from jobs.training.checkpoint import CheckpointError
from jobs.training.cost import Meter
from jobs.training.curves import Curves
from jobs.training.loop import Training
from jobs.training.stop import InterruptionError, Stop
from tests.helpers import make_run

CPU = torch.device("cpu")


class Line(Problem):
    """Fits a line without noise; 10 minibatches of 4 points."""

    has_accuracy = True
    steps_per_epoch = 10
    batch_size = 4

    def __init__(self, run=None, *, data=None, device=CPU):
        del run, data, device
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.model = torch.nn.Linear(2, 1)

    def train_batches(self, epoch, start=0):
        return self.points(epoch, self.steps_per_epoch, start)

    def evaluation_batches(self, split, epoch):
        del split, epoch
        return self.points(0, 2, 0)

    def points(self, epoch, count, start):
        for index in range(start, count):
            draws = torch.Generator().manual_seed(100 * epoch + index)
            yield (torch.randn(4, 2, generator=draws),)

    def batch_loss(self, batch):
        errors = self.model(batch[0])[:, 0] - batch[0] @ torch.tensor([1.0, -2.0])
        return errors.square().mean(), 0.5


class ScheduleFree(torch.optim.Optimizer):
    """Schedule-Free SGD (Defazio et al. 2024) with a constant step size.

    While it trains, the model has y = (1 - beta) z + beta x; x is to be evaluated.
    """

    def __init__(self, params, lr=0.05, beta=0.9):
        super().__init__(params, {"lr": lr, "beta": beta})
        self.is_training = False
        self.steps = 0

    def state_dict(self):
        return super().state_dict() | {"steps": self.steps}

    def load_state_dict(self, state_dict):
        self.steps = state_dict.pop("steps")
        super().load_state_dict(state_dict)

    def train(self):
        assert not self.is_training
        self.is_training = True
        self._swap(lambda group: 1 - group["beta"])

    def eval(self):
        assert self.steps  # some have nothing to switch to before
        assert self.is_training
        self.is_training = False
        self._swap(lambda group: 1 - 1 / group["beta"])

    @torch.no_grad()
    def _swap(self, weight):
        for group in self.param_groups:
            for p in group["params"]:
                if "z" in self.state[p]:
                    p.lerp_(self.state[p]["z"], weight(group))

    @torch.no_grad()
    def step(self, closure=None):
        assert closure is None
        assert self.is_training
        self.steps += 1
        for group in self.param_groups:
            beta, lr = group["beta"], group["lr"]
            for p in group["params"]:
                z = self.state[p].setdefault("z", p.detach().clone())
                x = p.lerp(z, 1 - 1 / beta)
                z.sub_(p.grad, alpha=lr)
                p.copy_((1 - beta) * z + beta * x.lerp(z, 1 / self.steps))


class Exact(torch.optim.SGD):
    """Sums gradients in float64, and remembers signs as bools: what `load_state_dict` would cast."""

    @torch.no_grad()
    def step(self, closure=None):
        assert closure is None
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                total = state.setdefault("sum", [torch.zeros_like(p, dtype=torch.float64)])[0]
                total += p.grad.double() / 3
                state["signs"] = total > 0
                p.sub_(group["lr"] * (total / 7).float() * torch.where(state["signs"], 1.5, 0.5))


class Forgetful(Exact):
    """Keeps only some of its state."""

    def load_state_dict(self, state_dict):
        del state_dict["state"][0]
        super().load_state_dict(state_dict)


def make(folder, kind, problem=None, *, epochs=3, stop=None, regime=(), **settings):
    problem = problem or Line()
    optimizer = kind(problem.model.parameters(), **settings)
    out = AttemptFiles(folder)
    folder.mkdir(exist_ok=True)
    run = make_run(epochs=epochs, regime=dict(regime))
    return Training(run, problem, optimizer, Meter(CPU), out, stop)


def in_pieces(tmp_path, kind, **settings):
    """The same training, left and gone on with after every fourth step."""
    folders = []
    while True:
        training = make(tmp_path / f"piece{len(folders)}", kind, stop=Stop(), **settings)
        found = list(checkpoint.find(folders[-1:], training.run))
        if folders:
            training.restore(found[0][1])
        training.checkpoints = checkpoint.Checkpoints(training.out, every=math.inf)
        leave_at = training.step + 4
        boundary = training.boundary

        def leaving(*, between_epochs=False, training=training, at=leave_at, boundary=boundary):
            training._stop.asked = training.step >= at
            boundary(between_epochs=between_epochs)

        training.boundary = leaving
        try:
            training.go()
        except InterruptionError:
            folders.append(training.out.path)
            continue
        return training


@pytest.mark.parametrize("kind", [ScheduleFree, Exact])
def test_a_training_in_pieces_is_one_in_one_go(tmp_path, kind):
    whole = make(tmp_path / "whole", kind, lr=0.05)
    whole.go()
    pieces = in_pieces(tmp_path, kind, lr=0.05)

    assert pieces.resumes == 7
    assert pieces.curves.to_json() == whole.curves.to_json()
    assert restoring.differing(pieces.optimizer.state_dict(), whole.optimizer.state_dict()) == []


def test_it_is_evaluated_at_the_weights_that_count(tmp_path):
    """Those of `eval()`; it trains again afterwards."""
    problem = Line()
    training = make(tmp_path, ScheduleFree, problem)
    training.go()
    assert training.optimizer.is_training
    at_training, _ = problem.evaluate("test", 3)
    training.optimizer.eval()
    at_evaluation, _ = problem.evaluate("test", 3)

    assert training.curves.to_json()["test_loss"][-1] == at_evaluation != at_training


def test_an_evaluation_that_fails_leaves_it_training(tmp_path):
    training = make(tmp_path, ScheduleFree)
    evaluate = training.problem.evaluate
    training.problem.evaluate = lambda split, epoch: evaluate(split, epoch if epoch < 2 else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        training.go()
    assert training.optimizer.is_training


def test_state_comes_back_in_the_types_that_it_had(tmp_path):
    first = make(tmp_path, Exact, lr=0.05)
    first.go()
    saved = first.optimizer.state_dict()
    second = make(tmp_path, Exact, lr=0.05)
    restoring.load_optimizer(second.optimizer, saved)
    (state, _) = second.optimizer.state_dict()["state"].values()

    assert state["sum"][0].dtype == torch.float64
    assert state["signs"].dtype == torch.bool
    assert restoring.differing(saved, second.optimizer.state_dict()) == []
    state["signs"].logical_not_()  # what was put back is a copy
    assert restoring.differing(saved, first.optimizer.state_dict()) == []
    assert restoring.differing(saved, second.optimizer.state_dict()) == ["state.0.signs"]


def test_the_versions_of_a_models_modules_are_kept():
    seen = []

    class Versioned(torch.nn.Linear):
        _version = 7

        def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
            seen.append(local_metadata.get("version"))
            super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)

    restoring.load_model(Versioned(2, 1), Versioned(2, 1).state_dict())
    assert seen == [7]


def test_what_does_not_come_back_is_named(tmp_path):
    training = make(tmp_path, Forgetful, lr=0.05)
    training.go()
    saved = training.optimizer.state_dict()
    with pytest.raises(
        CheckpointError, match=r"the optimizer does not come back as it was saved: state.0"
    ):
        restoring.load_optimizer(make(tmp_path, Forgetful, lr=0.05).optimizer, saved)


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        ({"a": math.nan}, {"a": math.nan}, []),
        ({"a": torch.tensor([math.nan])}, {"a": torch.tensor([math.nan])}, []),
        ({"a": torch.tensor([0.0])}, {"a": torch.tensor([-0.0])}, ["a"]),
        ({"a": torch.tensor([1.0])}, {"a": torch.tensor([1.0]).double()}, ["a"]),
        ({"a": torch.zeros(2, 0)}, {"a": torch.zeros(0, 2)}, ["a"]),
        ({"a": {"b": 1}}, {"a": {}}, ["a.b"]),
        ({"betas": (0.9, 0.99)}, {"betas": [0.9, 0.99]}, []),
        ({"list": [1, 2.0]}, {"list": [1, 2]}, ["list[1]"]),
        ({"list": [1]}, {"list": [1, 2]}, ["list"]),
        ({"flag": True}, {"flag": 1}, ["flag"]),
        ({"sparse": torch.eye(2).to_sparse()}, {"sparse": torch.eye(2).to_sparse()}, []),
        (
            {"sparse": torch.eye(2).to_sparse()},
            {"sparse": torch.zeros(2, 2).to_sparse()},
            ["sparse"],
        ),
        (
            {"complex": torch.tensor(1j).conj()},
            {"complex": torch.tensor(1j).conj().resolve_conj()},
            [],
        ),
    ],
)
def test_what_differs_in_type_or_bits(one, other, names):
    assert restoring.differing(one, other) == names


def test_rates_of_all_groups(tmp_path):
    """Also of classes that have none, or none that is one number."""
    problem = Line()
    groups = [
        {"params": [problem.model.bias], "lr": 0.0},
        {"params": [problem.model.weight], "lr": 0.1},
    ]
    out = AttemptFiles(tmp_path)
    training = Training(
        make_run(), problem, torch.optim.SGD(groups, lr=1.0), Meter(CPU), out, Stop()
    )
    training.go()
    assert training.curves.to_json()["learning_rate"] == {"step": [0], "value": [[0.0, 0.1]]}
    assert recording.rates([{"lr": 0.5}]) == 0.5
    assert recording.rates([{"lr": torch.tensor(0.5)}]) == 0.5
    assert recording.rates([{"lr": np.float32(0.5)}]) == 0.5
    assert recording.rates([{"lr": None}]) is None
    assert recording.rates([{}, {"lr": torch.ones(3)}, {"lr": 1}]) == [None, None, 1.0]
    assert recording.is_quick([{"lr": 0.5}, {}])
    assert not recording.is_quick([{"lr": 0.5}, {"lr": torch.tensor(0.5)}])


@pytest.mark.parametrize("lr", [None, "none", torch.tensor([0.1, 0.1, 0.1])])
def test_recording_asks_no_more_than_training(tmp_path, lr):
    class Odd(torch.optim.SGD):
        def __init__(self, params):
            super().__init__(params, lr=0.1)
            self.param_groups[0]["lr"] = lr
            if lr == "none":
                del self.param_groups[0]["lr"]

        def step(self, closure=None):
            pass

    training = make(tmp_path, Odd)
    training.go()
    assert training.curves.to_json()["learning_rate"]["value"] == [None]


def test_the_log_of_an_optimizer_in_torchs_and_numpys_numbers():
    curves = Curves()
    curves.add_log(
        3,
        {
            "torch": torch.tensor(0.5),
            "numpy": np.float32(0.25),
            "array": np.array([1, 2]),
            "list": [torch.tensor([1.0, math.inf]), np.int64(3), None, True],
        },
    )
    found = curves.to_json()["optimizer"]
    assert json.loads(json.dumps(found)) == found
    assert {name: series["value"] for name, series in found.items()} == {
        "torch": [0.5],
        "numpy": [0.25],
        "array": [[1, 2]],
        "list": [[[1.0, None], 3, None, True]],
    }


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ({"alpha": "0.5"}, r"get_log\(\)\['alpha'\] holds a str; what can be kept are numbers"),
        ({"alpha": [1, {}]}, r"get_log\(\)\['alpha'\] holds a dict"),
        ({"alpha": 1j}, "holds a complex"),
        ({"alpha": torch.tensor(1j)}, "holds a complex"),
        ([1, 2], r"get_log\(\) has to give a dict, it gives list"),
    ],
)
def test_a_log_that_cannot_be_kept_is_named(log, words):
    with pytest.raises(InputError, match=words):
        Curves().add_log(0, log)


def vary(**changes):
    """A `Line` with other attributes, or methods that give something else."""
    problem = Line()
    vars(problem).update(changes)
    return problem


def gives(value):
    return lambda *_, **__: value


LOSS = torch.tensor(1.0, requires_grad=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_loss": gives(LOSS)}, r"batch_loss\(\) has to give the pair"),
        ({"batch_loss": gives((1.0, 0.5))}, r"batch_loss\(\): the loss .* it is of type float"),
        (
            {"batch_loss": gives((torch.ones(4), 0.5))},
            r"the mean over the batch; it is of shape \(4,\)",
        ),
        ({"batch_loss": gives((torch.tensor(3), 0.5))}, r"it is of shape \(\) and torch.int64"),
        ({"batch_loss": gives((LOSS, None))}, "gives no accuracy, but has_accuracy is True"),
        ({"batch_loss": gives((LOSS, torch.ones(4)))}, "the accuracy has to be a number"),
        ({"batch_loss": gives((LOSS, 83.0))}, "the accuracy 83 is no share between 0 and 1"),
        ({"loss": gives((torch.tensor(1.0), None))}, "the loss has no gradient"),
        ({"evaluation_batches": gives(iter(()))}, r"evaluation_batches\('train'\) gives no minib"),
        ({"train_batches": gives(iter(()))}, r"ended before its minibatch 0; .* there are 10"),
        (
            {"evaluate": gives((math.nan, 0.5))},
            "digits_mlp is not finite before the first step, .*: train_loss nan",
        ),
    ],
)
def test_what_an_own_problem_gives_is_looked_at(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        make(tmp_path, torch.optim.SGD, vary(**changes), lr=0.1).go()


def test_an_accuracy_may_be_a_plain_number(tmp_path):
    training = make(tmp_path, torch.optim.SGD, lr=0.1)
    training.go()
    assert training.curves.to_json()["test_accuracy"] == [0.5] * 4


def test_attributes_that_are_missing_are_named_all():
    problem = Line()
    check(problem)
    problem.steps_per_epoch = 0
    problem.model = "linear"
    with pytest.raises(InputError, match=r"Line: model has to be .*'linear'; steps_per_epoch .* 0"):
        check(problem)


class Rows(Classification):
    """Two classes in a row; `labels` may be something else than their numbers."""

    valid_size = train_eval_size = 8
    outputs = 2

    @staticmethod
    def labels(labels):
        return labels

    def examples(self, data):
        del data
        labels = torch.arange(32) % 2
        found = Examples(labels[:, None].float(), self.labels(labels))
        return found, found

    def network(self):
        return torch.nn.Linear(1, self.outputs)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"labels": staticmethod(lambda labels: torch.eye(2)[labels])},
            r"Wrong.examples\(\): the labels of the training file .* of shape \(32, 2\) and torch.float32",
        ),
        ({"labels": staticmethod(lambda labels: labels.int())}, "they are of shape .* torch.int32"),
        ({"labels": staticmethod(lambda labels: labels.numpy())}, "they are of type ndarray"),
        ({"labels": staticmethod(lambda labels: labels[:-1])}, "has 32 inputs and 31 labels"),
        ({"network": lambda _: torch.nn.Flatten(0)}, r"logits of shape \(4, classes\) .* \(4,\)"),
    ],
)
def test_what_a_classification_gives_is_looked_at(changes, words):
    wrong = type("Wrong", (Rows,), changes)
    with pytest.raises(InputError, match=words):
        wrong(make_run(batch_size=4), data=None, device=CPU).evaluate("test", 0)
