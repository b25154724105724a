"""What a regime makes of a training: passes, averages, precision, groups; resumed bit for bit."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch

from jobs import optimizers
from jobs.errors import InputError
from jobs.regime.averaging import Averaging
from jobs.regime.groups import CombinedOptimizer, shared_out
from jobs.regime.passes import Passes
from jobs.regime.placeholders import Numbers
from jobs.regime.settings import Average, Group, Settings
from jobs.sweep import Run
from tests.test_jobs_training_own import Line, make
from tests.test_jobs_training_resume import attempt, in_pieces, same

SGD, MUON = "torch.optim.SGD", "torch.optim.Muon"
COSINE = "torch.optim.lr_scheduler.CosineAnnealingLR"
PLATEAU = "torch.optim.lr_scheduler.ReduceLROnPlateau"
MOMENTUM = {"lr": 0.1, "momentum": 0.9}


def digits(optimizer=SGD, hyperparameters=None, *, epochs=2, **regime):
    return Run(
        problem="digits_mlp",
        optimizer=optimizer,
        hyperparameters=MOMENTUM if hyperparameters is None else hyperparameters,
        seed=42,
        epochs=epochs,
        batch_size=128,
        regime=regime,
    )


RUNS = {
    "cosine": digits(schedule={"name": "cosine", "warmup": 0.2}),
    "a class": digits(schedule={"class": COSINE, "T_max": "${steps}"}),
    "plateau": digits(schedule={"class": PLATEAU, "threshold": 0.9, "patience": 0, "per": "epoch"}, epochs=4),
    "clipped": digits(clip_norm=0.5, clip_value=0.01),
    "accumulated": digits(accumulate=3),
    "bf16": digits(precision="bf16"),
    "ema": digits(average={"ema": 0.9}),
    "swa": digits(average={"swa": 0.3}, epochs=4),
    "compiled": digits(compile=True),
    "groups": digits(groups=[{"kinds": ["bias"], "lr": 0.01}, {"match": "1", "momentum": 0.5}]),
    "two classes": digits(
        MUON,
        {"lr": 0.02},
        groups=[{"dims": [0, 1], "class": "torch.optim.AdamW", "lr": 0.001}],
        schedule={"name": "linear"},
    ),
    "all of it": digits(
        "torch.optim.AdamW",
        {"lr": "${steps}", "weight_decay": 0.1},
        schedule={"name": "wsd", "warmup": 2},
        clip_norm=1.0,
        accumulate=2,
        precision="bf16",
        average={"ema": 0.8},
        groups=[{"dims": [1], "weight_decay": 0.0}],
    ),
    "preconditioned": digits("probprec.PreconditionedSGD", {"prior_iterations": 2},
                             schedule={"name": "cosine"}, clip_norm=10.0),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method")  # of torch.compile's own
@pytest.mark.parametrize("name", RUNS)
def test_it_is_resumed_bit_for_bit(name, tmp_path):
    """Left after a few steps, at an epoch's end before and behind its evaluation, and once more."""
    run = RUNS[name]
    whole = attempt(run, tmp_path / "whole")
    pieces = in_pieces(run, tmp_path, [4, 4, 2])
    assert same(whole, pieces)
    assert pieces["resumes"] == 3
    if name not in ("compiled", "two classes"):
        plain = attempt(
            digits(run.optimizer, run.hyperparameters, epochs=run.epochs), tmp_path / "p"
        )
        assert plain["curves"] != whole["curves"]  # it does something


def test_ids():
    assert digits().id == Run(**{**vars(digits()), "regime": {}}).id
    assert len({run.id for run in RUNS.values()}) == len(RUNS)
    assert "regime" not in digits().to_json()
    assert all(Run.from_json(run.to_json()) == run for run in RUNS.values())


def test_the_rates_that_were_used_are_recorded(tmp_path):
    found = attempt(RUNS["cosine"], tmp_path / "a")["curves"]["learning_rate"]["value"]
    assert found[:3] == pytest.approx([0.1 / 4, 0.1 * 2 / 4, 0.1 * 3 / 4])
    assert found[-1] < 0.002


