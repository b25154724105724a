"""A spec is read and expanded into a sweep, with the origin of every value."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.canonical import Value
from jobs.regime.settings import READERS, Settings
from jobs.regime.values import SettingError
from jobs.spec import candidates
from jobs.spec.condition_names import check_conditions, read_exclusions
from jobs.spec.conditions import Condition, holds, spelling
from jobs.spec.context import Context, absolute
from jobs.spec.expand import MAX_RUNS, Cell, cells
from jobs.spec.hyperparameters import of_setting
from jobs.spec.naming import named_with
from jobs.spec.optimizers import read_optimizers
from jobs.spec.problems import BASIC, read_problems
from jobs.spec.resources import StatedResource, read_resources
from jobs.spec.roles import check_seeds, read_seeds
from jobs.spec.shape import read_shape
from jobs.spec.sources import Tree, read_tree, real_path
from jobs.sweep import PlannedRun, Run, Sweep
from jobs.tuning import Tuning
from jobs.yaml.file_kind import require_kind
from jobs.yaml.mistakes import Place, SpecError, in_reading_order
from jobs.yaml.tree import ListNode, to_data

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Plan:
    """A sweep, with the origins that `check` and `explain` show."""

    sweep: Sweep
    cells: tuple[Cell, ...]  # of each run
    possible: tuple[tuple[PlannedRun, Cell], ...]  # runs that follow if their setting is chosen
    seeds: Mapping[int, Place]  # evaluation seeds, and where each is written
    protocol: str  # origin of the protocol
    resources: tuple[StatedResource, ...]  # of all runs, by the spec's top level
    data: Place | None  # of `data:`

    def everything(self) -> list[tuple[PlannedRun, Cell]]:
        """The runs of the sweep, each with its cell, then those that may follow from choices."""
        return [*zip(self.sweep.runs, self.cells, strict=True), *self.possible]


def make_plan(path: Path, overrides: Sequence[str] = ()) -> Plan:
    """Read the spec in `path` with the `key.path=value` overrides.

    Raises:
        SpecError: with every mistake there is.
    """
    tree = read_tree(path, overrides)
    require_kind(tree.root, "spec", path)
    spec, mistakes = read_shape(tree.root)
    code = tuple(_folders(tree, path))
    context = Context(tree.root, spec, tree.sources, bool(overrides), code)
    context.mistakes.extend(mistakes)
    written = context.root.entries.get("seeds") if context.spec.seeds is not None else None
    seeds = read_seeds(context, written, "seeds")
    problems, optimizers = read_problems(context), read_optimizers(context)
    check_seeds(context, [optimizer.tune for optimizer in optimizers], seeds)
    check_conditions(context, problems, optimizers)
    exclusions = read_exclusions(context)
    name = _name(context, path, overrides)
    _check_folders(context)
    _stop_if_wrong(context)
    _check_size(context, sum(candidates.most_runs(problems, one, seeds) for one in optimizers))
    expanded = _planned(context, cells(context, problems, optimizers), seeds)
    kept = _less_excluded(context, _each_draw_once(expanded), exclusions)
    _check_runs(context, kept)
    tunings = tuple(candidates.tunings(context, kept))
    _stop_if_wrong(context)
    return _plan(context, tree, name, kept, seeds, tunings)


def name_of(path: Path) -> str:
    """The name of the sweep of the spec in `path`, even if the spec has mistakes.

    Raises:
        SpecError: the spec cannot be read.
    """
    entry = read_tree(path, ()).root.entries.get("name")
    return str(to_data(entry.node)) if entry else path.stem


def _stop_if_wrong(context: Context) -> None:
    """Raise SpecError with all mistakes so far, if any, in the order of reading."""
    if context.mistakes:
        raise SpecError(in_reading_order(context.mistakes, context.sources))


def _folders(tree: Tree, path: Path) -> Iterator[str]:
    """The folders put on the runs' module path; without `code`, the spec's folder."""
    entry = tree.root.entries.get("code")
    if entry is None or not isinstance(entry.node, ListNode):
        yield str(real_path(path.parent))
        return
    for item in entry.node.items:
        yield absolute(item, item.place)


def _check_folders(context: Context) -> None:
    entry = context.root.entries.get("code")
    if entry is None or context.spec.code is None or not isinstance(entry.node, ListNode):
        return
    for index, item in enumerate(entry.node.items):
        if not os.path.isdir(context.folders[index]):  # noqa: PTH112  # unlike Path, never raises
            message = f"no such folder: {context.folders[index]}"
            context.add(item.place, f"code[{index}]", message)


def _name(context: Context, path: Path, overrides: Sequence[str]) -> str:
    if context.spec.name or NAME.fullmatch(path.stem):
        return named_with(context.spec.name or path.stem, overrides)
    if "name" not in context.root.entries:
        message = f"the file's name {path.stem!r} cannot be a folder's name; add `name: ...`"
        context.add(Place(str(path), 1, 1), "name", message)
    return ""


def _check_size(context: Context, runs: int) -> None:
    if runs > MAX_RUNS:
        message = f"{runs:,} runs before conditions; a sweep holds at most {MAX_RUNS:,}"
        context.add(context.root.place, "", message)
        _stop_if_wrong(context)


def _planned(
    context: Context, found: Iterable[Cell], seeds: Mapping[int, Place]
) -> Iterator[tuple[PlannedRun, Cell]]:
    """The runs of each cell, one per seed; with tuning, also those that follow if it is chosen."""
    protocol = context.spec.protocol or "default"
    of_all = read_resources(context.spec.resources, context.root)
    for cell in found:
        values = {name: choice.value for name, choice in cell.choices.items()}
        basic = {name: values.pop(name) for name in BASIC}
        regime = _regime(context, cell)
        settings = (*cell.problem.settings, *cell.optimizer.settings)
        varied = {
            setting.name: cell.choices[setting.name].value
            for setting in settings
            if setting.kind != "constant" and setting.name in cell.choices
        }
        resources, _ = cell.resources(of_all)
        for seed, role in candidates.seeds_of(cell, seeds):
            run = Run(
                problem=cell.problem.name,
                optimizer=cell.optimizer.path,
                hyperparameters={
                    of_setting(name): value for name, value in values.items() if name not in READERS
                },
                regime=regime,
                seed=seed,
                protocol=protocol,
                **basic,  # type: ignore[arg-type]  # problems.py checks their types
            )
            planned = PlannedRun(
                run=run,
                problem=cell.problem.label,
                optimizer=cell.optimizer.label,
                varied=varied,
                resources=resources,
                role=role,
            )
            yield planned, cell


def _regime(context: Context, cell: Cell) -> dict[str, Value]:
    """The regime of a cell's runs; settings that exclude each other are noted."""
    given = {name: choice for name, choice in cell.choices.items() if name in READERS}
    path = f"optimizers.{cell.optimizer.label}"
    try:
        found = Settings.from_json({name: choice.value for name, choice in given.items()})
    except SettingError as error:
        context.add_once(cell.optimizer.place, path, str(error))
        return {}
    batch_size = cell.choices["batch_size"].value
    if isinstance(batch_size, int) and found.accumulate > batch_size:
        choice = given["accumulate"]
        message = f"{found.accumulate} parts of a minibatch of {batch_size}"
        context.add_once(choice.place or cell.optimizer.place, f"{path}.accumulate", message)
    return found.to_json()


