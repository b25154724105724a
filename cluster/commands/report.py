"""The command `probprec report` writes one HTML file of what the records of sweeps say."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from cluster.commands.collect import collected
from cluster.commands.logs import last_lines
from cluster.commands.question import Request
from cluster.status import advice
from cluster.terminal.exit_codes import DONE
from cluster.terminal.output import print_json
from cluster.terminal.plain import PlainConsole, command, plain
from jobs import files
from jobs.errors import InputError
from jobs.report import page
from jobs.report.charts import charts
from jobs.report.checklist import checklist
from jobs.report.methods import methods
from jobs.report.report import Origin, Report, RunText
from jobs.results.comparisons import Answer, NothingToCompareError, answers
from jobs.results.ledger import Collection
from jobs.results.question import Question
from jobs.results.reading import Unsettled
from jobs.results.selection import Mode
from jobs.results.study import Results, Study, selected_by
from jobs.store.store import Store
from jobs.sweep import Sweep

_LOG_LINES_MAX = 12
_LOG_LINE_CHARACTERS_MAX = 300
_LOGS_MAX = 300  # of a sweep of which thousands failed the first ones tell


def report(stores: Sequence[Store], request: Request, *, out: Path | None, as_json: bool) -> int:
    """Write the report of the records that exist so far.

    `out`: the file; default: report.html in the sweep's own folder.

    Raises:
        InputError: there is no record, the question is not whole, `out` is a folder or no HTML, or
            there are several sweeps and no `out`.
    """
    if len(stores) > 1 and out is None:
        raise InputError("several sweeps have no folder in common: say --out FILE")
    question, file = request.question(), out or stores[0].report_file
    if file.is_dir():
        raise InputError(
            f"{file} is a folder: -o FILE names a file, such as {file / 'report.html'}"
        )
    if file.suffix not in (".html", ".htm"):  # it would replace a sweep's own file without a word
        raise InputError(f"{file}: -o FILE names a file that ends in .html")
    results = selected_by(collected(*stores, keep=out is None), request.select)
    if not results.found:
        raise InputError(f"sweep {results.name!r} has no records yet: nothing to report")
    made = _report(results, question, request.select, file)
    file.parent.mkdir(parents=True, exist_ok=True)
    files.write_atomically(file, page.render(made))
    if as_json:
        findings = [
            one.to_json() for one in (*made.review.findings, *made.review.findings_of_pairs)
        ]
        content = {"file": str(file), "runs": len(results.found), "findings": findings}
        print_json({"schema": 1} | content)
    else:
        PlainConsole(soft_wrap=True).print(plain(file))
    return DONE


def _report(results: Collection | Study, question: Question, mode: Mode, file: Path) -> Report:
    found: tuple[Answer, ...] = ()
    why_not = None
    try:
        found = answers(results.selections, question, results.on_files)
    except NothingToCompareError as error:
        why_not = str(error)
    members = results.members if isinstance(results, Study) else {results.name: results}
    return Report(
        results=results,
        question=question,
        mode=mode,
        answers=found,
        why_not_compared=why_not,
        origins=[_origin(name, one.store, one.sweep, file) for name, one in members.items()],
        logs=_logs(results),
        checks=checklist(results, found),
        charts=charts(results, found),
        methods=methods(results, found, question),
    )


def _origin(name: str, store: Store, sweep: Sweep, file: Path) -> Origin:
    """Where a sweep's records lie, as seen from the report, and what to type about its runs."""
    run = _stand_in(store)
    record = os.path.relpath(store.run(run).record_file.resolve(), file.resolve().parent)
    only = ("--only", f"run={run}")
    return Origin(
        sweep=name,
        record=RunText.around(quote(os.fsencode(record)), run),
        why=RunText.around(advice.why_command(store, run), run),
        send=RunText.around(f"{advice.submit_command(store, sweep)} {' '.join(only)}", run),
        redo=RunText.around(command("redo", store.root, *only), run),
        sources=sweep.sources,
    )


def _stand_in(store: Store) -> str:
    """An id that stands for any run's in a text: nothing in the sweep's path is taken for it."""
    return next(digit * 12 for digit in "0123456789abcdef" if digit * 12 not in str(store.root))


def _logs(results: Results) -> Mapping[str, Sequence[str]]:
    """The last lines of the logs of the runs that failed, by the runs' ids."""
    failed = [
        one for one in results.outcomes if isinstance(one, Unsettled) and one.state.log is not None
    ]
    return {
        one.planned.run.id: [
            line[:_LOG_LINE_CHARACTERS_MAX]
            for line in last_lines(Path(one.state.log or ""), _LOG_LINES_MAX)
        ]
        for one in failed[:_LOGS_MAX]
    }