def test_the_preconditioners_alpha_is_multiplied(tmp_path):
    """It is set in the last step of an estimate, and the next ones take their share of it."""
    series = attempt(RUNS["preconditioned"], tmp_path / "a")["curves"]["learning_rate"]
    rates = dict(zip(series["step"], series["value"], strict=True))
    assert rates[14] > 1.5 * rates[13]  # of the second epoch, which begins at step 9
    for step in (15, 16, 17):
        share = (1 + math.cos(math.pi * step / 18)) / 2
        assert rates[step] == pytest.approx(rates[14] * share)


# One step -------------------------------------------------------------------------------------------


def line(optimizer=torch.optim.SGD, **settings):
    problem = Line()
    made = optimizer(problem.model.parameters(), lr=0.1)
    return problem, Passes(problem, made, Settings.from_json(settings))


def gradients(problem):
    return torch.cat([p.grad.flatten() for p in problem.model.parameters()])


def test_a_minibatch_in_parts_has_the_gradients_of_the_whole():
    batch = next(Line().train_batches(1))
    whole, at_once = line()
    parts, one_by_one = line(accumulate=3)  # of 4 examples: 2, 1 and 1
    assert one_by_one.gradients(batch).item() == pytest.approx(at_once.gradients(batch).item())
    assert torch.allclose(gradients(parts), gradients(whole))


def test_a_last_minibatch_that_is_smaller_has_fewer_parts():
    problem, passes = line(accumulate=3)
    passes.gradients((torch.ones(2, 2),))
    assert passes.backwards == 2
    assert gradients(problem).abs().sum() > 0


def test_what_cannot_be_cut_into_parts():
    class Ragged(Line):
        def batch_loss(self, batch):
            return super().batch_loss(batch[:1])

    problem = Ragged()
    made = torch.optim.SGD(problem.model.parameters(), lr=0.1)
    passes = Passes(problem, made, Settings(accumulate=2))
    with pytest.raises(InputError, match=r"a minibatch have \[0, 4\] entries along their first"):
        passes.gradients((torch.ones(4, 2), torch.tensor(1.0)))
    with pytest.raises(InputError, match="5 parts of a minibatch of 4"):
        line(accumulate=5)


def test_clipping():
    batch = next(Line().train_batches(1))
    problem, passes = line()
    passes.gradients(batch)
    whole = gradients(problem)
    problem, passes = line(clip_norm=0.5)
    passes.gradients(batch)
    assert torch.allclose(gradients(problem), whole * 0.5 / whole.norm())
    problem, passes = line(clip_value=0.3)
    passes.gradients(batch)
    assert torch.equal(gradients(problem), whole.clamp(-0.3, 0.3))


class Curious(torch.optim.SGD):
    """Differentiates its gradients."""

    def step(self, closure=None):
        parameters = self.param_groups[0]["params"]
        total = sum(p.grad.square().sum() for p in parameters)
        self.seen = torch.autograd.grad(total, parameters)
        super().step(closure)


def test_gradients_with_a_graph():
    problem = Line()
    made = Curious(problem.model.parameters(), lr=0.1)
    passes = Passes(problem, made, Settings(create_graph=True, clip_norm=100.0))
    passes.gradients(next(problem.train_batches(1)))
    made.step()
    assert all(found.abs().sum() > 0 for found in made.seen)


def test_what_differentiates_twice_itself_takes_a_minibatch_whole():
    import probprec

    problem = Line()
    made = probprec.PreconditionedSGD(problem.model.parameters())
    for settings in (Settings(accumulate=2), Settings(compile=True), Settings(create_graph=True)):
        with pytest.raises(InputError, match="accumulate, compile and create_graph cannot be had"):
            Passes(problem, made, settings)


class Shy(torch.optim.SGD):
    """Wants a closure, but its signature does not say so."""

    def step(self, closure=None):
        loss = closure()
        super().step()
        return loss