def _each_draw_once(
    runs: Iterable[tuple[PlannedRun, Cell]],
) -> Iterator[tuple[PlannedRun, Cell]]:
    """The runs, without repeated ones of random draws that equal an earlier draw."""
    first: dict[tuple[str, str, str], Cell] = {}
    for planned, cell in runs:
        is_drawn = any(setting.kind == "random" for setting in cell.optimizer.settings)
        if is_drawn:
            names = (planned.problem, planned.optimizer, planned.run.id)
            if first.setdefault(names, cell) is not cell:
                continue
        yield planned, cell


def _less_excluded(
    context: Context, runs: Iterable[tuple[PlannedRun, Cell]], exclusions: Sequence[Condition]
) -> list[tuple[PlannedRun, Cell]]:
    """The runs that no exclusion matches; an exclusion without effect is noted as a mistake."""
    if not exclusions:
        return list(runs)
    kept, used = [], [False] * len(exclusions)
    spelled: dict[Cell, dict[str, str]] = {}
    for planned, cell in runs:
        if cell not in spelled:
            spelled[cell] = cell.spellings()
        values = spelled[cell] | {"seed": spelling(planned.run.seed)}
        matching = [index for index, found in enumerate(exclusions) if holds(found, values)]
        for index in matching:
            used[index] = True
        if not matching:
            kept.append((planned, cell))
    for index, exclusion in enumerate(exclusions):
        if not used[index] and not context.narrowed:
            message = "this excludes nothing: no run has all of these values"
            context.add(exclusion[0].place, f"exclude[{index}]", message)
    return kept


