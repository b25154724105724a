"""The command `probprec`.

Only argparse is imported before it is known what to do, so that `--help` and completion are quick
and a login node never loads what it does not need.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cluster.commands.arguments import parser
from cluster.terminal import output
from jobs.errors import ExpectedError
from jobs.text import printable_lines

if TYPE_CHECKING:
    from jobs.store.store import Store

DONE, INCOMPLETE, INTERRUPTED = 0, 1, 130
"""Exit codes; an `ExpectedError` has its own."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code.

    What is no bug ends in a line on stderr: all of `ExpectedError`, and errors of the system.
    """
    output.prepare()
    options = argparse.Namespace()
    try:
        try:
            words = sys.argv[1:] if arguments is None else list(arguments)
            options = parser().parse_args(words)
            options.words = words
            return _dispatch(options)
        finally:
            sys.stdout.flush()  # at exit nobody would hear of an error
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        output.drop_rest()
        return DONE
    except ExpectedError as error:
        return _refused(error, str(error), options, error.exit_code)
    except OSError as error:
        if error.errno is None:
            raise
        from cluster.terminal import system_error

        return _refused(error, system_error.line(error, options), options, INCOMPLETE)


def _refused(error: Exception, text: str, options: argparse.Namespace, code: int) -> int:
    """Say what is wrong; with --json also as the one object on standard output."""
    sys.stderr.write(f"{printable_lines(text)}\n")
    if getattr(options, "json", False):
        output.print_errors(error, text)
    output.drop_rest()
    return code


def _dispatch(options: argparse.Namespace) -> int:
    command = options.command
    if command in {"init", "check", "explain", "schema", "verify-resume"}:
        return _on_spec(command, options)
    if command in {"run", "submit"}:
        return _start(command, options)
    if command in {"doctor", "build", "image", "data", "lab", "completion"}:
        return _on_site(command, options)
    if command == "ls":
        from cluster.commands.sweeps import ls

        return ls(options.root, as_json=options.json)
    if command in {"logs", "why"}:
        return _on_run(command, options)
    return _on_sweep(command, options)


def _on_spec(command: str, options: argparse.Namespace) -> int:
    if command == "init":
        from cluster.commands.init import init

        return init(options.folder, slurm=options.slurm)
    if command == "verify-resume":
        from cluster.commands.verify_resume import verify

        return verify(options.spec, options.overrides, run=options.run, as_json=options.json)
    from cluster.commands import check

    if command == "schema":
        return check.schema()
    if command == "check":
        return check.check(options.spec, options.overrides, on=options.on, as_json=options.json)
    return check.explain(options.spec, options.run, options.overrides, as_json=options.json)


def _start(command: str, options: argparse.Namespace) -> int:
    from cluster.commands import run

    request = run.Request(
        spec=options.spec,
        overrides=options.overrides,
        root=options.root,
        on=options.on,
        words=options.words,
        only=options.only,
        replace=options.replace,
        workers=options.workers,
        threads=options.threads,
        as_json=options.json,
    )
    if command == "run":
        return run.run(request)
    return run.dry_run(request) if options.dry_run else run.submit(request)


def _on_run(command: str, options: argparse.Namespace) -> int:
    from cluster.commands import logs, selection, why
    from cluster.lab import connect

    store = _store(options) if options.sweep else selection.find_sweep(options.root, options.run)
    connect.use_that_of(store)
    if command == "logs":
        return logs.logs(store, options.run, follow=options.follow)
    return why.why(store, options.run, as_json=options.json)


def _on_sweep(command: str, options: argparse.Namespace) -> int:
    store = _store(options)
    if command in {"collect", "plot"}:
        return _results(command, store, options)
    from cluster.lab import connect

    connect.use_that_of(store)
    if command == "status":
        from cluster.commands.status import status

        return status(store, watch=options.watch, as_json=options.json)
    if command == "cancel":
        from cluster.commands.cancel import cancel

        return cancel(store, options.runs, as_json=options.json)
    return _again(command, store, options)


def _again(command: str, store: "Store", options: argparse.Namespace) -> int:
    from cluster.profile import find as find_profile

    place = find_profile.load(options.on) if options.on else None
    if command == "redo":
        from cluster.commands.redo import redo

        return redo(
            store,
            only=options.only,
            profile=place,
            dry_run=options.dry_run,
            as_json=options.json,
        )
    from cluster.commands.retry import retry

    return retry(
        store,
        failed=options.failed,
        classes=options.classes,
        runs=options.runs,
        mem=options.mem,
        time=options.time,
        exclude_bad_nodes=options.exclude_bad_nodes,
        profile=place,
        as_json=options.json,
    )


def _results(command: str, store: "Store", options: argparse.Namespace) -> int:
    from cluster.commands import collect

    if command == "collect":
        return collect.collect(store, strict=options.strict, out=options.out, as_json=options.json)
    return collect.plot(
        store,
        figure=options.figure,
        metric=options.metric,
        out=options.out,
        as_json=options.json,
    )


def _store(options: argparse.Namespace) -> "Store":
    """A sweep is named by its folder's path, or by its name below the root."""
    from cluster.commands.sweeps import find

    return find(options.root, options.sweep, options.command)


def _on_site(command: str, options: argparse.Namespace) -> int:
    if command == "doctor":
        from cluster.doctor.command import doctor

        return doctor(options.on, node=options.node, write=options.write, as_json=options.json)
    if command == "build":
        from cluster.commands.build import build

        return build(options.recipe, options.images, show=options.show, as_json=options.json)
    if command == "image":
        return _image(options)
    if command == "completion":
        from cluster.commands.completion import completion

        return completion(options.shell)
    return _lab(options) if command == "lab" else _data(options)


def _image(options: argparse.Namespace) -> int:
    from cluster.commands import image

    if options.action == "list":
        return image.list_(options.images, as_json=options.json)
    if options.action == "inspect":
        return image.inspect(options.images, options.image, as_json=options.json)
    if options.action == "verify":
        return image.verify(options.images, options.names, as_json=options.json)
    return image.prune(options.images, options.root, as_json=options.json)


def _data(options: argparse.Namespace) -> int:
    from cluster.commands import data

    if options.action == "add":
        return data.add(options.datasets, options.name, options.source, as_json=options.json)
    if options.action == "list":
        return data.list_(options.datasets, as_json=options.json)
    if options.action == "verify":
        return data.verify(options.datasets, options.names, as_json=options.json)
    return data.prune(options.datasets, options.scratch, as_json=options.json)


def _lab(options: argparse.Namespace) -> int:
    from cluster.lab import Settings, command

    if options.lab == "up":
        settings = Settings(
            nodes=options.nodes,
            cpus=options.cpus,
            gpus=options.gpus,
            accounting=options.accounting,
            max_array_size=options.max_array_size,
            max_submit=options.max_submit,
        )
        return command.up(settings, options.folder)
    if options.lab == "down":
        return command.down(options.folder)
    if options.lab == "status":
        return command.status(options.folder, as_json=options.json)
    if options.lab == "exec":
        words = options.arguments
        return command.exec_(options.folder, words[1:] if words[:1] == ["--"] else words)
    return command.fault(options.folder, options.name, options.arguments)


if __name__ == "__main__":
    sys.exit(main())
