"""The small GPT: its windows of a text, its network and initial weights, its own and other texts."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from jobs.datasets import find
from jobs.errors import DataError, InputError
from jobs.problems import build
from jobs.problems.randomness import Streams
from jobs.problems.text_gpt import TextGpt, network
from jobs.problems.transformer import Attention
from tests.helpers import make_run

CPU = torch.device("cpu")
RUN = make_run(problem="text_gpt", hyperparameters={}, batch_size=4, init="gpt2")
NOISE = np.random.default_rng(0).integers(0, 256, 20_000, dtype=np.uint8).tobytes()


class Noise(TextGpt):
    """A text in which every window is told by its bytes."""

    def text(self, data):
        del data
        return NOISE


def make(problem=Noise, **changes):
    return problem(replace(RUN, **changes), data=None, device=CPU)


def places(batches):
    """Where each window begins in the text; they are all there, with the byte after them."""
    found = []
    for (windows,) in batches:
        assert windows.shape == (4, 129)
        found += [NOISE.index(bytes(window.tolist())) for window in windows]
    return found


def test_an_epoch_is_one_pass_over_the_training_text_from_an_offset_of_its_own():
    problem = make(batch_size=1)
    offsets, orders = set(), set()
    for epoch in (1, 2, 3):
        windows = [w for (w,) in problem.train_batches(epoch)]
        assert len(windows) == problem.steps_per_epoch == 18_000 // 128 - 1
        found = [NOISE.index(bytes(window[0].tolist())) for window in windows]
        first = min(found)
        assert 0 <= first < 128
        assert sorted(found) == [first + 128 * i for i in range(len(found))]
        assert max(found) + 129 <= 18_000
        offsets.add(first)
        orders.add(tuple((place - first) // 128 for place in found))
    assert len(offsets) == len(orders) == 3


def test_validation_and_test_text_come_after_the_training_text_and_in_order():
    problem = make()
    assert places(problem.evaluation_batches("valid", 1)) == [18_000 + 128 * i for i in range(4)]
    assert places(problem.evaluation_batches("test", 1)) == [19_000 + 128 * i for i in range(4)]
    some = [places(problem.evaluation_batches("train", epoch)) for epoch in (1, 2)]
    assert all(len(each) == 4 and max(each) < 18_000 for each in some)
    assert some[0] != some[1]


@pytest.mark.parametrize("protocol", ["default", "deepobs-2019"])
def test_an_epoch_that_goes_on_late_has_the_same_batches(protocol):
    straight, resumed = make(protocol=protocol), make(protocol=protocol)
    whole = places(straight.train_batches(1))
    resumed.load_state_dict(straight.state_dict())
    assert places(resumed.train_batches(1, start=7)) == whole[4 * 7 :]
    assert places(make(protocol=protocol, seed=43).train_batches(1)) != whole


def test_epochs_do_not_depend_on_those_before_them():
    one, other = make(), make()
    list(other.train_batches(1))
    other.evaluate("train", 1)
    assert places(one.train_batches(2)) == places(other.train_batches(2))


def test_what_is_guessed_depends_on_nothing_that_comes_later():
    net = network(Streams(1))
    text = torch.arange(2 * 128).reshape(2, 128) % 256
    changed = text.clone()
    changed[:, 60] += 1
    with torch.no_grad():
        before, after = net(text), net(changed)
    assert before.shape == (2, 128, 256)
    assert torch.equal(before[:, :60], after[:, :60])
    differs = (before != after).any(dim=2)  # (2, 128)
    assert differs[:, 60:].all()


@pytest.mark.parametrize("is_causal", [True, False])
def test_attention_is_that_of_torch(is_causal):
    torch.manual_seed(0)
    attention = Attention(32, 4, is_causal=is_causal)
    tokens = torch.randn(2, 10, 32)
    queries, keys, values = (
        part.unflatten(2, (4, 8)).transpose(1, 2) for part in attention.qkv(tokens).chunk(3, dim=2)
    )
    gathered = functional.scaled_dot_product_attention(queries, keys, values, is_causal=is_causal)
    expected = attention.out(gathered.transpose(1, 2).flatten(2))
    assert torch.allclose(attention(tokens), expected, atol=1e-6)


def test_it_has_second_derivatives():
    """Hessian-vector products agree with differences of gradients."""
    problem = make()
    problem.model.double()
    weights = list(problem.model.parameters())
    batch = next(problem.train_batches(1))
    generator = torch.Generator().manual_seed(0)
    direction = [torch.randn(w.shape, generator=generator, dtype=w.dtype) for w in weights]

    def gradients(*, create_graph=False):
        return torch.autograd.grad(problem.loss(batch)[0], weights, create_graph=create_graph)

    first = gradients(create_graph=True)
    product = torch.autograd.grad(first, weights, grad_outputs=direction)
    step, ends = 1e-5, []
    for length in (step, -2 * step):
        with torch.no_grad():
            for weight, towards in zip(weights, direction, strict=True):
                weight.add_(towards, alpha=length)
        ends.append(gradients())
    for name, found, ahead, behind in zip(
        dict(problem.model.named_parameters()), product, *ends, strict=True
    ):
        expected = (ahead - behind) / (2 * step)
        assert (found - expected).norm() <= 1e-4 * expected.norm() + 1e-8, name


def test_initial_weights_are_those_of_gpt2():
    net = make().model
    for name, weight in net.named_parameters():
        if name.endswith("bias"):
            assert weight.abs().max() == 0
        elif "norm" in name:
            assert weight.min() == weight.max() == 1
        else:
            residual = name.endswith(("attention.out.weight", "mlp.2.weight"))
            sd = 0.02 / 8**0.5 if residual else 0.02
            assert weight.std().item() == pytest.approx(sd, rel=0.03), name
            assert abs(weight.mean().item()) < 0.05 * sd
    assert make().evaluate("valid", 0)[0] == pytest.approx(math.log(256), abs=0.15)


def test_the_seed_alone_decides_and_torchs_generator_is_left_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = make()
    loss = one.evaluate("train", 0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = make(), make(seed=43)
    assert again.evaluate("train", 0) == loss
    assert other.evaluate("train", 0) != loss


class Alphabet(TextGpt):
    """A text of the user's own, in the folder that the spec names."""

    def text(self, data):
        return (data / "abc.txt").read_bytes()


