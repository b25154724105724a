"""The small vision transformer: its positions, initial weights and tokens, and that it learns."""

import math

import pytest
import torch
from torch.nn import functional

from jobs.problems.cifar10_vit import network, positions
from jobs.problems.classification import Examples
from jobs.problems.images import Cifar10
from jobs.problems.randomness import Streams
from tests.helpers import make_run

RUN = make_run(problem="cifar10_vit", hyperparameters={}, batch_size=8, init="simple_vit")


class Colours(Cifar10):
    """Images of noise that are more red than blue, or the other way round."""

    valid_size = 32
    train_eval_size = 32

    def examples(self, data):
        del data
        generator = torch.Generator().manual_seed(0)
        labels = torch.arange(192) % 2
        images = torch.randint(0, 120, (192, 3, 32, 32), generator=generator, dtype=torch.uint8)
        images[labels == 0, 0] += 100
        images[labels == 1, 2] += 100
        return Examples(images[:160], labels[:160]), Examples(images[160:], labels[160:])


def make():
    return Colours(RUN, data=None, device=torch.device("cpu"))


def with_a_head():
    """The network of seed 42, but with a head that says something."""
    net = network(Streams(42))
    with torch.no_grad():
        net.head.weight.copy_(torch.linspace(-1, 1, 1280).sin().view(10, 128))
    return net


def test_positions_are_waves_of_column_and_row():
    found = positions()
    assert found.shape == (64, 128)
    row, column = 3, 5
    sin_x, cos_x, sin_y, cos_y = found[8 * row + column].split(32)
    for i in (0, 1, 16, 31):
        frequency = 10_000 ** (-i / 31)
        assert sin_x[i].item() == pytest.approx(math.sin(column * frequency), abs=1e-6)
        assert cos_x[i].item() == pytest.approx(math.cos(column * frequency), abs=1e-6)
        assert sin_y[i].item() == pytest.approx(math.sin(row * frequency), abs=1e-6)
        assert cos_y[i].item() == pytest.approx(math.cos(row * frequency), abs=1e-6)


def test_tokens_are_patches_that_know_their_place():
    net = with_a_head()
    tokens = []
    net.blocks.register_forward_pre_hook(lambda _, given: tokens.append(given[0]))
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    changed, swapped = images.clone(), images.clone()
    changed[:, :, 15, 20] += 1  # within the patch of row 3, column 5
    swapped[:, :, :4, :4], swapped[:, :, -4:, -4:] = images[:, :, -4:, -4:], images[:, :, :4, :4]
    with torch.no_grad():
        logits = [net(each) for each in (images, changed, swapped)]
    differs = (tokens[0] != tokens[1]).any(dim=2)[0]  # (64,)
    assert differs.nonzero().flatten().tolist() == [8 * 3 + 5]
    pixels = images[0, :, 12:16, 20:24].flatten()
    expected = net.patches.weight.flatten(1) @ pixels + positions()[8 * 3 + 5]
    assert torch.allclose(tokens[0][0, 8 * 3 + 5], expected, atol=1e-5)
    assert not torch.allclose(logits[0], logits[2], atol=1e-4)


def test_initial_weights_are_those_of_flax_with_a_head_of_zeros():
    problem = make()
    for name, weight in problem.model.named_parameters():
        if name.startswith("head") or name.endswith("bias"):
            assert weight.abs().max() == 0
        elif "norm" in name:
            assert weight.min() == weight.max() == 1
        elif name == "patches.weight":
            assert weight.std().item() == pytest.approx(48**-0.5, rel=0.03)
            assert weight.abs().max().item() <= 2 * 48**-0.5 / 0.8796
        else:
            bound = (6 / (128 + (512 if "mlp" in name else 128))) ** 0.5
            assert weight.abs().max().item() == pytest.approx(bound, rel=0.01), name
            assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.03), name
    assert problem.evaluate("test", 0)[0] == pytest.approx(math.log(10), rel=1e-5)


def test_the_definition_has_not_changed():
    images = torch.linspace(-2, 2, 4 * 3072).mul(100).sin().view(4, 3, 32, 32)
    with torch.no_grad():
        loss = functional.cross_entropy(with_a_head()(images), torch.arange(4))
    assert loss.item() == pytest.approx(2.36267, rel=1e-5)


def test_it_learns():
    problem = make()
    optimizer = torch.optim.AdamW(problem.model.parameters(), lr=1e-3)
    for batch in problem.train_batches(1):
        optimizer.zero_grad()
        problem.loss(batch)[0].backward()
        optimizer.step()
    loss, accuracy = problem.evaluate("test", 1)
    assert accuracy > 0.9
    assert loss < 1.0
