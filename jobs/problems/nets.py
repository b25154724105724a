"""The networks of the test problems and DeepOBS' initial weights for them.

Pooling comes before the ReLU, not after it as in DeepOBS: the maximum of ReLUs is the ReLU of the
maximum, with a quarter of the values to compute.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from jobs.problems.randomness import Floats, InitialDraws

_Net = TypeVar("_Net", bound=nn.Module)


def logreg() -> nn.Sequential:
    """DeepOBS' `mnist_logreg`: 784-10."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


def mlp(*widths: int) -> nn.Sequential:
    """Dense layers with ReLU between them; DeepOBS' `mnist_mlp` is 784-1000-500-100-10."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def two_conv_two_dense(
    size: int, channels: tuple[int, int], width: int, kernel: int
) -> nn.Sequential:
    """DeepOBS' `mnist_2c2d` is `(28, (32, 64), 1024, 5)`: SAME padding of an odd kernel is symmetric."""
    first, second = channels
    return nn.Sequential(
        nn.Conv2d(1, first, kernel, padding=kernel // 2),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(first, second, kernel, padding=kernel // 2),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(second * (size // 4) ** 2, width),
        nn.ReLU(),
        nn.Linear(width, 10),
    )


def three_conv_three_dense(pool: Callable[[], nn.Module]) -> nn.Sequential:
    """DeepOBS' `cifar10_3c3d` (with `same_pool`) and the network of Roos and Hennig (`centred_pool`)."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 5),
        pool(),
        nn.ReLU(),
        nn.Conv2d(64, 96, 3),
        pool(),
        nn.ReLU(),
        nn.Conv2d(96, 128, 3, padding=1),
        pool(),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(1152, 512),
        nn.ReLU(),
        nn.Linear(512, 256),
        nn.ReLU(),
        nn.Linear(256, 10),
    )


def same_pool() -> nn.Module:
    """3 x 3 max-pooling, stride 2, SAME: one more row and column at the bottom and the right.

    DeepOBS pads with zeros, which are the least of all values after a ReLU; so it is enough to let
    the last windows reach over the edge.
    """
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def centred_pool() -> nn.Module:
    """3 x 3 max-pooling, stride 2, with one more row and column at every side."""
    return nn.MaxPool2d(3, stride=2, padding=1)


Init = Callable[[nn.Conv2d | nn.Linear, InitialDraws], None]
"""A function that sets the weight and the bias of one layer."""


def build(
    network: Callable[[], nn.Sequential], init: Init | None, draws: InitialDraws
) -> nn.Sequential:
    """The network with its initial weights, on the CPU.

    As in DeepOBS every layer first gets torch's own initial weights, then those of `init`, if
    given: for the replay of old runs, `draws` has to advance by both.
    """
    net = empty(network)
    layers = [layer for layer in net if isinstance(layer, (nn.Conv2d, nn.Linear))]
    for layer in layers:
        torch_default(layer, draws)
    if init is not None:
        for layer in layers:
            init(layer, draws)
    return net


def empty(network: Callable[[], _Net]) -> _Net:
    """The network on the CPU with unset weights; nothing is drawn from torch's global generator."""
    with torch.device("meta"):
        net = network()
    return net.to_empty(device="cpu")


def torch_default(layer: nn.Conv2d | nn.Linear, draws: InitialDraws) -> None:
    """Torch's initial weights and biases: from U(-b, b), b = 1 / sqrt(fan-in)."""
    bound = fans(layer)[0] ** -0.5
    fill(layer.weight, uniform(draws, layer.weight, bound))
    if layer.bias is not None:
        fill(layer.bias, uniform(draws, layer.bias, bound))


def truncated_normal(sd: float, bias: float) -> Init:
    """Weights from N(0, sd^2) cut at two standard deviations, constant biases."""

    def init(layer: nn.Conv2d | nn.Linear, draws: InitialDraws) -> None:
        fill(layer.weight, sd * draws.truncated_normal(layer.weight.numel()))
        constant(layer.bias, bias)

    return init


def xavier(layer: nn.Conv2d | nn.Linear, draws: InitialDraws) -> None:
    """DeepOBS' 3c3d: Xavier normal for convolutions, Xavier uniform for dense layers, no bias."""
    sd = (2.0 / sum(fans(layer))) ** 0.5
    if isinstance(layer, nn.Conv2d):
        fill(layer.weight, np.float32(sd) * draws.normal(layer.weight.numel()))
    else:
        fill(layer.weight, uniform(draws, layer.weight, 3**0.5 * sd))
    constant(layer.bias, 0.0)


def zero(layer: nn.Conv2d | nn.Linear, draws: InitialDraws) -> None:  # noqa: ARG001 - an Init
    """All zero: DeepOBS' logistic regression."""
    constant(layer.weight, 0.0)
    constant(layer.bias, 0.0)


def fans(layer: nn.Conv2d | nn.Linear) -> tuple[int, int]:
    """Fan-in and fan-out as torch.nn.init counts them."""
    outputs, inputs, *kernel = layer.weight.shape
    area = int(np.prod(kernel, dtype=int))
    return inputs * area, outputs * area


def uniform(draws: InitialDraws, tensor: Tensor, bound: float) -> Floats:
    """Numbers from U(-bound, bound), as many as the tensor has."""
    return draws.uniform(tensor.numel()) * np.float32(2 * bound) - np.float32(bound)


@torch.no_grad()
def fill(tensor: Tensor, values: Floats) -> None:
    """Put `values` (flat) into `tensor`."""
    tensor.copy_(torch.from_numpy(values).view_as(tensor))  # float64 is rounded here


@torch.no_grad()
def constant(tensor: Tensor | None, value: float) -> None:
    """Fill the tensor, if there is one, with `value`."""
    if tensor is not None:
        tensor.fill_(value)
