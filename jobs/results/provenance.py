"""What differs in the provenance of runs that are averaged, or compared in one table."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from jobs.results.cells import Cell, spell_seeds
from jobs.results.finding import Finding
from jobs.results.reading import Result

_SOFTWARE = ("code", "image", "python", "torch", "numpy")
_DEVICE = ("threads", "device", "gpu", "cuda")
_MACHINE = (
    "machine",
    "cpu",
    "driver",
)  # of little weight: one finding on the whole sweep is enough

_OF_ALL = frozenset((*_SOFTWARE, *_DEVICE, *_MACHINE))
"""What each record tells; own modules, say, are listed only where they are used."""

_TOLD = (*_OF_ALL, "training_code", "packages", "environment", "data", "staging")
"""The entries of a record's provenance that its facts are made of, beside its own code."""

_OWN_CODE = "own code "
PACKAGE = "package "
_NOT_HASHES = {"folder", "unverified"}  # where the data was, and whether anybody looked at it
_HASH_DIGITS = 12
_MOST = 6  # of more differences in a cell, the first ones are named

Facts = Mapping[str, str]
"""What a record says of where its number comes from: name -> value, as a person reads it."""


def findings(cells: Sequence[Cell]) -> Iterator[Finding]:
    """Find what differs between the cells, by fact, and within them, by cell."""
    kinds = _Kinds()
    yield from _compared(cells, kinds)
    for cell in cells:
        yield from _averaged(cell, kinds)
    yield from _unverified(cells)
    yield from _dirty(cells)


class _Kinds:
    """What records say, of which many say the same."""

    def __init__(self) -> None:
        self._known: dict[str, Facts] = {}

    def facts_of(self, result: Result) -> Facts:
        """What a record says; equal ones are one object."""
        said = [result.provenance.get(name, ...) for name in _TOLD]  # JSON has no ellipsis
        key = repr((said, _own_code(result)))
        if key not in self._known:
            self._known[key] = origin_of(result)
        return self._known[key]

    def of(self, results: Iterable[Result]) -> "list[tuple[Facts, list[Result]]]":
        """The results by what their records say."""
        found: dict[int, tuple[Facts, list[Result]]] = {}
        for one in results:
            facts = self.facts_of(one)
            found.setdefault(id(facts), (facts, []))[1].append(one)
        return list(found.values())


def _compared(cells: Sequence[Cell], kinds: _Kinds) -> Iterator[Finding]:
    """Software and own code must be the same in all cells, all else in those of one problem."""
    by_problem: dict[str, list[Result]] = {}
    for cell in cells:
        by_problem.setdefault(cell.problem, []).extend(cell.results)
    of_problems = {problem: kinds.of(results) for problem, results in by_problem.items()}
    everything = list(chain(*of_problems.values()))
    for name in dict.fromkeys(name for facts, _ in everything for name in facts):
        is_shared = name in _SOFTWARE or name.startswith((_OWN_CODE, PACKAGE))
        counts: Counter[str] = Counter()
        runs: tuple[str, ...] = ()
        for members in [everything] if is_shared else of_problems.values():
            own = [one for one in members if name in _OF_ALL or name in one[0]]
            values = _by_value(name, own)
            if len(values) > 1:
                counts.update({value: len(ones) for value, ones in values.items()})
                runs += tuple(one.planned.run.id for _, ones in own for one in ones)
        if counts:
            which = ", ".join(f"{value} ({count} runs)" for value, count in sorted(counts.items()))
            yield Finding(_code_of(name), f"records of different {name}: {which}", runs)


def _averaged(cell: Cell, kinds: _Kinds) -> Iterator[Finding]:
    """Whatever can change a number must be the same for all seeds."""
    own = kinds.of(cell.results)
    differences = []
    for name in dict.fromkeys(name for facts, _ in own for name in facts):
        values = _by_value(name, own)
        if len(values) > 1 and name not in _MACHINE:
            which = ", ".join(
                f"{value} ({spell_seeds(one.planned.run.seed for one in ones)})"
                for value, ones in sorted(values.items())
            )
            differences.append(f"{name}: {which}")
    if differences:
        more = len(differences) - _MOST
        rest = [f"and {more} more differences"] if more > 0 else []
        text = "; ".join(differences[:_MOST] + rest)
        runs = tuple(one.planned.run.id for one in cell.results)
        yield Finding("mixed_cell", f"{cell.name} averages runs of different {text}", runs)


def _code_of(fact: str) -> str:
    """The code of the finding that a fact differs."""
    if fact in ("code", "image", "environment"):
        return f"mixed_{fact}"
    if fact.startswith(_OWN_CODE):
        return "mixed_own_code"
    if fact in _SOFTWARE or fact.startswith(PACKAGE):
        return "mixed_packages"
    if fact in _DEVICE:
        return "mixed_hardware"
    return "mixed_machine" if fact in _MACHINE else "mixed_data"


