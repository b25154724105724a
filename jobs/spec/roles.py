"""The roles of seeds in a spec: seeds of `seeds:` evaluate, seeds of `tune:` choose."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from jobs.spec import model
from jobs.spec.axes import Setting
from jobs.spec.context import Context
from jobs.spec.seeds import parse_seeds
from jobs.tuning import Criterion
from jobs.yaml.mistakes import Place, listed
from jobs.yaml.tree import Entry, ListNode, MapNode, Node, to_data


@dataclass(frozen=True)
class Tune:
    """A `tune:` mapping, at the top or of one optimizer."""

    seeds: Mapping[int, Place]  # tuning seeds, and where each is written
    criterion: Criterion
    path: str
    place: Place
    choose: Place  # of the criterion


def read_seeds(context: Context, entry: Entry | None, path: str) -> dict[int, Place]:
    """The seeds of a list, and where each is written; a repeated seed is noted as a mistake."""
    if entry is None:
        return {}
    items: Sequence[Node] = entry.node.items if isinstance(entry.node, ListNode) else [entry.node]
    seeds: dict[int, Place] = {}
    for item in items:
        numbers = parse_seeds(to_data(item))
        twice = next((number for number in numbers if number in seeds), None)
        if twice is not None:
            context.add_once(item.place, path, f"the seed {twice} is here twice")
        seeds |= dict.fromkeys(numbers, item.place)
    return seeds


def read_tune(
    context: Context, node: MapNode, given: model.Optimizer, settings: Sequence[Setting], path: str
) -> Tune | None:
    """The `tune:` of an optimizer; None: its settings are not compared.

    The `tune:` at the top is for the optimizers that have several settings.
    """
    has_several = any(len(setting.choices) > 1 for setting in settings)
    own = node.entries.get("tune")
    if given.tune is not None and own is not None:
        path = f"{path}.tune"
        if not has_several and context.narrowed:
            return None
        if not has_several:
            message = "there is nothing to choose from: no key here has several values"
            context.add(own.key, path, message)
        return _read(context, own, given.tune, path)
    top = context.root.entries.get("tune")
    if context.spec.tune is None or top is None or not has_several:
        return None
    return _read(context, top, context.spec.tune, "tune")


def check_seeds(
    context: Context, tunes: Iterable[Tune | None], evaluation: Mapping[int, Place]
) -> None:
    """Note the seeds that would both choose a setting and evaluate it."""
    for tune in filter(None, tunes):
        both = sorted(tune.seeds.keys() & evaluation.keys())
        if both:
            what = (
                f"seed {both[0]} is"
                if len(both) == 1
                else f"seeds {listed([*map(str, both)], 5)} are"
            )
            message = (
                f"the {what} among those that evaluate, too ({evaluation[both[0]]});"
                " what a seed chose, it cannot judge"
            )
            context.add_once(tune.seeds[both[0]], f"{tune.path}.seeds", message)


def _read(context: Context, entry: Entry, given: model.Tune, path: str) -> Tune:
    node = entry.node if isinstance(entry.node, MapNode) else MapNode({}, entry.key)
    seeds = read_seeds(context, node.entries.get("seeds"), f"{path}.seeds")
    choose = node.entries["choose"].node.place
    metric, at = given.choose.split()
    criterion = Criterion(metric=metric, at=at)  # type: ignore[arg-type]  # checked by the model
    return Tune(seeds, criterion, path, entry.key, choose)