def test_a_closure_because_the_spec_says_so(tmp_path):
    run = Run(
        problem="digits_mlp",
        optimizer=f"{__name__}.Shy",
        hyperparameters={"lr": 0.1, "momentum": 0.9},
        seed=42,
        epochs=2,
        batch_size=128,
        regime={"closure": True},
    )
    shy = attempt(run, tmp_path / "shy")
    assert shy["curves"] == attempt(digits(), tmp_path / "plain")["curves"]
    assert shy["passes"]["apply"] == (18, 18, 0)


def test_a_step_that_takes_no_closure_gets_none(tmp_path):
    class Bare(torch.optim.SGD):
        def step(self):
            super().step()

    with pytest.raises(InputError, match=r"closure: Bare.step\(\) takes none"):
        make(tmp_path / "a", Bare, lr=0.1, regime={"closure": True})


# Averages -------------------------------------------------------------------------------------------


def test_ema_is_the_mean_with_a_fading_memory():
    model = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.BatchNorm1d(1))
    averaging = Averaging(Average(kind="ema", value=0.75), model, epochs=1)
    for value in (1.0, 2.0, 4.0):
        torch.nn.init.constant_(model[0].weight, value)
        model[1].running_mean.fill_(value)
        averaging.after_step()
    with averaging.evaluating():
        assert model[0].weight.item() == 0.75 * (0.75 * 1 + 0.25 * 2) + 0.25 * 4
        assert model[1].running_mean.item() == model[0].weight.item()
        assert model[1].num_batches_tracked.item() == 0
    assert model[0].weight.item() == 4.0
    assert model[1].running_mean.item() == 4.0


def test_swa_is_the_mean_of_the_last_epochs():
    model = torch.nn.Linear(1, 1)
    averaging = Averaging(Average(kind="swa", value=0.5), model, epochs=4)
    seen = []
    for epoch in range(5):
        torch.nn.init.constant_(model.weight, float(epoch))
        averaging.after_step()
        averaging.before_evaluation(epoch)
        with averaging.evaluating():
            seen.append(model.weight.item())
    assert seen == [0.0, 1.0, 2.0, 3.0, 3.5]


def test_swa_counts_epochs_exactly():
    model = torch.nn.Linear(1, 1)
    averaging = Averaging(Average(kind="swa", value=0.58), model, 50)
    for epoch in range(1, 51):
        averaging.before_evaluation(epoch)
    assert averaging.state_dict()["count"] == 21  # 0.58 * 50 is 28.999999999999996


def test_weights_that_an_optimizer_has_replaced_are_averaged():
    model = torch.nn.Linear(1, 1, bias=False)
    averaging = Averaging(Average(kind="ema", value=0.5), model, 1)
    for value in (0.0, 1.0):
        model.weight.data = torch.full((1, 1), value)  # as SAM goes back to where it was
        averaging.after_step()
    with averaging.evaluating():
        assert model.weight.item() == 0.5
    assert model.weight.item() == 1.0


def test_a_mask_of_infinities_stays():
    model = torch.nn.Linear(1, 1)
    mask = torch.tensor([0.0, -math.inf])
    model.register_buffer("mask", mask.clone())
    averaging = Averaging(Average(kind="ema", value=0.5), model, 1)
    for _ in range(2):
        averaging.after_step()
    with averaging.evaluating():
        assert torch.equal(model.mask, mask)


def test_an_optimizer_with_weights_of_its_own_is_not_averaged(tmp_path):
    from tests.test_jobs_training_own import ScheduleFree

    with pytest.raises(InputError, match="ScheduleFree has weights of its own for evaluation"):
        make(tmp_path / "a", ScheduleFree, regime={"average": {"ema": 0.9}})


# Precision ------------------------------------------------------------------------------------------


