"""Phases, step sizes, inner optimizers, and what each variant leaves out."""

import warnings

import pytest
import torch
from torch import nn

import probprec


class Believer(probprec.PreconditionedSGD):
    """Trusts the posterior mean, and so always finds directions."""

    significance = 0.0


VARIANTS = {
    "Preconditioner": (probprec.Preconditioner, {}),
    "PreconditionedSGD": (probprec.PreconditionedSGD, {}),
    "Believer": (Believer, {}),
    "AdaptiveSGD": (probprec.AdaptiveSGD, {}),
    "OnlyAdaptiveSGD": (probprec.OnlyAdaptiveSGD, {}),
    "PreconditionedTunedSGD": (probprec.PreconditionedTunedSGD, {"lr": 0.1}),
    "PreconditionedTunedMomentum": (probprec.PreconditionedTunedMomentum, {"lr": 0.02}),
}
INNER = [
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.RMSprop,
    torch.optim.Adagrad,
    torch.optim.NAdam,
    torch.optim.Rprop,
    "torch.optim.SGD",
    "Adam",
]


def network(seed=0, *, convex=False):
    generator = torch.Generator().manual_seed(seed)
    layers = [nn.Linear(6, 3)] if convex else [nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3)]
    net = nn.Sequential(*layers)
    for p in net.parameters():
        p.data.normal_(0, 0.3, generator=generator)
    return net


def train(net, optimizer, steps, *, epoch=30, seed=0):
    """Minibatch losses."""
    generator = torch.Generator().manual_seed(seed)
    backward = getattr(optimizer, "backward", torch.Tensor.backward)
    losses = []
    for i in range(steps):
        if epoch and i % epoch == 0 and hasattr(optimizer, "start_estimate"):
            optimizer.start_estimate()
        x = torch.randn(64, 6, generator=generator)
        loss = nn.functional.cross_entropy(net(x), x[:, :3].argmax(1))
        optimizer.zero_grad()
        backward(loss)
        optimizer.step()
        losses.append(loss.item())
    return losses


def weights(net):
    return torch.cat([p.detach().reshape(-1) for p in net.parameters()])


@pytest.mark.parametrize("convex", [True, False])
@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_trains(name, convex):
    cls, hyperparams = VARIANTS[name]
    net = network(convex=convex)
    losses = train(net, cls(net.parameters(), **hyperparams), 120)
    assert sum(losses[-5:]) / 5 < 0.6 * losses[0]


@pytest.mark.parametrize("name", VARIANTS)
def test_two_runs_are_equal_to_the_bit(name):
    cls, hyperparams = VARIANTS[name]
    results = []
    for global_seed in (1, 2):  # no random stream but the optimizer's own matters
        torch.manual_seed(global_seed)
        net = network()
        optimizer = cls(net.parameters(), **hyperparams)
        train(net, optimizer, 50)
        results.append((weights(net), optimizer.get_log()))
    assert torch.equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]


def test_weights_are_held_for_n_plus_m_minus_one_minibatches():
    net = network()
    optimizer = probprec.PreconditionedSGD(net.parameters())
    start, flags = weights(net), []
    for _ in range(16):
        flags.append((optimizer.estimating, torch.equal(weights(net), start)))
        train(net, optimizer, 1, epoch=None)
    assert flags == [(True, True)] * 14 + [(False, True), (False, False)]
    assert optimizer.hvp_count == 15


def test_only_adaptive_makes_the_updates_of_adaptive_and_fewer_products():
    nets = [network(), network()]
    full = probprec.AdaptiveSGD(nets[0].parameters())
    only = probprec.OnlyAdaptiveSGD(nets[1].parameters())
    for net, optimizer in zip(nets, (full, only), strict=True):
        train(net, optimizer, 50)
    assert torch.equal(weights(nets[0]), weights(nets[1]))
    assert (full.hvp_count, only.hvp_count) == (30, 20)
    assert full.get_log()["curvatures"] != [[]] == only.get_log()["curvatures"]
    optimizer = probprec.OnlyAdaptiveSGD(network().parameters())
    flags = []
    for _ in range(15):
        flags.append(optimizer.estimating)
        train(nets[0], optimizer, 1)
    assert flags == [True] * 10 + [False] * 5


def test_adaptive_is_sgd_with_alpha_once_the_estimate_is_made():
    net, plain = network(), network()
    optimizer = probprec.AdaptiveSGD(net.parameters())
    train(net, optimizer, 20, epoch=None)
    alpha = optimizer.get_log()["lr"][0]
    sgd = torch.optim.SGD(plain.parameters(), lr=alpha)
    generator = torch.Generator().manual_seed(0)
    for i in range(20):
        x = torch.randn(64, 6, generator=generator)
        if i >= 14:
            sgd.zero_grad()
            nn.functional.cross_entropy(plain(x), x[:, :3].argmax(1)).backward()
            sgd.step()
    assert torch.allclose(weights(net), weights(plain), atol=1e-6)


