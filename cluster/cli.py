"""The command `probprec`.

Only argparse is imported before it is known what to do, so that `--help` and completion are quick
and a login node never loads what it does not need.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

DONE, INCOMPLETE, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
"""Exit codes."""

_AddParser = Callable[..., argparse.ArgumentParser]

_EPILOG = """\
exit codes: 0 done; 1 something is missing or failed; 2 the input is wrong; 130 interrupted

a first sweep:
  probprec check configs/experiments/quickstart.yaml    what would run
  probprec run configs/experiments/quickstart.yaml      run it here
  probprec collect quickstart                           records to tables
  probprec plot quickstart                              records to a figure
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _dispatch(options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # no second complaint at exit
        return DONE
    except ValueError as error:
        from jobs.errors import InputError

        if not isinstance(error, InputError):
            raise
        sys.stderr.write(f"{error}\n")
        return WRONG_INPUT


def _dispatch(options: argparse.Namespace) -> int:
    command = options.command
    if command in {"check", "explain", "schema"}:
        return _preview(command, options)
    if command in {"run", "submit"}:
        from cluster import run

        start = run.run if command == "run" else run.submit
        return start(
            options.spec,
            options.overrides,
            root=options.root,
            workers=options.workers,
            threads=options.threads,
            as_json=options.json,
        )
    return _on_sweep(command, options)


def _preview(command: str, options: argparse.Namespace) -> int:
    from cluster import preview

    if command == "schema":
        return preview.schema()
    if command == "check":
        return preview.check(options.spec, options.overrides, as_json=options.json)
    return preview.explain(options.spec, options.run, options.overrides, as_json=options.json)


def _on_sweep(command: str, options: argparse.Namespace) -> int:
    from jobs.store import Store

    # A sweep is named by its folder's path, or by its name below the root.
    store = Store(Path(options.sweep))
    if not store.exists():
        store = Store(options.root / options.sweep)
    if command == "status":
        from cluster.status import status

        return status(store, as_json=options.json)
    from cluster import collect

    if command == "collect":
        return collect.collect(store, strict=options.strict, as_json=options.json)
    return collect.plot(store, figure=options.figure, metric=options.metric, as_json=options.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="probprec",
        description="Benchmark deep-learning optimizers: one YAML file in, one table and the figures out.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_spec_commands(commands.add_parser)
    _add_start_commands(commands.add_parser)
    _add_sweep_commands(commands.add_parser)
    return parser


def _add_spec_commands(add: _AddParser) -> None:
    check = add("check", help="validate a spec and show what it asks for")
    _add_spec(check)
    _add_json(check)
    explain = add("explain", help="show which line of a spec gave each value")
    _add_spec(explain)
    explain.add_argument("run", metavar="RUN", help="a run's id, or the beginning of it")
    _add_json(explain)
    add("schema", help="print the JSON Schema of a spec, for editors")


def _add_start_commands(add: _AddParser) -> None:
    run = add("run", help="run what has no record yet on this machine, and wait")
    submit = add("submit", help="the same without waiting")
    for command in (run, submit):
        _add_spec(command)
        _add_root(command)
        command.add_argument(
            "--on", choices=("local",), default="local", help="where (default: local, this machine)"
        )
        command.add_argument(
            "--workers",
            type=_positive,
            metavar="N",
            help="runs at a time (default: usable CPUs / threads)",
        )
        command.add_argument(
            "--threads",
            type=_positive,
            metavar="N",
            default=1,
            help="CPU threads per run (default: 1)",
        )
        _add_json(command)


def _add_sweep_commands(add: _AddParser) -> None:
    status = add("status", help="show how a sweep stands")
    collect = add("collect", help="turn a sweep's records into tables")
    plot = add("plot", help="draw a sweep's figures")
    for command in (status, collect, plot):
        command.add_argument("sweep", metavar="SWEEP", help="a sweep's name, or its folder")
        _add_root(command)
        _add_json(command)
    collect.add_argument(
        "--strict", action="store_true", help="exit with 1 on any finding, not only on missing runs"
    )
    plot.add_argument(
        "--figure",
        choices=("grid", "final", "runtime", "sensitivity"),
        default="grid",
        help="curves of all metrics; final metric per seed; cost relative to SGD;"
        " final metric against a hyperparameter (default: grid)",
    )
    plot.add_argument(
        "--metric",
        metavar="NAME",
        help="of the figures final and sensitivity, e.g. test_loss (default: the problem's own)",
    )


def _add_spec(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spec", type=Path, metavar="SPEC", help="the YAML file")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a value, e.g. --set epochs=2 --set optimizers.SGD.lr=0.1; may be repeated",
    )


def _add_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--root",
        type=Path,
        default=Path(os.environ.get("PROBPREC_ROOT", "sweeps")),
        metavar="DIR",
        help="where sweeps live (default: $PROBPREC_ROOT, else ./sweeps)",
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