def _by_value(
    name: str, kinds: Iterable[tuple[Facts, Sequence[Result]]]
) -> dict[str, list[Result]]:
    """What is known of some runs and not of others is a difference, too; but not of a package.

    When a package is imported may depend on how far a run came.
    """
    absent = "not listed" if name.startswith(_OWN_CODE) else "unknown"
    values: dict[str, list[Result]] = {}
    for facts, results in kinds:
        if name in facts or not name.startswith(PACKAGE):
            values.setdefault(facts.get(name, absent), []).extend(results)
    return values


def _unverified(cells: Sequence[Cell]) -> Iterator[Finding]:
    """Runs whose data nobody has compared with what was submitted: a line per problem."""
    for problem in dict.fromkeys(cell.problem for cell in cells):
        of_problem = [cell for cell in cells if cell.problem == problem]
        parts, runs = [], []
        for cell in of_problem:
            own = [one.planned.run for one in cell.results if _is_unverified(one)]
            runs += [run.id for run in own]
            if own:
                name = f"{cell.optimizer} {cell.label}".strip()
                parts.append(f"{name} ({spell_seeds(run.seed for run in own)})")
        if parts:
            is_all = len(runs) == sum(len(cell.results) for cell in of_problem)
            which = (
                f"all {len(runs)} runs of {problem}" if is_all else f"{problem} {', '.join(parts)}"
            )
            text = f"unverified_data: no hash says what was read by {which}"
            yield Finding("unverified_data", text, tuple(runs))


def _dirty(cells: Sequence[Cell]) -> Iterator[Finding]:
    """Find runs of this toolkit's code with uncommitted changes: no commit has what they ran."""
    results = [one for cell in cells for one in cell.results]
    own = [one for one in results if one.provenance.get("dirty") is True]
    if own:
        commits = sorted({_spell(one.provenance.get("commit")) for one in own})
        count = f"all {len(own)}" if len(own) == len(results) else f"{len(own)} of {len(results)}"
        text = f"{count} runs are of code with uncommitted changes (commit {', '.join(commits)})"
        yield Finding("dirty_code", text, tuple(one.planned.run.id for one in own))


def _is_unverified(result: Result) -> bool:
    data = result.provenance.get("data")
    return isinstance(data, Mapping) and data.get("unverified") is True


def origin_of(result: Result) -> Facts:
    """What a record says of all that can change its number; what it does not tell is absent."""
    provenance = result.provenance
    facts = {name: _spell(provenance[name]) for name in provenance if name in _OF_ALL}
    if "training_code" in provenance:  # without the command line, which changes no number
        facts["code"] = _spell(provenance["training_code"])
    packages = provenance.get("packages")
    if isinstance(packages, Mapping):
        others = packages.keys() - _OF_ALL
        facts |= {f"{PACKAGE}{name}": _spell(packages[name]) for name in sorted(others)}
    if "environment" in provenance and provenance.get("image"):
        # where there is no image it is that of whatever shell the runs were started from
        facts["environment"] = _spell(provenance["environment"])
    for module, digest in _own_code(result).items():
        facts[f"{_OWN_CODE}{module}"] = _spell(digest)
    facts |= {f"data {name}": value for name, value in _hashes(provenance)}
    return facts


def _own_code(result: Result) -> Mapping[str, Any]:
    """Module -> sha256; records of before name the class in the module."""
    found = result.provenance.get("own_code")
    if not isinstance(found, Mapping):
        return {}
    classes = {result.planned.run.problem, result.planned.run.optimizer}
    return {
        path.replace(":", ".").rpartition(".")[0] if path in classes else path: digest
        for path, digest in found.items()
    }


def _hashes(provenance: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The data set's name, and each of its hashes under its file's name."""
    data = provenance.get("data")
    staging = provenance.get("staging")
    if not isinstance(data, Mapping):  # of an own problem's data older records say only this
        manifest = staging.get("manifest") if isinstance(staging, Mapping) else None
        data = {"manifest": manifest}
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from ((str(name), _spell(digest)) for name, digest in value.items())
        elif isinstance(value, str) and key not in _NOT_HASHES:
            yield key, _spell(value)


def _spell(value: object) -> str:
    """A value for a person; of a hash the first digits."""
    if isinstance(value, Mapping):
        value = value.get("sha256", "unknown")
    if value is None:
        return "none"
    text = str(value)
    is_hash = len(text) >= 2 * _HASH_DIGITS and set(text) <= set("0123456789abcdef")
    return text[:_HASH_DIGITS] if is_hash else text