def test_a_given_step_size_holds_until_the_next_restart():
    net = network()
    optimizer = probprec.Preconditioner(net.parameters(), lr=0.012)
    train(net, optimizer, 30)
    first = optimizer.get_log()
    assert first["lr"] == [0.012]
    assert first["alpha"][0] not in {None, 0.012}
    train(net, optimizer, 20)
    second = optimizer.get_log()
    assert second["lr"] == second["alpha"] != first["alpha"]


def test_a_group_may_have_a_first_step_size_of_its_own():
    net = network()
    first, *others = net.parameters()
    optimizer = probprec.PreconditionedSGD([{"params": [first], "lr": 0.5}, {"params": others}])
    train(net, optimizer, 20)
    log = optimizer.get_log()
    assert log["lr"] == [0.5, log["alpha"][1]]
    train(net, optimizer, 20)
    assert optimizer.get_log()["lr"] == optimizer.get_log()["alpha"]


@pytest.mark.parametrize("name", ["PreconditionedTunedSGD", "PreconditionedTunedMomentum"])
def test_tuned_variants_keep_their_step_size(name):
    cls, hyperparams = VARIANTS[name]
    net = network()
    optimizer = cls(net.parameters(), **hyperparams)
    train(net, optimizer, 70)
    assert optimizer.get_log()["lr"] == [hyperparams["lr"]]
    assert optimizer.get_log()["alpha"] != [None]
    assert optimizer.param_groups[0]["momentum"] == (0.9 if "Momentum" in name else 0)
    with pytest.raises(TypeError, match="lr"):
        cls(net.parameters())
    with pytest.raises(ValueError, match="Invalid lr: None"):
        cls(net.parameters(), None)


def test_starting_an_estimate_that_is_under_way_does_not_lose_its_minibatches():
    """Epochs of 6 minibatches, a restart in each, an estimate of 14: there are updates nevertheless."""
    net = network()
    before = weights(net)
    train(net, probprec.PreconditionedSGD(net.parameters()), 18, epoch=6)
    assert not torch.equal(weights(net), before)


@pytest.mark.parametrize("optim_class", INNER, ids=str)
def test_without_directions_the_inner_optimizer_is_what_it_is_alone(optim_class):
    net, plain = network(), network()
    optimizer = probprec.Preconditioner(
        net.parameters(), 0, 1, 1, lr=0.01, optim_class=optim_class, weight_decay=0
    )
    cls = getattr(torch.optim, str(optim_class).rpartition(".")[2].strip("'>"))
    decay = {} if cls is torch.optim.Rprop else {"weight_decay": 0}
    alone = cls(plain.parameters(), lr=0.01, **decay)
    for p in plain.parameters():
        p.grad = torch.zeros_like(p)
    train(net, optimizer, 12, epoch=None)
    generator = torch.Generator().manual_seed(0)
    for i in range(12):
        x = torch.randn(64, 6, generator=generator)
        if i >= 1:  # the first minibatch went into the estimate
            alone.zero_grad()
            nn.functional.cross_entropy(plain(x), x[:, :3].argmax(1)).backward()
            alone.step()
    assert torch.equal(weights(net), weights(plain))


@pytest.mark.parametrize("optim_class", INNER, ids=str)
def test_preconditioned_inner_optimizers_train(optim_class):
    net = network()
    optimizer = probprec.Preconditioner(net.parameters(), lr=0.02, optim_class=optim_class)
    losses = train(net, optimizer, 100, epoch=None)
    assert losses[-1] < 0.9 * losses[0]


def test_closures_and_plain_backward_do_the_same():
    nets = [network() for _ in range(3)]
    optimizers = [probprec.PreconditionedSGD(n.parameters(), 2, 2, 2) for n in nets]
    for i in range(6):
        x = torch.randn(32, 6, generator=torch.Generator().manual_seed(i))
        target = x[:, :3].argmax(1)
        for kind, (net, optimizer) in enumerate(zip(nets, optimizers, strict=True)):

            def closure(net=net, optimizer=optimizer, kind=kind, x=x, target=target):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(net(x), target)
                if kind == 0:
                    optimizer.backward(loss)
                else:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        loss.backward(create_graph=optimizer.estimating)
                return loss

            if kind == 2:
                assert optimizer.step(closure) > 0
            else:
                closure()
                assert optimizer.step() is None
    assert torch.equal(weights(nets[0]), weights(nets[1]))
    assert torch.equal(weights(nets[0]), weights(nets[2]))


def test_gradients_of_several_backward_passes_add_up():
    nets = [network(), network()]
    optimizers = [probprec.PreconditionedSGD(n.parameters(), 2, 2, 2) for n in nets]
    for i in range(6):
        x = torch.randn(32, 6, generator=torch.Generator().manual_seed(i))
        for net, optimizer, parts in zip(nets, optimizers, (1, 2), strict=True):
            optimizer.zero_grad()
            for part in x.chunk(parts):
                loss = nn.functional.cross_entropy(net(part), part[:, :3].argmax(1))
                optimizer.backward(loss / parts)
            optimizer.step()
    assert torch.allclose(weights(nets[0]), weights(nets[1]), atol=1e-5)
