"""A comparison as a table for a paper: booktabs, with n, intervals and p values."""

from collections.abc import Iterator, Sequence

from jobs.results.cells import spell_seeds
from jobs.results.comparisons import Answer
from jobs.results.question import Question
from jobs.results.sentence import difference_text, p_text, why_no_difference
from jobs.statistics.claims import Claim

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def escape(text: str) -> str:
    """Escape a text of a user's: no sign of it commands LaTeX."""
    return "".join(_SPECIAL.get(sign, sign) for sign in text)


def table(found: Sequence[Answer], question: Question) -> str:
    """Write the comparisons as a `table` with a caption; it needs the package `booktabs`."""
    return "\n".join(
        (
            r"\begin{table}",
            r"\centering",
            r"\begin{tabular}{llrlrr}",
            r"\toprule",
            r"problem & optimizer & $n$ & difference (95\,\% CI) & $p$ & $p$ (Holm) \\",
            r"\midrule",
            *_rows(found),
            r"\bottomrule",
            r"\end{tabular}",
            rf"\caption{{{_caption(found, question)}}}",
            r"\end{table}",
        )
    )


def _rows(found: Sequence[Answer]) -> Iterator[str]:
    above = ""
    for one in found:
        problem = "" if one.problem == above else one.problem
        above = one.problem
        yield " & ".join((escape(problem), escape(one.a.optimizer), *_numbers(one))) + r" \\"


def _numbers(one: Answer) -> tuple[str, str, str, str]:
    made = one.compared
    if made is None:
        return "--", "not compared", "--", "--"
    n, m = made.comparison.n
    text = difference_text(made.comparison).replace("95 % CI ", "")
    effect = (
        f"${text.replace(' (', '$ ($').replace(' to ', '$ to $').replace(')', '$)')}"
        if text
        else ""
    )
    chance = made.comparison.improvement.probability
    shown = effect or rf"{why_no_difference(made.comparison)}; $P(\text{{better}}) = {chance:.2f}$"
    p = (p_text(value).removeprefix("= ") for value in (made.evidence.p_value, made.p_adjusted))
    first, second = (f"${one}$" for one in p)
    return (str(n) if n == m else f"{n}, {m}", shown, first, second)


def _caption(found: Sequence[Answer], question: Question) -> str:
    first = found[0]
    metrics = sorted({one.metric.replace("_", " ") for one in found})
    what = f"{question.value.replace('_', ' ')} {' and '.join(metrics)}"
    made = [one.compared for one in found if one.compared is not None]
    seeds = sorted({spell_seeds(r.planned.run.seed for r in one.runs[0].results) for one in made})
    tests = sorted({"sign-flip" if one.comparison.paired else "permutation" for one in made})
    test = (
        f"{' and '.join(tests)} tests"
        if question.claim is Claim.SUPERIOR
        else "one-sided $t$ tests"
    )
    count = f"{first.family} comparison{'s' if first.family > 1 else ''} declared"
    diverged = sum(share.count for one in made for share in one.comparison.diverged)
    rest = f"{diverged} runs diverged, each counted as the worst" if diverged else "no run diverged"
    return (
        f"{escape(what).capitalize()} less that of"
        f" {escape(first.b.optimizer)}, $n$ runs each ({escape('; '.join(seeds))}); $p$ of {test},"
        f" adjusted by Holm over {count}; {rest}."
    )
