"""The problems of the catalog, and an own one: shapes, sizes, initial weights, passes, evaluation."""

import json
import random
import subprocess
import sys
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from jobs.datasets import find
from jobs.errors import DataError, InputError
from jobs.problems import build
from jobs.problems.catalog import PROBLEMS
from jobs.problems.classification import Examples
from jobs.problems.images import Cifar10
from tests.helpers import make_run

CPU = torch.device("cpu")
DIGITS = make_run(hyperparameters={})
CIFAR = replace(DIGITS, problem="cifar10_3c3d")


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Two threads of torch wait for each other longer than these small problems take."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make(run, **changes):
    return build(replace(run, **changes), data=None, device=CPU)


def make_or_skip(run, **changes):
    try:
        return make(run, **changes)
    except DataError:
        pytest.skip(f"the data of {changes['problem']} is not on this machine (${find.VARIABLE})")


class SmallCifar(Cifar10):
    """CIFAR-10 with few images, of noise."""

    valid_size = 64
    train_eval_size = 96

    def __init__(self, run):
        super().__init__(run, data=None, device=CPU)

    def examples(self, data):
        del data
        draws = np.random.default_rng(0)
        images = draws.integers(0, 256, (256, 3, 32, 32), dtype=np.uint8)
        labels = draws.integers(0, 10, 256)
        examples = Examples(torch.from_numpy(images), torch.from_numpy(labels))
        return examples, examples


class BlankCifar(Cifar10):
    """CIFAR-10 in its size, without its images."""

    def __init__(self, run):
        super().__init__(run, data=None, device=CPU)

    def examples(self, data):
        del data
        blank = torch.zeros(1, dtype=torch.uint8)
        train, test = (
            Examples(blank.expand(n, 3, 32, 32), torch.zeros(n).long()) for n in (50_000, 10_000)
        )
        return train, test


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("digits_mlp", 12_060),
        ("digits_2c2d", 6_058),
        ("fmnist_logreg", 7_850),
        ("fmnist_mlp", 1_336_610),
        ("fmnist_2c2d", 3_274_634),
        ("mnist_logreg", 7_850),
        ("mnist_mlp", 1_336_610),
        ("mnist_2c2d", 3_274_634),
        ("cifar10_3c3d", 895_210),
        ("cifar10_roos", 895_210),
        ("cifar10_vit", 1_197_450),
        ("quadratic_deep", 100),
        ("text_gpt", 842_496),
    ],
)
def test_a_problem_of_the_catalog_is_as_large_as_its_source_says(name, parameters):
    info = PROBLEMS[name]
    run = replace(DIGITS, problem=name, batch_size=info.batch_size, init=info.inits[0])
    problem = BlankCifar(run) if info.dataset == "cifar10" else make_or_skip(run, problem=name)
    assert sum(p.numel() for p in problem.model.parameters()) == parameters
    assert problem.has_accuracy == (name not in {"quadratic_deep", "text_gpt"})
    loss, accuracy = problem.loss(next(problem.train_batches(1)))
    assert loss.shape == ()
    assert loss.requires_grad
    assert accuracy is None or not accuracy.requires_grad


@pytest.mark.parametrize(
    ("problem", "batch_size", "steps"),
    [
        ("digits_mlp", 32, 37),
        ("fmnist_logreg", 128, 390),
        ("fmnist_logreg", 64, 781),
        ("quadratic_deep", 128, 7),
        ("quadratic_deep", 32, 31),
        ("quadratic_deep", 16, 62),
    ],
)
def test_what_does_not_fill_a_batch_is_dropped(problem, batch_size, steps):
    made = make_or_skip(DIGITS, problem=problem, batch_size=batch_size)
    assert made.steps_per_epoch == steps
    sizes = [len(batch[0]) for batch in made.train_batches(1)]
    assert sizes == [batch_size] * steps
    kept = sum(len(batch[0]) for batch in made.evaluation_batches("test", 0))
    whole = {"digits_mlp": 300, "fmnist_logreg": 10_000}.get(problem, 1000)
    assert kept == whole // batch_size * batch_size


def test_cifar_has_the_steps_of_deepobs():
    for batch_size, steps in ((128, 312), (64, 625), (32, 1250)):
        assert BlankCifar(replace(CIFAR, batch_size=batch_size)).steps_per_epoch == steps


def test_training_and_validation_set_share_no_example_and_train_eval_draws_from_both():
    problem = make(DIGITS, batch_size=1)
    inputs = {
        what: torch.cat([batch[0].flatten(1) for batch in batches])
        for what, batches in (
            ("train", problem.train_batches(1)),
            ("valid", problem.evaluation_batches("valid", 1)),
            ("eval", problem.evaluation_batches("train", 1)),
            ("eval again", problem.evaluation_batches("train", 2)),
        )
    }
    images = {what: {row.numpy().tobytes() for row in rows} for what, rows in inputs.items()}
    assert len(inputs["train"]) == 1197
    assert len(inputs["valid"]) == len(inputs["eval"]) == 300
    assert not images["train"] & images["valid"]
    assert images["eval"] & images["train"]
    assert images["eval"] & images["valid"]
    assert images["eval"] != images["eval again"]


