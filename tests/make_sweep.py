"""Makes a sweep's folder with invented but realistic records, for tests and benchmarks."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jobs.canonical import Value
from jobs.problems.catalog import PROBLEMS
from jobs.store import choosing
from jobs.store.record import PHASES
from jobs.store.store import Store
from jobs.sweep import PlannedRun, Role, Run, Sweep
from jobs.tuning import Criterion, Tuning

Setting = Mapping[str, Value]
RUN_FIELDS = ("batch_size", "init")

_SKILL = {"SGD": 0.0, "Momentum": 0.004, "Adam": 0.003, "PreconditionedSGD": -0.015}
_SLOWNESS = {"Adam": 1.05, "AdaptiveSGD": 1.3, "PreconditionedSGD": 1.6}
_NO_ACCURACY = {"quadratic_deep"}


def make_sweep(
    root: Path,
    *,
    problems: Sequence[str] = ("fmnist_2c2d", "cifar10_3c3d"),
    optimizers: Mapping[str, Sequence[Setting]] | None = None,
    seeds: Iterable[int] = range(42, 45),
    epochs: int = 20,
    diverges: Callable[[PlannedRun], int | None] = lambda _: None,
    is_recorded: Callable[[PlannedRun], bool] = lambda _: True,
    minibatch_losses: int = 0,
    tuned: Mapping[str, Sequence[int]] | None = None,
) -> Store:
    """A sweep with a record per run; `diverges` gives the epoch in which a run ends early.

    `optimizers` maps a label to its settings; of a setting, `batch_size` and `init` belong to the
    run, the rest are hyperparameters. `tuned` maps a label to the seeds on which its settings are
    compared, for each batch size; what can be chosen is chosen by the final validation metric, and
    evaluated on `seeds`.
    """
    settings = optimizers or {"SGD": [{"lr": 0.1}], "Adam": [{"lr": 0.001}]}
    seeds = tuple(seeds)
    tuned = tuned or {}
    runs = tuple(
        plan(
            problem,
            optimizer,
            setting,
            seed,
            epochs,
            varied=len(of_optimizer) > 1,
            role="tuning" if optimizer in tuned else "evaluation",
        )
        for problem in problems
        for optimizer, of_optimizer in settings.items()
        for setting in of_optimizer
        for seed in tuned.get(optimizer, seeds)
    )
    sweep = Sweep(
        name=root.name,
        description="invented",
        runs=runs,
        problems=tuple(problems),
        optimizers=tuple(settings),
        targets={p: PROBLEMS[p].target for p in problems if PROBLEMS[p].target},
        data=None,
        code=(),
        sources={f"{root.name}.yaml": ""},
        tunings=tuple(_tunings(runs, seeds)),
    )
    store = Store(root)
    store.save(sweep)
    series = minibatch_series(minibatch_losses)
    for _ in range(2 if tuned else 1):  # what follows from a choice comes after it
        for planned in store.sweep().runs:
            record = make_record(planned, diverges(planned)) if is_recorded(planned) else None
            write(store, planned, record, series)
        if tuned:
            choosing.choose(store, store.sweep())
    return store


def _tunings(runs: Sequence[PlannedRun], evaluation: tuple[int, ...]) -> Iterator[Tuning]:
    groups: dict[tuple[str, str, int], list[Run]] = {}
    for planned in runs:
        if planned.role == "tuning":
            key = (planned.problem, planned.optimizer, planned.run.batch_size)
            groups.setdefault(key, []).append(planned.run)
    for (problem, optimizer, _), own in groups.items():
        metric = "valid_loss" if problem in _NO_ACCURACY else "valid_accuracy"
        yield Tuning(
            problem=problem,
            optimizer=optimizer,
            cells=tuple(dict.fromkeys(run.cell for run in own)),
            seeds=tuple(dict.fromkeys(run.seed for run in own)),
            evaluation=evaluation,
            criterion=Criterion(metric=metric, at="final"),
        )


def write(store: Store, planned: PlannedRun, record: dict[str, Any] | None, series: str) -> None:
    folder = store.run(planned.run.id)
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.run_file.write_text(json.dumps(planned.run.to_json()))
    if record is not None:
        folder.record_file.write_text(json.dumps(record).replace('"SERIES"', series))


def plan(
    problem: str,
    optimizer: str,
    setting: Setting,
    seed: int,
    epochs: int,
    *,
    varied: bool,
    role: Role = "evaluation",
) -> PlannedRun:
    fields: dict[str, Any] = {key: setting[key] for key in RUN_FIELDS if key in setting}
    run = Run(
        problem=problem,
        optimizer=f"torch.optim.{optimizer}",
        hyperparameters={key: value for key, value in setting.items() if key not in RUN_FIELDS},
        seed=seed,
        epochs=epochs,
        **{"batch_size": 128} | fields,
    )
    return PlannedRun(
        run=run,
        problem=problem,
        optimizer=optimizer,
        varied=setting if varied else {},
        role=role,
    )


def make_record(planned: PlannedRun, diverges_in: int | None = None) -> dict[str, Any]:
    run = planned.run
    last = run.epochs if diverges_in is None else max(diverges_in - 1, 0)
    steps = steps_per_epoch(run)
    stop = {"reason": "completed", "epoch": run.epochs, "step": run.epochs * steps}
    if diverges_in is not None:
        stop = {"reason": "nonfinite_loss", "epoch": diverges_in, "step": diverges_in * steps - 17}
    return {
        "schema": 1,
        "id": run.id,
        "run": run.to_json(),
        "outcome": "completed" if diverges_in is None else "diverged",
        "stop": stop,
        "curves": make_curves(planned, last, explodes=diverges_in is not None)
        | {
            "minibatch_loss": "SERIES",
            "learning_rate": {"step": [0], "value": [run.hyperparameters.get("lr", 0.1)]},
            "optimizer": make_log(planned, stop["step"]),
        },
        "time": make_time(planned, last),
        "cost": make_cost(planned),
        "provenance": {
            "code": "0123456789ab",
            "host": "node1",
            "machine": "x86_64",
            "cpu": "A CPU",
            "python": "3.11.7",
            "torch": "2.13.0",
            "device": "cpu",
            "gpu": None,
            "attempts": 1,
            "started": 1.7e9 + 1000 * int(run.id, 16),  # one after the other
            "ended": 1.7e9 + 1000 * int(run.id, 16) + 60,
            "slurm": {},
        },
    }


def make_curves(planned: PlannedRun, last: int, *, explodes: bool) -> dict[str, list[float]]:
    """Curves that rise to an accuracy which a wrong step size and the seed lower."""
    run = planned.run
    rng = np.random.default_rng([run.seed, *run.id.encode()])
    off = np.log10(float(run.hyperparameters.get("lr", 0.1) or 1e-4) / 0.1)
    base = 0.92 if "mnist" in run.problem else 0.82
    final = base + _SKILL.get(planned.optimizer, -0.01) - 0.01 * off**2 + rng.normal(0, 0.004)
    epoch = np.arange(last + 1)
    slow = _SLOWNESS.get(planned.optimizer, 1.0)
    rise = 1 - np.exp(-((epoch / (2.0 * slow**3)) ** 0.6))
    test = 0.1 + (final - 0.1) * rise + rng.normal(0, 0.004, last + 1)
    train = np.minimum(test + 0.07 * rise, 0.999)
    loss = 2.35 * (1 - rise) + 0.3 + 0.15 * rise**6
    accuracy = {
        "train_accuracy": train,
        "valid_accuracy": test + rng.normal(0, 0.002, last + 1),
        "test_accuracy": test,
    }
    losses = {
        "train_loss": 2.35 * np.exp(-epoch / 8.0 / slow) + 0.02 * rng.lognormal(0, 0.2, last + 1),
        "valid_loss": loss * 1.01 + rng.normal(0, 0.01, last + 1),
        "test_loss": loss + rng.normal(0, 0.01, last + 1),
    }
    if explodes:
        losses = {name: values * 3.0**epoch for name, values in losses.items()}
    found = losses if run.problem in _NO_ACCURACY else losses | accuracy
    return {name: values.tolist() for name, values in found.items()}


def make_cost(planned: PlannedRun) -> dict[str, Any]:
    rng = np.random.default_rng([planned.run.seed, 1])
    slow = _SLOWNESS.get(planned.optimizer, 1.0)
    wall = {"setup": 1.2, "train": 11.0, "eval": 2.0, "estimate": slow - 1, "apply": 2.0 * slow**3}
    passes = {"forward": 390, "backward": 390, "hvp": 0}
    noise = rng.normal(1, 0.04, 2) + 0.01 * len(planned.optimizer) * rng.normal(size=2)
    return {
        name: {
            "wall_s": wall[name] * planned.run.epochs * noise[0],
            "cpu_s": 1.9 * wall[name] * planned.run.epochs * noise[1],
            **passes,
        }
        for name in PHASES
    } | {"peak_memory_bytes": 800_000_000, "peak_gpu_memory_bytes": None}


def make_time(planned: PlannedRun, last: int) -> dict[str, list[float]]:
    """As much in every epoch."""
    cost, epochs = make_cost(planned), np.arange(last + 1)
    seconds = {
        clock: sum(cost[phase][clock] for phase in ("train", "estimate", "apply"))
        for clock in ("wall_s", "cpu_s")
    }
    return {
        clock: (total / max(planned.run.epochs, 1) * epochs).tolist()
        for clock, total in seconds.items()
    } | {"steps": (steps_per_epoch(planned.run) * epochs).tolist()}


def steps_per_epoch(run: Run) -> int:
    """Of 49,920 examples."""
    return 49_920 // run.batch_size


def make_log(planned: PlannedRun, steps: int) -> dict[str, Any]:
    """What a Preconditioner of two parameter groups logs; it estimates anew in each epoch."""
    run = planned.run
    if planned.optimizer != "PreconditionedSGD" and "est_rank" not in run.hyperparameters:
        return {}
    rng = np.random.default_rng([run.seed, 2])
    logged = [step for step in range(0, steps, 10) if step % 390 % 10 == 0]
    learned = [step + 20 for step in range(0, steps - 20, 390)]  # the ends of the estimates
    alphas = [[0.05 * float(rng.lognormal(0, 0.3)), None] for _ in learned]
    found = [[sorted(rng.uniform(40, 400, 2).tolist(), reverse=True), []] for _ in learned]
    changes = sorted([*range(0, max(steps, 1), 390), *learned])  # one is empty until it has ended
    at = {step: place for place, step in enumerate(learned)}
    return {
        "steps_since_start": {"step": logged, "value": [step % 390 for step in logged]},
        "alpha": {"step": [0, *learned], "value": [[None, None], *alphas]},
        "b0": {
            "step": changes,
            "value": [[1 / alphas[at[x]][0] if x in at else None, None] for x in changes],
        },
        "curvatures": {
            "step": changes,
            "value": [found[at[x]] if x in at else [[], []] for x in changes],
        },
    }


def minibatch_series(count: int) -> str:
    """The text of a minibatch_loss of so many values, every 10th step."""
    rng = np.random.default_rng(7)
    return json.dumps(
        {"step": list(range(0, 10 * count, 10)), "value": rng.uniform(0.1, 2.3, count).tolist()}
    )
