"""The methods of a study in sentences to copy: only what was done in it, with references and versions."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata

from jobs.report import statistics_sentences, training_sentences
from jobs.report.content import Methods
from jobs.report.references import cited
from jobs.results.comparisons import Answer
from jobs.results.provenance import PACKAGE, origin_of
from jobs.results.question import Question
from jobs.results.study import Results
from jobs.text import printable

_VERSIONS = ("python", "torch", "numpy", "cuda", "driver")
_MACHINES = ("machine", "cpu", "device", "gpu", "threads")
_ANALYSIS = ("probprec", "numpy", "scipy")


def methods(results: Results, found: Sequence[Answer], question: Question) -> Methods:
    """How the numbers of these results were made.

    Args:
        results: of one sweep or several.
        found: what was compared; empty: there was nothing to compare.
        question: what was asked of it.
    """
    origins = _origins(results)
    paragraphs = tuple(
        printable(" ".join(sentences))
        for sentences in (
            list(training_sentences.trained(results)),
            list(training_sentences.selected(results.selections)),
            list(statistics_sentences.reported(results, found, question)),
            list(statistics_sentences.compared(found, question)),
            list(statistics_sentences.tuned(results)),
            list(statistics_sentences.reached(results)),
            list(statistics_sentences.profiled(results)),
            list(statistics_sentences.timed(results)),
            list(_made(results, origins)),
        )
        if sentences
    )
    return Methods(paragraphs=paragraphs, references=cited(paragraphs), versions=_versions(origins))


def _origins(results: Results) -> Mapping[str, Counter[str]]:
    """Of each fact that records tell the values, with their numbers of runs."""
    found: dict[str, Counter[str]] = {}
    for one in results.found:
        for name, value in origin_of(one).items():
            found.setdefault(name, Counter())[value] += 1
    return found


def _versions(origins: Mapping[str, Counter[str]]) -> Mapping[str, str]:
    trained = {name: origins[name] for name in _VERSIONS if name in origins}
    trained |= {
        name.removeprefix(PACKAGE): values
        for name, values in sorted(origins.items())
        if name.startswith(PACKAGE)
    }
    return {
        **{name: ", ".join(sorted(values)) for name, values in trained.items()},
        **{f"{name} (this analysis)": metadata.version(name) for name in _ANALYSIS},
    }


def _made(results: Results, origins: Mapping[str, Counter[str]]) -> Iterator[str]:
    """What the records say of code, software, machines and data."""
    if not results.found:
        return
    yield f"Trained with {_listed(origins, _VERSIONS)}."
    if image := _listed(origins, ("image", "code")):
        yield f"By the first digits of sha256: {image}."
    if own := _listed(origins, [name for name in origins if name.startswith("own code ")]):
        yield f"Code of our own: {own}."
    yield f"Machines: {_listed(origins, _MACHINES) or 'not known'}."
    data = [name for name in origins if name.startswith("data ")]
    if hashes := _listed(origins, data):
        yield f"Data, by the first digits of sha256: {hashes}."
    versions = [f"{name} {metadata.version(name)}" for name in _ANALYSIS]
    yield f"Analysed with {', '.join(versions)}."


def _listed(origins: Mapping[str, Counter[str]], names: Sequence[str]) -> str:
    """`torch 2.13.0, threads 1 (n=20) or 4 (n=10)`."""
    return ", ".join(
        f"{name} {_counted(origins[name])}"
        for name in names
        if name in origins and set(origins[name]) != {"none"}
    )


def _counted(values: Counter[str]) -> str:
    if len(values) == 1:
        return next(iter(values))
    return " or ".join(f"{value} (n={count})" for value, count in sorted(values.items()))