def test_bf16_inside_fp32_outside(tmp_path):
    inside, outside = set(), set()

    class Watched(Line):
        def __init__(self):
            super().__init__()
            self.model = torch.nn.Sequential(self.model)
            self.model[0].register_forward_hook(lambda *seen: inside.add(seen[2].dtype))

        def batch_loss(self, batch):
            loss, accuracy = super().batch_loss(batch)
            outside.add(loss.dtype)
            return loss, accuracy

    training = make(
        tmp_path / "a", torch.optim.SGD, Watched(), lr=0.1, regime={"precision": "bf16"}
    )
    training.go()
    assert inside == {torch.bfloat16}
    assert outside == {torch.float32}
    assert {p.dtype for p in training.problem.model.parameters()} == {torch.float32}


class Pair(NamedTuple):
    logits: torch.Tensor
    state: object = None


@dataclass
class Output:
    logits: torch.Tensor


class Mapped(dict):
    logits = property(lambda self: self["logits"])


@pytest.mark.parametrize("kind", [Pair, Output, lambda found: Mapped(logits=found)])
def test_outputs_stay_what_they_are_in_bf16(kind, tmp_path):
    class Giving(torch.nn.Linear):
        def forward(self, points):
            return kind(super().forward(points))

    class Asking(Line):
        def __init__(self):
            super().__init__()
            self.model = Giving(2, 1)

        def batch_loss(self, batch):
            logits = self.model(batch[0]).logits
            assert logits.dtype == torch.float32
            return logits.square().mean(), 0.5

    regime = {"precision": "bf16"}
    make(tmp_path / "a", torch.optim.SGD, Asking(), lr=0.1, regime=regime).go()


def test_a_problem_that_does_not_call_its_model_is_told_so(tmp_path):
    class Functional(Line):
        def batch_loss(self, batch):
            return (batch[0] @ self.model.weight.T).square().mean(), 0.5

    with pytest.raises(InputError, match="Functional does not call its `model`: neither precision"):
        make(
            tmp_path / "a", torch.optim.SGD, Functional(), lr=0.1, regime={"precision": "bf16"}
        ).go()


def test_compiling_without_a_compiler_is_told_at_the_begin(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(InputError, match=r"compile: there is no g\+\+ here; torch.compile needs a"):
        make(tmp_path / "a", torch.optim.SGD, lr=0.1, regime={"compile": True})


# Groups ---------------------------------------------------------------------------------------------


def model():
    return torch.nn.Sequential(
        torch.nn.Embedding(3, 4),
        torch.nn.Linear(4, 4),
        torch.nn.LayerNorm(4),
        torch.nn.BatchNorm1d(4),
        torch.nn.Linear(4, 2),
    )


def names(*groups):
    made = model()
    by_id = {id(p): name for name, p in made.named_parameters()}
    return [
        [by_id[id(p)] for p in share]
        for share in shared_out(made, [Group.of(group) for group in groups])
    ]


def test_whose_a_parameter_is():
    """All that a group says has to hold, and the first group that fits has it."""
    assert names({"match": r"^4\."}, {"dims": 1}) == [
        ["4.weight", "4.bias"],
        ["1.bias", "2.weight", "2.bias", "3.weight", "3.bias"],
        ["0.weight", "1.weight"],
    ]
    assert names({"kinds": "norm"}, {"kinds": ["bias", "embedding"]})[:2] == [
        ["2.weight", "2.bias", "3.weight", "3.bias"],
        ["0.weight", "1.bias", "4.bias"],
    ]
    assert names({"dims": [1], "kinds": ["bias"], "match": "2"})[0] == ["2.bias"]


def built(optimizer, hyperparameters, *groups):
    run = digits(optimizer, hyperparameters, groups=list(groups))
    return optimizers.build(run, model(), Numbers.of(run, 9))


def test_groups_of_one_class():
    found = built("torch.optim.AdamW", {"lr": 0.1, "weight_decay": 0.5},
                  {"dims": [1], "weight_decay": 0}, {"match": "nothing|0", "lr": "${epochs}"},
                  )  # fmt: skip
    assert type(found) is torch.optim.AdamW
    said = [(len(g["params"]), g["lr"], g["weight_decay"]) for g in found.param_groups]
    assert said == [(2, 0.1, 0.5), (6, 0.1, 0), (1, 2, 0.5)]


def test_groups_of_other_classes():
    found = built(MUON, {"lr": 0.02}, {"dims": 1, "class": "torch.optim.AdamW", "lr": 0.01},
                  {"kinds": "embedding", "class": SGD, "lr": 0.5})  # fmt: skip
    assert isinstance(found, CombinedOptimizer)
    assert [type(part).__name__ for part in found.parts] == ["Muon", "AdamW", "SGD"]
    assert [group["lr"] for group in found.param_groups] == [0.02, 0.01, 0.5]
    assert sum(len(group["params"]) for group in found.param_groups) == 9


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (
            [{"match": "head"}],
            "'head' is found in no name of a parameter: 0.weight, 1.weight, 1.bias",
        ),
        (
            [{"dims": [1, 2], "class": SGD, "lr": 1.0}],
            "no parameter is left for the optimizer itself",
        ),
        (
            [{"dims": 1, "class": "torch.optim.LBFGS"}],
            "LBFGS decides on the passes over a minibatch: it cannot stand beside",
        ),
        (
            [{"dims": 1, "class": f"{__name__}.Named"}],
            "Named asks for names in the place of parameters, and so takes no groups",
        ),
        (
            [{"dims": 1, "class": "probprec.PreconditionedSGD"}],
            "PreconditionedSGD decides on the passes over a minibatch: it cannot stand beside",
        ),
    ],
)
def test_groups_that_do_not_fit(groups, words):
    with pytest.raises(InputError, match=words):
        built("torch.optim.AdamW", {}, *groups)


