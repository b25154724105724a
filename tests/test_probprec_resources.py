"""Memory, reference cycles and waiting for the device."""

import gc
import weakref

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import probprec


class Believer(probprec.PreconditionedSGD):
    """Trusts the posterior mean, and so always finds directions."""

    significance = 0.0


@pytest.fixture
def net():
    generator = torch.Generator().manual_seed(0)
    result = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3))
    for p in result.parameters():
        p.data.normal_(0, 0.3, generator=generator)
    return result


def train(net, optimizer, steps):
    for i in range(steps):
        x = torch.randn(64, 6, generator=torch.Generator().manual_seed(i))
        optimizer.zero_grad()
        optimizer.backward(nn.functional.cross_entropy(net(x), x[:, :3].argmax(1)))
        optimizer.step()


def test_no_graph_and_no_reference_cycle_is_left_behind(net):
    optimizer = probprec.PreconditionedSGD(net.parameters(), 2, 2, 2)
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            train(net, optimizer, 1)
            assert all(p.grad.grad_fn is None for p in net.parameters())
            grads = [weakref.ref(p.grad) for p in net.parameters()]
            optimizer.zero_grad()
            assert all(grad() is None for grad in grads)
    finally:
        gc.enable()


def test_memory_does_not_grow_over_epochs(net):
    optimizer = probprec.PreconditionedTunedMomentum(net.parameters(), 0.01)
    counts = []
    for _ in range(4):
        train(net, optimizer, 30)
        optimizer.start_estimate()
        gc.collect()
        kinds = (torch.Tensor, nn.Parameter)
        sizes = [o.numel() for o in gc.get_objects() if type(o) in kinds]
        counts.append((len(sizes), sum(sizes)))
    assert counts[0][0] == counts[1][0] == counts[2][0] == counts[3][0]
    assert counts[3][1] <= counts[0][1] + 2 * sum(
        p.numel() for p in net.parameters()
    )  # as many directions more, at most


class Recorder(TorchDispatchMode):
    """The names of the operations that run."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Run it."""
        self.names.add(func.name())
        return func(*args, **(kwargs or {}))


def test_steps_after_the_estimate_never_wait_for_the_device(net):
    optimizer = Believer(net.parameters())
    train(net, optimizer, 20)
    assert optimizer.get_log()["curvatures"] != [[]]
    with Recorder() as recorder:
        optimizer.step()
    assert "aten::addmv_" in recorder.names
    assert not {"aten::_local_scalar_dense", "aten::is_nonzero", "aten::equal"} & recorder.names