@pytest.mark.parametrize("problem", ["digits_2c2d", "quadratic_deep"])
def test_the_batches_of_an_epoch_do_not_depend_on_the_epochs_before_it(problem):
    one, other = make(DIGITS, problem=problem), make(DIGITS, problem=problem)
    for epoch in (1, 2):
        other.evaluate("train", epoch - 1)
        list(other.train_batches(epoch))
    third = [list(each.train_batches(3)) for each in (one, other)]
    assert all(same(a, b) for a, b in zip(*third, strict=True))
    late = next(one.train_batches(3, start=5))
    assert same(late, third[0][5])
    assert not same(next(one.train_batches(2)), third[0][0])


@pytest.mark.parametrize("protocol", ["default", "deepobs-2019"])
def test_a_resumed_epoch_goes_on_with_the_same_augmented_batches(protocol):
    run = replace(CIFAR, protocol=protocol, batch_size=32)
    straight, resumed = SmallCifar(run), SmallCifar(run)
    straight.evaluate("train", 0)
    batches = straight.train_batches(1)
    for _ in islice(batches, 3):
        pass
    resumed.load_state_dict(json.loads(json.dumps(straight.state_dict())))
    rest = list(resumed.train_batches(1, start=3))
    assert len(rest) == 3
    assert all(same(a, b) for a, b in zip(batches, rest, strict=True))
    assert straight.evaluate("train", 1) == resumed.evaluate("train", 1)


def test_images_stay_bytes_until_a_batch_is_made():
    problem = make(DIGITS)
    assert problem._train.inputs.dtype == torch.uint8
    inputs, _ = next(problem.train_batches(1))
    assert inputs.dtype == torch.float32
    assert inputs.min() == 0
    assert inputs.max() == 1


def test_train_images_of_cifar_are_augmented_and_all_are_normalized():
    problem = SmallCifar(CIFAR)
    raw = {row.numpy().tobytes() for row in problem._test.inputs}
    mean = torch.tensor([0.49139968, 0.48215841, 0.44653091])[:, None, None]
    sd = torch.tensor([0.24703223, 0.24348513, 0.26158784])[:, None, None]
    known = {}
    for split in ("train", "valid", "test"):
        inputs, _ = next(problem.evaluation_batches(split, 0))
        pixels = ((inputs * sd + mean) * 255).round().byte()
        known[split] = sum(row.numpy().tobytes() in raw for row in pixels)
    assert known == {"train": 0, "valid": 32, "test": 32}


def test_the_loss_holds_the_squares_of_the_weights_but_not_of_the_biases():
    problem = SmallCifar(CIFAR)
    batch = next(problem.train_batches(1))
    plain = functional.cross_entropy(problem.model(batch[0]), batch[1])
    weights = [p for p in problem.model.parameters() if p.dim() > 1]
    expected = plain + 0.5 * 0.002 * sum(w.double().square().sum() for w in weights)
    assert problem.loss(batch)[0].item() == pytest.approx(expected.item(), rel=1e-6)
    with torch.no_grad():
        for p in problem.model.parameters():
            if p.dim() == 1:
                p.fill_(100.0)
    assert problem.regularization().item() == pytest.approx((expected - plain).item(), rel=1e-4)


def test_an_evaluation_is_the_mean_over_batches_and_leaves_the_mode_as_it_was():
    problem = SmallCifar(CIFAR)
    problem.model.train()
    loss, accuracy = problem.evaluate("test", 0)
    assert problem.model.training
    with torch.no_grad():
        single = [problem.loss(batch) for batch in problem.evaluation_batches("test", 0)]
    assert loss == pytest.approx(np.mean([each[0].item() for each in single]), rel=1e-6)
    assert accuracy == pytest.approx(np.mean([each[1].item() for each in single]))


@pytest.mark.parametrize("protocol", ["default", "deepobs-2019"])
def test_initial_weights_have_the_spread_of_deepobs(protocol):
    convolutional = SmallCifar(replace(CIFAR, protocol=protocol)).model
    dense = make(DIGITS, protocol=protocol).model
    for layer in convolutional:
        if isinstance(layer, nn.Conv2d):
            sd = (2 / (layer.weight[0].numel() + layer.weight[:, 0].numel())) ** 0.5
            assert layer.weight.std().item() == pytest.approx(sd, rel=0.05)
        if isinstance(layer, nn.Linear):
            bound = (6 / (layer.in_features + layer.out_features)) ** 0.5
            assert layer.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
            assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
        if getattr(layer, "bias", None) is not None:
            assert layer.bias.abs().max() == 0
    truncated = dense[1].weight
    assert truncated.abs().max().item() <= 0.2
    assert truncated.std().item() == pytest.approx(0.1 * 0.8796, rel=0.05)  # of N(0, 1) cut at 2