def _check_runs(context: Context, runs: Sequence[tuple[PlannedRun, Cell]]) -> None:
    """Note the mistakes of a sweep without runs, or with one run under two labels."""
    if not runs and not context.mistakes:
        context.add(context.root.place, "", "no runs: `when` and `exclude` leave nothing to do")
    first: dict[str, Cell] = {}
    told: set[tuple[str, ...]] = set()
    for planned, cell in runs:
        other = first.setdefault(planned.run.id, cell)
        labels = (other.problem.label, other.optimizer.label, planned.problem, planned.optimizer)
        if other is not cell and labels not in told:
            told.add(labels)
            path, place, message = _same_run(other, cell, planned)
            context.add(place, path, message)


def _same_run(first: Cell, second: Cell, planned: PlannedRun) -> tuple[str, Place, str]:
    """Path, place and message for two cells that hold the same run."""
    run = f"run {planned.run.id} ({second.problem.name}, seed {planned.run.seed})"
    if first.optimizer is not second.optimizer:
        names = f"{first.optimizer.label!r} and {second.optimizer.label!r}"
        where, entry = "optimizers", second.optimizer.label
        place = second.optimizer.place
    else:
        names = f"{first.problem.label!r} and {second.problem.label!r}"
        where, entry = "problems", second.problem.label
        place = second.problem.place
    message = f"{names} ask for the same {run}; remove one, or let a value differ"
    tuned = [one for one in (first, second) if candidates.follows_from_choice(planned, one)]
    if tuned:
        label = tuned[0].optimizer.label
        message += f" ({label!r} asks for it if that setting is chosen)"
    return f"{where}.{entry}", place, message


def _plan(
    context: Context,
    tree: Tree,
    name: str,
    kept: Sequence[tuple[PlannedRun, Cell]],
    seeds: Mapping[int, Place],
    tunings: tuple[Tuning, ...],
) -> Plan:
    possible = tuple(one for one in kept if candidates.follows_from_choice(*one))
    runs = [one for one in kept if not candidates.follows_from_choice(*one)]
    problems = {cell.problem.label: cell.problem for _, cell in runs}
    optimizers = {cell.optimizer.label: cell.optimizer for _, cell in runs}
    data = tree.root.entries.get("data")
    sweep = Sweep(
        name=name,
        description=context.spec.description or "",
        runs=tuple(planned for planned, _ in runs),
        problems=tuple(label for label in context.labels("problems") if label in problems),
        optimizers=tuple(label for label in context.labels("optimizers") if label in optimizers),
        targets={label: found.target for label, found in problems.items() if found.target},
        data=absolute(data.node, data.node.place) if data else None,
        code=context.folders,
        sources=tree.sources,
        file=real_path(Path(next(iter(tree.sources)))),
        tunings=tunings,
    )
    protocol = tree.root.entries.get("protocol")
    return Plan(
        sweep,
        tuple(cell for _, cell in runs),
        possible,
        seeds,
        str(protocol.node.place) if protocol else "default",
        read_resources(context.spec.resources, context.root),
        data.node.place if data else None,
    )
