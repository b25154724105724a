"""Schedules: their factors, what they multiply, and classes of torch."""

import math
import warnings

import pytest
import torch

from jobs.errors import InputError
from jobs.regime.placeholders import Numbers, resolved
from jobs.regime.schedule import Scheduler, factor
from jobs.regime.schedule_settings import Schedule
from tests.helpers import make_run

STEPS, EPOCHS = 20, 4


def numbers(steps_per_epoch=STEPS // EPOCHS):
    return Numbers.of(make_run(epochs=EPOCHS, batch_size=32), steps_per_epoch)


def factors(total=STEPS, **settings):
    schedule = Schedule.of(settings)
    return [factor(schedule, at, total) for at in range(total)]


def optimizer(**settings):
    weight = torch.nn.Parameter(torch.ones(1))
    weight.grad = torch.zeros(1)
    return torch.optim.SGD([weight], **{"lr": 0.5, **settings})


def rates(made, schedule, losses=()):
    """The step size at each step of a training."""
    scheduler = Scheduler(Schedule.of(schedule), made, numbers())
    found, losses = [], iter(losses)
    for step in range(STEPS):
        with scheduler.applied(step, step // 5 + 1):
            made.step()
            found.append(made.param_groups[0]["lr"])
        scheduler.after_step()
        if step % 5 == 4:
            scheduler.after_epoch(next(losses, 1.0))
    return found


def of_torch(kind, times=1, **settings):
    """The factors that torch's own class gives, stepped after every `times` steps."""
    made = optimizer(lr=1.0)
    scheduler = kind(made, **settings)
    found = []
    for step in range(STEPS):
        made.step()
        found.append(made.param_groups[0]["lr"])
        if step % times == times - 1:
            scheduler.step()
    return found


def test_named_ones_are_those_of_torch():
    schedulers = torch.optim.lr_scheduler
    assert factors(name="cosine") == pytest.approx(
        of_torch(schedulers.CosineAnnealingLR, T_max=STEPS)
    )
    assert factors(name="cosine", end=0.1) == pytest.approx(
        of_torch(schedulers.CosineAnnealingLR, T_max=STEPS, eta_min=0.1)
    )
    assert factors(name="linear", end=0.2) == pytest.approx(
        of_torch(schedulers.LinearLR, start_factor=1.0, end_factor=0.2, total_iters=STEPS)
    )
    assert factors(name="polynomial", power=3) == pytest.approx(
        of_torch(schedulers.PolynomialLR, total_iters=STEPS, power=3)
    )


def test_warm_up_then_the_rest():
    """It reaches the whole step size with its last step, and the rest is that of what is left."""
    found = factors(name="cosine", warmup=4)
    assert found[:4] == [0.25, 0.5, 0.75, 1.0]
    assert found[4:] == factors(name="cosine", total=16)
    assert factors(name="constant", warmup=0.2) == [0.25, 0.5, 0.75, *[1.0] * 17]
    assert factors(name="cosine", warmup=100, total=3) == [0.01, 0.02, 0.03]


def test_steps_as_in_deepobs():
    """`lr_sched_epochs` and `lr_sched_factors`: factors of the first step size, from those epochs on."""
    found = factors(name="step", at=[2, 3], factors=[0.1, 0.05], total=EPOCHS)
    assert found == [1, 1, 0.1, 0.05]
    assert factors(name="step", at=[0.5], factors=[0.1], total=4) == [1, 1, 0.1, 0.1]
    assert Schedule.of({"name": "step", "at": [2], "factors": [0.1]}).per == "epoch"


def test_warm_up_stable_decay():
    found = factors(name="wsd", warmup=2, decay=0.25)
    assert found == pytest.approx([0.5, *[1.0] * 15, 0.8, 0.6, 0.4, 0.2])
    assert min(factors(name="wsd", decay=4, end=0.5)) == pytest.approx(0.625)
    both = factors(name="wsd", warmup=3, decay=3, total=4)  # the two overlap
    assert both == pytest.approx([1 / 3, 2 / 3, 2 / 3, 1 / 3])


def test_per_epoch_it_stays_for_an_epoch():
    found = rates(optimizer(), {"name": "linear", "per": "epoch"})
    assert found == [0.5] * 5 + [0.375] * 5 + [0.25] * 5 + [0.125] * 5


def test_between_steps_the_step_size_is_the_optimizers_own():
    made = optimizer()
    assert rates(made, "cosine")[-1] < 0.01
    assert made.param_groups[0]["lr"] == 0.5


class Adaptive(torch.optim.SGD):
    """Sets its own step size at its fourth step, as the `Preconditioner` does after an estimate."""

    steps = 0

    def step(self, closure=None):
        super().step(closure)
        self.steps += 1
        if self.steps == 4:
            self.param_groups[0]["lr"] = 8.0


@pytest.mark.parametrize(
    "schedule",
    ["linear", {"class": "torch.optim.lr_scheduler.LinearLR", "start_factor": 1.0,
                "end_factor": 0.0, "total_iters": "${steps}"}],
)  # fmt: skip
def test_what_an_optimizer_sets_itself_is_multiplied(schedule):
    made = Adaptive([torch.nn.Parameter(torch.ones(1))], lr=0.5)
    found = rates(made, schedule)
    assert found[:3] == pytest.approx([0.5, 0.475, 0.45])
    assert found[3] == 8.0  # as it is set
    assert found[4:] == pytest.approx([8.0 * (1 - step / STEPS) for step in range(4, STEPS)])


def test_every_group_and_tensors():
    parameters = [torch.nn.Parameter(torch.ones(1)) for _ in range(3)]
    lr = torch.tensor(0.25)
    made = torch.optim.SGD(
        [{"params": parameters[:1], "lr": 1.0}, {"params": parameters[1:2]}], lr=0.5
    )
    made.param_groups[1]["lr"] = lr
    made.add_param_group({"params": parameters[2:], "lr": None})
    scheduler = Scheduler(Schedule.of("linear"), made, numbers())
    with scheduler.applied(10, 3):
        assert [group["lr"] for group in made.param_groups] == [0.5, torch.tensor(0.125), None]
        assert made.param_groups[1]["lr"] is lr
    assert [group["lr"] for group in made.param_groups] == [1.0, torch.tensor(0.25), None]


def test_a_tensor_that_rounds_is_put_back_too():
    lr = torch.tensor(0.1)
    made = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=lr)
    scheduler, used = Scheduler(Schedule.of("cosine"), made, numbers()), []
    for step in range(STEPS):
        with scheduler.applied(step, 1):
            used.append(lr.item())
        assert lr == torch.tensor(0.1)
    assert used == pytest.approx([0.1 * one for one in factors(name="cosine")])


def test_an_optimizer_without_step_size_is_told_so():
    made = torch.optim.Adafactor([torch.nn.Parameter(torch.ones(1))])
    made.param_groups[0]["lr"] = None
    Scheduler(Schedule.of("constant"), made, numbers())
    with pytest.raises(InputError, match="Adafactor has no `lr` that is a number: a schedule has"):
        Scheduler(Schedule.of("cosine"), made, numbers())


def test_a_class_of_torch_per_step_and_per_epoch():
    schedulers = torch.optim.lr_scheduler
    cosine = {"class": "torch.optim.lr_scheduler.CosineAnnealingLR", "T_max": "${steps}"}
    own = [0.5 * value for value in of_torch(schedulers.CosineAnnealingLR, T_max=STEPS)]
    assert rates(optimizer(), cosine) == pytest.approx(own)
    step = {
        "class": "torch.optim.lr_scheduler:StepLR",
        "step_size": 2,
        "gamma": 0.5,
        "per": "epoch",
    }
    assert rates(optimizer(), step) == [0.5] * 10 + [0.25] * 10


def test_what_a_class_cycles_beside_the_step_size_is_handed_on():
    """OneCycleLR moves momentum, too: the optimizer goes as it would with the class itself."""
    settings = {"max_lr": 0.3, "total_steps": STEPS + 1}

    def trained(step):
        made = optimizer(lr=0.3, momentum=0.9)
        (weight,) = made.param_groups[0]["params"]
        found = []
        for index in step(made):
            weight.grad = torch.tensor([math.sin(index)])
            made.step()
            found.append((weight.item(), made.param_groups[0]["momentum"]))
        return found

    def ours(made):
        schedule = {"class": "torch.optim.lr_scheduler.OneCycleLR", **settings}
        scheduler = Scheduler(Schedule.of(schedule), made, numbers())
        for index in range(STEPS):
            with scheduler.applied(index, 1):
                yield index
            scheduler.after_step()

    def torchs(made):
        scheduler = torch.optim.lr_scheduler.OneCycleLR(made, **settings)
        for index in range(STEPS):
            yield index
            scheduler.step()

    assert trained(ours) == trained(torchs)


def test_one_that_asks_for_a_metric_gets_the_validation_loss():
    plateau = {"class": "torch.optim.lr_scheduler.ReduceLROnPlateau", "patience": 0, "factor": 0.1}
    found = rates(optimizer(), {**plateau, "per": "epoch"}, losses=[2.0, 1.0, 1.5, 0.5])
    assert found == pytest.approx([0.5] * 15 + [0.05] * 5)
    with pytest.raises(InputError, match="is stepped with the validation loss; add per: epoch"):
        rates(optimizer(), plateau)


def test_a_class_that_refuses_is_named():
    with pytest.raises(InputError, match=r"schedule: torch.optim.lr_scheduler.StepLR refuses its"):
        rates(optimizer(), {"class": "torch.optim.lr_scheduler.StepLR", "gamma": 2})


@pytest.mark.parametrize(
    "settings",
    [
        {"class": "CosineAnnealingLR", "T_max": 20},
        {"class": "OneCycleLR", "max_lr": 0.3, "total_steps": 21},
        {"class": "MultiStepLR", "milestones": [2, 7]},
        {"class": "CyclicLR", "base_lr": 0.1, "max_lr": 0.5, "step_size_up": 4},
        {"class": "CosineAnnealingWarmRestarts", "T_0": 6},
        {"class": "ExponentialLR", "gamma": 0.9},
    ],
    ids=lambda settings: settings["class"],
)
def test_a_class_goes_on_where_it_was(settings, tmp_path):
    """Its state is kept as a checkpoint keeps it."""
    schedule = Schedule.of({**settings, "class": f"torch.optim.lr_scheduler.{settings['class']}"})
    made = optimizer(momentum=0.9)
    scheduler = Scheduler(schedule, made, numbers())
    seen = []
    for step in range(STEPS):
        if step == 9:
            torch.save(scheduler.state_dict(), tmp_path / "state")
            made = optimizer(momentum=made.param_groups[0]["momentum"])
            scheduler = Scheduler(schedule, made, numbers())
            made.param_groups[0]["momentum"] = 0.0  # as the optimizer's state has it
            scheduler.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
        with scheduler.applied(step, 1):
            seen.append(made.param_groups[0]["lr"])
            made.step()
        scheduler.after_step()
    assert seen == rates(optimizer(momentum=0.9), schedule.to_json())


def test_torch_does_not_complain():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rates(optimizer(), {"class": "torch.optim.lr_scheduler.StepLR", "step_size": 3})


def test_references():
    found = resolved(
        {"a": "${steps}", "b": ["${epochs}", "x"], "c": {"d": "${batch_size}"}}, numbers()
    )
    assert found == {"a": STEPS, "b": [EPOCHS, "x"], "c": {"d": 32}}
    assert resolved("${steps_per_epoch}", numbers()) == 5
    assert resolved("${else}", numbers()) == "${else}"