def test_the_torch_init_is_that_of_torchs_layers():
    model = SmallCifar(replace(CIFAR, problem="cifar10_roos", init="torch")).model
    for layer in model:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            bound = layer.weight[0].numel() ** -0.5
            assert layer.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
            assert layer.bias.abs().max().item() == pytest.approx(bound, rel=0.3)
            assert layer.bias.abs().max().item() <= bound


def global_states():
    numpy_state = np.random.get_state()[1].tolist()  # noqa: NPY002 - the global one is meant
    return random.getstate(), numpy_state, torch.get_rng_state().tolist()


@pytest.mark.parametrize("protocol", ["default", "deepobs-2019"])
@pytest.mark.parametrize("problem", ["digits_2c2d", "quadratic_deep"])
def test_global_generators_are_neither_read_nor_changed(problem, protocol):
    results = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - the global one is what this is about
        torch.manual_seed(seed)
        before = global_states()
        made = make(DIGITS, problem=problem, protocol=protocol)
        results.append([made.evaluate(split, 0) for split in ("train", "valid", "test")])
        results[-1] += [[tensor.tolist() for batch in made.train_batches(1) for tensor in batch]]
        assert global_states() == before
    assert results[0] == results[1]


@pytest.mark.parametrize(("problem", "rate"), [("digits_mlp", 0.3), ("digits_2c2d", 0.1)])
def test_the_embedded_problems_are_learnt_within_seconds(problem, rate):
    made = make(DIGITS, problem=problem)
    optimizer = torch.optim.SGD(made.model.parameters(), lr=rate)
    for epoch in range(1, 11):
        for batch in made.train_batches(epoch):
            optimizer.zero_grad()
            made.loss(batch)[0].backward()
            optimizer.step()
    loss, accuracy = made.evaluate("test", 10)
    assert accuracy > 0.93
    assert loss < 0.25


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"init": "he"}, "digits_mlp has no init 'he'; it has deepobs"),
        ({"protocol": "2019"}, "no protocol '2019'; there are default, deepobs-2019"),
        ({"batch_size": 0}, "batch size 0: digits_mlp evaluates on 300 examples"),
        ({"batch_size": 301}, "batch size 301: digits_mlp evaluates on 300 examples"),
        ({"problem": "quadratic_deep", "batch_size": 1001}, "batch size 1001: quadratic_deep has"),
    ],
)
def test_what_a_problem_does_not_have_is_said(changes, text):
    with pytest.raises(InputError, match="^" + text):
        make(DIGITS, **changes)


OWN = '''
"""Two blobs of points, told apart by a small network."""

import torch
from torch import nn

from jobs.problems.classification import Classification, Examples


class Blobs(Classification):
    """800 points for training, 100 of them for validation; 200 for testing."""

    valid_size = 100
    train_eval_size = 100

    def examples(self, data):
        labels = torch.arange(1000) % 2
        noise = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
        points = noise + 3.0 * labels[:, None]
        return Examples(points[:800], labels[:800]), Examples(points[800:], labels[800:])

    def network(self):
        return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
'''


def test_an_own_problem_is_a_class_named_by_its_dotted_path(tmp_path, monkeypatch):
    (tmp_path / "my_blobs.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    before = torch.get_rng_state()
    one, again = (make(DIGITS, problem="my_blobs.Blobs") for _ in range(2))
    other = make(DIGITS, problem="my_blobs.Blobs", seed=43)
    assert torch.equal(torch.get_rng_state(), before)
    assert same(one.model.parameters(), again.model.parameters())
    assert not same(one.model.parameters(), other.model.parameters())
    assert one.steps_per_epoch == 700 // 32
    optimizer = torch.optim.SGD(one.model.parameters(), lr=0.1)
    for epoch in (1, 2, 3):
        for batch in one.train_batches(epoch):
            optimizer.zero_grad()
            one.loss(batch)[0].backward()
            optimizer.step()
    assert one.evaluate("test", 3)[1] > 0.95


def test_a_class_that_is_no_problem_is_refused():
    with pytest.raises(InputError, match=r"torch.nn.Linear is not a jobs.problems.problem.Problem"):
        make(DIGITS, problem="torch.nn.Linear")


def test_a_login_node_needs_neither_torch_nor_numpy():
    code = (
        "import sys, jobs.problems, jobs.problems.catalog as c, jobs.datasets.find as f;"
        "f.require(c.datasets_of(['digits_mlp', 'quadratic_deep', 'my.Own']));"
        "print([m for m in ('torch', 'numpy', 'sklearn', 'scipy') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"
