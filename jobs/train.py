"""Train one run by the DeepOBS protocol and write its outcome or its error.

    python -m jobs.train RUN.json --out DIR [--data DIR] [--manifest SHA256] [--image SHA256]
        [--code ZIP] [--own DIR]... [--resume DIR]... [--until UNIX_SECONDS]
        [--checkpoint-every SECONDS] [--gpu] [--die-with-parent]

DIR gets `progress.jsonl` (a line per evaluated epoch, per checkpoint and per resume), checkpoints,
and in the end `outcome.json` (a record: completed or diverged), or `error.json` (why there is none)
with exit code 1, or neither with exit code 75: told to stop by SIGTERM, SIGUSR2 or the time that is
left, it has written a checkpoint for `--resume`. A signal before the training has begun ends it
with 75 at once. Where not even `error.json` can be written, the exit code is 73.

Nothing heavy is imported before the signals are listened to.
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs import failure, files
from jobs.snapshot import require_imported_from
from jobs.store.attempts import AttemptFiles
from jobs.sweep import Run
from jobs.training.execute import CHECKPOINT_EVERY, execute
from jobs.training.launcher_gone import die_with_parent
from jobs.training.origin import InputHashes
from jobs.training.stop import InterruptionError, Stop

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m jobs.train`; returns the exit code."""
    stop = Stop()
    stop.listen()
    options = _parser().parse_args(arguments)
    stop.until = options.until
    if options.die_with_parent:
        die_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    out = AttemptFiles(options.out)
    try:
        out.path.mkdir(parents=True, exist_ok=True)
        return _run(options, out, stop)
    except Exception as error:  # whatever ends a run is named, then reported
        log.exception("the run failed")
        stop.defer()
        return _report(error, out)


def _run(options: argparse.Namespace, out: AttemptFiles, stop: Stop) -> int:
    if options.code is not None:
        require_imported_from(options.code)
    run = Run.from_json(json.loads(options.run.read_bytes()))
    try:
        outcome = execute(
            run,
            data=options.data,
            out=out,
            resume=options.resume,
            stop=stop,
            checkpoint_every=options.checkpoint_every,
            gpu=options.gpu,
            own=options.own,
            given=InputHashes(image=options.image, manifest=options.manifest),
        )
    except InterruptionError as why:
        log.info("left before the end: %s", why)
        return failure.EXIT_INTERRUPTED
    files.write_atomically(out.outcome_file, files.to_json(outcome))
    return 0


def _report(error: Exception, out: AttemptFiles) -> int:
    report = failure.of_exception(error)
    try:
        files.write_atomically(out.error_file, files.to_json(report.to_json()))
    except OSError as unwritable:
        if failure.is_disk_full(unwritable):
            return failure.EXIT_DISK_FULL
        raise
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m jobs.train", description="Train one run.")
    parser.add_argument("run", type=Path, help="the run, as JSON")
    parser.add_argument("--out", type=Path, required=True, help="folder for what comes of it")
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--manifest", metavar="SHA256", help="of the data set, verified by it")
    parser.add_argument("--image", metavar="SHA256", help="of the image that this runs in")
    parser.add_argument(
        "--code", type=Path, metavar="ZIP", help="fail if this toolkit comes from elsewhere"
    )
    _add_folders(parser)
    parser.add_argument(
        "--until",
        type=float,
        metavar="UNIX_SECONDS",
        help="stop with a checkpoint at an epoch's end if the next would not end before this time",
    )
    parser.add_argument(
        "--checkpoint-every",
        type=float,
        default=CHECKPOINT_EVERY,
        metavar="SECONDS",
        help="write a checkpoint so often (default: %(default)g; 0: after every step)",
    )
    parser.add_argument("--gpu", action="store_true", help="fail rather than train on the CPU")
    parser.add_argument(
        "--die-with-parent", action="store_true", help="end when the launcher is killed"
    )
    return parser


def _add_folders(parser: argparse.ArgumentParser) -> None:
    """Add the options for folders, which may be given several times."""
    parser.add_argument(
        "--own",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="a folder of the user's own modules; may be repeated",
    )
    parser.add_argument(
        "--resume",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="an earlier attempt's folder, to go on from its checkpoint; may be repeated, newest first",
    )


if __name__ == "__main__":
    sys.exit(main())