def test_a_text_of_ones_own_is_learnt(tmp_path):
    (tmp_path / "abc.txt").write_bytes(b"abcdefghijklmnopqrstuvwxyz" * 500)
    problem = Alphabet(RUN, data=tmp_path, device=CPU)
    optimizer = torch.optim.AdamW(problem.model.parameters(), lr=3e-3)
    for batch in problem.train_batches(1):
        optimizer.zero_grad()
        problem.loss(batch)[0].backward()
        optimizer.step()
    loss, accuracy = problem.evaluate("test", 1)
    assert loss < 0.5
    assert accuracy is None


@pytest.mark.parametrize(
    ("batch_size", "text"),
    [
        (0, "batch size 0: text_gpt evaluates on 6 windows of 128 bytes"),
        (7, "batch size 7: text_gpt evaluates on 6 windows of 128 bytes"),
    ],
)
def test_a_batch_has_to_be_full(batch_size, text):
    with pytest.raises(InputError, match=text):
        make(batch_size=batch_size)


def test_a_text_may_be_too_short():
    class Short(TextGpt):
        def text(self, data):
            del data
            return b"to be"

    with pytest.raises(InputError, match="batch size 4: text_gpt evaluates on 0 windows"):
        make(Short)


def test_the_jargon_file():
    try:
        problem = build(replace(RUN, batch_size=32), data=None, device=CPU)
    except DataError:
        pytest.skip(f"the Jargon File is not on this machine (${find.VARIABLE})")
    assert problem.steps_per_epoch == 369
    (windows,) = next(problem.evaluation_batches("test", 0))
    assert b":Zawinski's Law:" in bytes(windows[:, :-1].flatten().tolist())
    with torch.no_grad():
        loss, _ = problem.loss(next(problem.train_batches(1)))
    assert loss.item() == pytest.approx(5.506932, rel=1e-5)  # the definition has not changed