@pytest.mark.parametrize("name", ["est_rank", "num_observations"])
def test_what_an_optimizer_has_once_is_no_groups(name):
    with pytest.raises(InputError, match=f"PreconditionedSGD has one '{name}' for all parameters"):
        built("probprec.PreconditionedSGD", {}, {"dims": 1, name: 1})
    found = built("probprec.PreconditionedSGD", {}, {"dims": 1, "weight_decay": 0.1, "lr": 0.5})
    assert [(group["l2"], group["lr"]) for group in found.param_groups] == [(0, 1e-3), (0.1, 0.5)]


class Named(torch.optim.SGD):
    def __init__(self, named_parameters, lr=0.1):
        self.names = [name for name, _ in named_parameters]
        super().__init__([p for _, p in named_parameters], lr=lr)


class OfModel(torch.optim.SGD):
    def __init__(self, model, lr=0.1):
        self.model = type(model)
        super().__init__(model.parameters(), lr=lr)


def test_classes_that_ask_for_names_or_for_the_model():
    run = digits(f"{__name__}.Named", {"lr": 0.1})
    assert optimizers.build(run, model(), Numbers.of(run, 9)).names[:2] == ["0.weight", "1.weight"]
    run = digits(f"{__name__}.OfModel", {"lr": 0.1})
    assert optimizers.build(run, model(), Numbers.of(run, 9)).model is torch.nn.Sequential
    with pytest.raises(InputError, match="OfModel asks for the model in the place of parameters"):
        built(f"{__name__}.OfModel", {"lr": 0.1}, {"dims": 1, "lr": 0.2})


def test_several_classes_are_averaged_unless_one_has_weights_of_its_own(tmp_path):
    class Free(torch.optim.SGD):
        def train(self): ...
        def eval(self): ...

    def of(kind):
        def both(parameters):
            one, other = parameters
            return CombinedOptimizer([torch.optim.SGD([one], lr=0.1), kind([other], lr=0.1)])

        return make(tmp_path / kind.__name__, both, regime={"average": {"ema": 0.5}})

    of(torch.optim.SGD).go()
    with pytest.raises(InputError, match="has weights of its own for evaluation"):
        of(Free)
