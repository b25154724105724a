"""`probprec compare`: from the records to a table and a sentence per comparison."""

import sys
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cluster.commands.collect import collected, width
from cluster.commands.question import Request
from cluster.terminal.exit_codes import DONE, INCOMPLETE
from cluster.terminal.output import print_json
from cluster.terminal.plain import PlainConsole, plain
from jobs.results import latex
from jobs.results.comparisons import Answer, answers
from jobs.results.finding import Finding
from jobs.results.question import Question
from jobs.results.sentence import difference_text, p_text, sentence, why_no_difference
from jobs.results.study import selected_by
from jobs.statistics.claims import Claim
from jobs.store.store import Store

_STYLES = {Claim.UNDECIDED: "yellow"}


def compare(
    stores: Sequence[Store], request: Request, *, strict: bool, as_json: bool, as_latex: bool
) -> int:
    """Show what the sweeps' runs say; 0 if every comparison shows what is claimed.

    If it is `strict`, any finding is an error, too.

    Raises:
        InputError: there is nothing to compare, or the question is not whole.
    """
    question = request.question()
    results = selected_by(collected(*stores, keep=False), request.select)
    found = answers(results.selections, question, results.on_files)
    findings = list(dict.fromkeys(one for answer in found for one in answer.findings))
    if as_json:
        content = [one.to_json() | {"sentence": sentence(one, question)} for one in found]
        print_json({"schema": 1, "question": question.to_json(), "comparisons": content})
    elif as_latex:
        sys.stdout.write(f"{latex.table(found, question)}\n")
    else:
        _show(PlainConsole(width=width()), found, findings, question)
    is_shown = all(one.claim is question.claim for one in found)
    return DONE if is_shown and not (strict and findings) else INCOMPLETE


def _show(
    console: Console, found: Sequence[Answer], findings: Sequence[Finding], question: Question
) -> None:
    for problem in dict.fromkeys(one.problem for one in found):
        own = [one for one in found if one.problem == problem]
        console.print(_heading(own))
        console.print(_table(own))
        console.print()
    for one in found:
        console.print(plain(sentence(one, question)))
        console.print()
    for finding in findings:
        console.print(plain(f"! {finding}", style="yellow"), soft_wrap=True)


def _heading(found: Sequence[Answer]) -> Text:
    first = found[0]
    metric = f"{first.value} {first.metric}".replace("_", " ")
    heading = plain(first.problem, style="bold")
    heading.append(f": {metric} less that of {first.b.optimizer}", style="not bold")
    return heading


def _table(found: Sequence[Answer]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    table.add_column("optimizer", overflow="fold")
    for name in ("n", "difference", "P(better)", "p", "Holm"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("shown", no_wrap=True)
    for one in found:
        table.add_row(plain(one.a.optimizer), *_numbers(one), _shown(one))
    return table


def _numbers(one: Answer) -> Iterator[str]:
    made = one.compared
    if made is None:
        yield from ("",) * 5
        return
    n, m = made.comparison.n
    yield str(n) if n == m else f"{n}, {m}"
    text = difference_text(made.comparison).replace("95 % CI ", "")
    yield text or why_no_difference(made.comparison)
    yield f"{made.comparison.improvement.probability:.2f}"
    yield p_text(made.evidence.p_value).removeprefix("= ")
    yield p_text(made.p_adjusted).removeprefix("= ")


def _shown(one: Answer) -> Text:
    if one.claim is Claim.SUPERIOR:
        return plain("better" if one.winner is one.a else "worse")
    return plain(
        "not compared" if one.compared is None else one.claim.value, _STYLES.get(one.claim, "")
    )
