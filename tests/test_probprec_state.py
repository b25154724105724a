"""Saving and loading in every phase, copies, parameter groups and learning rate schedulers."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

import probprec

COUNTS = {"num_observations": 3, "prior_iterations": 3}
EPOCH = 9  # 5 minibatches of estimate, 4 updates
ADAM = "torch.optim.Adam"


class Believer(probprec.PreconditionedSGD):
    """Trusts the posterior mean, so that there are directions to save."""

    significance = 0.0


MAKERS = {
    "Believer": lambda p: Believer(p, **COUNTS),
    "PreconditionedSGD": lambda p: probprec.PreconditionedSGD(p, **COUNTS),
    "with lr": lambda p: probprec.PreconditionedSGD(p, lr=0.05, **COUNTS),
    "with momentum": lambda p: Believer(p, momentum=0.9, **COUNTS),
    "with decay": lambda p: probprec.PreconditionedSGD(p, weight_decay=0.1, **COUNTS),
    "AdaptiveSGD": lambda p: probprec.AdaptiveSGD(p, **COUNTS),
    "OnlyAdaptiveSGD": lambda p: probprec.OnlyAdaptiveSGD(p, **COUNTS),
    "PreconditionedTunedSGD": lambda p: probprec.PreconditionedTunedSGD(p, 0.1, **COUNTS),
    "PreconditionedTunedMomentum": lambda p: probprec.PreconditionedTunedMomentum(p, 0.1, **COUNTS),
    "Adam": lambda p: probprec.Preconditioner(p, lr=0.01, optim_class=ADAM, **COUNTS),
    "groups": lambda p: Believer(
        [{"params": [q], "lr": 0.1} if q.dim() == 1 else {"params": [q]} for q in p], **COUNTS
    ),
}


def make(name):
    generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    for p in net.parameters():
        p.data.normal_(0, 0.5, generator=generator)
    return net, MAKERS[name](list(net.parameters()))


def train(net, optimizer, start, stop):
    for i in range(start, stop):
        if i % EPOCH == 0:
            optimizer.start_estimate()
        generator = torch.Generator().manual_seed(i)
        x = torch.randn(16, 4, generator=generator)
        optimizer.zero_grad()
        optimizer.backward(nn.functional.cross_entropy(net(x), x[:, :3].argmax(1)))
        optimizer.step()
        optimizer.maybe_start_estimate(max_ratio=1e9, min_steps=1)


def bits(value):
    """`value` with every tensor as its bytes."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), list(value.shape), value.reshape(-1).view(torch.uint8).tolist()
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    return [bits(item) for item in value] if isinstance(value, list) else value


def everything(net, optimizer):
    """All that may differ between two runs."""
    return bits([dict(net.state_dict()), optimizer.state_dict(), optimizer.get_log()])


@pytest.mark.parametrize("name", MAKERS)
def test_resuming_at_any_step_of_two_epochs_changes_no_bit(name):
    net, optimizer = make(name)
    train(net, optimizer, 0, 2 * EPOCH)
    expected = everything(net, optimizer)
    net, optimizer = make(name)
    for i in range(2 * EPOCH):
        file = io.BytesIO()
        torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, file)
        file.seek(0)
        saved = torch.load(file, weights_only=True)
        other, resumed = make(name)
        other.load_state_dict(saved["net"])
        resumed.load_state_dict(saved["optimizer"])
        assert resumed.estimating == optimizer.estimating
        train(other, resumed, i, 2 * EPOCH)
        assert everything(other, resumed) == expected, i
        train(net, optimizer, i, i + 1)
    assert everything(net, optimizer) == expected


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
@pytest.mark.parametrize("position", [0, 2, 4, 7])
def test_copies_and_pickles_go_on_by_themselves(clone, position):
    net, optimizer = make("with momentum")
    train(net, optimizer, 0, position)
    other, twin = clone((net, optimizer))
    train(net, optimizer, position, 2 * EPOCH)
    untouched = everything(net, optimizer)
    train(other, twin, position, 2 * EPOCH)
    assert everything(other, twin) == untouched == everything(net, optimizer)


def test_a_loaded_state_is_a_copy():
    net, optimizer = make("PreconditionedSGD")
    train(net, optimizer, 0, 2)
    _, other = make("PreconditionedSGD")
    other.load_state_dict(optimizer.state_dict())
    before = other._estimates[0].gradient_sum[0].clone()
    train(net, optimizer, 2, 3)
    assert torch.equal(other._estimates[0].gradient_sum[0], before)


def test_the_state_of_another_optimizer_is_refused_and_changes_nothing():
    net, optimizer = make("PreconditionedSGD")
    before = everything(net, optimizer)
    with pytest.raises(ValueError, match="without 'estimate'"):
        optimizer.load_state_dict(torch.optim.SGD(net.parameters(), lr=9).state_dict())
    assert everything(net, optimizer) == before


def test_loaded_settings_replace_those_of_the_constructor():
    _, optimizer = make("PreconditionedSGD")
    net, _ = make("PreconditionedSGD")
    other = probprec.PreconditionedSGD(net.parameters(), est_rank=7, prior_iterations=50)
    other.load_state_dict(optimizer.state_dict())
    assert (other.est_rank, other.num_observations, other.prior_iterations) == (2, 3, 3)


def test_momentum_survives_a_restart():
    net, optimizer = make("with momentum")
    train(net, optimizer, 0, EPOCH)
    buffers = [optimizer.state[p]["momentum_buffer"].clone() for p in net.parameters()]
    train(net, optimizer, EPOCH, EPOCH + 5)
    assert optimizer.get_log()["steps_since_start"] == 5
    kept = [optimizer.state[p]["momentum_buffer"] for p in net.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(kept, buffers, strict=True))


def test_an_added_group_starts_an_estimate_for_all_and_gets_its_own_step_size():
    net, optimizer = make("PreconditionedSGD")
    train(net, optimizer, 0, EPOCH - 1)
    scale = torch.ones(3, requires_grad=True)
    optimizer.add_param_group({"params": scale, "weight_decay": 0.01})
    assert optimizer.estimating
    for _ in range(6):
        optimizer.zero_grad()
        x = torch.randn(16, 4)
        optimizer.backward(nn.functional.cross_entropy(net(x) * scale, x[:, :3].argmax(1)))
        optimizer.step()
    lr = optimizer.get_log()["lr"]
    assert lr == optimizer.get_log()["alpha"]
    assert lr[0] != lr[1]
    assert not torch.equal(scale, torch.ones(3))


def test_schedulers_scale_the_estimated_step_size():
    net, optimizer = make("PreconditionedSGD")
    scheduler = torch.optim.lr_scheduler.MultiplicativeLR(optimizer, lambda _: 0.5)
    train(net, optimizer, 0, 7)
    alpha = optimizer.get_log()["alpha"][0]
    scheduler.step()
    assert optimizer.get_log()["lr"] == [0.5 * alpha]
    before = [p.detach().clone() for p in net.parameters()]
    train(net, optimizer, 7, 8)
    for p, old in zip(net.parameters(), before, strict=True):
        assert torch.allclose(p, old - 0.5 * alpha * p.grad, atol=1e-6)


def test_named_parameters_keep_their_names():
    net, _ = make("PreconditionedSGD")
    optimizer = probprec.PreconditionedSGD(net.named_parameters())
    assert optimizer.param_groups[0]["param_names"] == ["0.weight", "0.bias", "2.weight", "2.bias"]
