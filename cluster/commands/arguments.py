"""The arguments of the command `probprec`; argparse only, so that `--help` is quick."""

import argparse
import json
from pathlib import Path

from cluster.commands import manual
from cluster.commands.options import AddParser, Parser, Version, add_json, add_root, positive
from cluster.commands.site_arguments import add_site_commands

_EPILOG = """\
exit codes: 0 done; 1 something is missing or failed; 2 the input is wrong; 130 interrupted
of one command: probprec COMMAND --help

a first sweep, on this machine:
  probprec init                                         a spec and an optimizer of your own
  probprec check configs/experiments/quickstart.yaml    what would run
  probprec run configs/experiments/quickstart.yaml      run it here (where Slurm is: --on local)
  probprec collect quickstart                           records to tables
  probprec plot quickstart                              records to a figure

on a cluster:
  probprec doctor --on PROFILE                          what is there, what is missing, what to do
  probprec build RECIPE                                 the image that runs are trained in
  probprec submit SPEC --on PROFILE --dry-run           the batch scripts, and what Slurm says
  probprec submit SPEC --on PROFILE                     send it and go home
  probprec status SWEEP --watch                         how it stands
  probprec why RUN                                      what became of a run, and what to do
  probprec retry SWEEP                                  what failed, with more memory or time
"""


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    found = Parser(
        prog="probprec",
        description="Benchmark deep-learning optimizers: one YAML file in, one table and the figures out.",
        epilog=_EPILOG,
        formatter_class=manual.Formatter,
    )
    found.add_argument("--version", action=Version, help="show the version and exit")
    commands = found.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_spec_commands(commands.add_parser)
    _add_start_commands(commands.add_parser)
    _add_watch_commands(commands.add_parser)
    _add_repair_commands(commands.add_parser)
    _add_result_commands(commands.add_parser)
    add_site_commands(commands.add_parser)
    _add_completion(commands.add_parser)
    manual.describe(found)
    return found


def _add_spec_commands(add: AddParser) -> None:
    init = add("init", help="write a first spec and an optimizer of your own")
    init.add_argument(
        "folder", nargs="?", type=Path, default=Path(), help="where (default: this folder)"
    )
    init.add_argument(
        "--slurm", action="store_true", help="also a profile of the cluster that this is"
    )
    check = add("check", help="validate a spec and show what it asks for")
    _add_spec(check)
    check.add_argument(
        "--on", metavar="PROFILE", help="also look for the data as it would, and say what it costs"
    )
    add_json(check)
    explain = add("explain", help="show which line of a spec gave each value")
    _add_spec(explain)
    explain.add_argument("run", metavar="RUN", help="a run's id, or the beginning of it")
    add_json(explain)
    add("schema", help="print the JSON Schema of a spec, for editors")
    verify = add("verify-resume", help="check that an interrupted run goes on exactly as it was")
    _add_spec(verify)
    verify.add_argument("--run", metavar="RUN", help="only this run (default: one of each kind)")
    add_json(verify)


def _add_start_commands(add: AddParser) -> None:
    run = add("run", help="run what has no record yet, and wait")
    submit = add("submit", help="the same without waiting: submit and go home")
    for command in (run, submit):
        _add_spec(command)
        add_root(command)
        command.add_argument(
            "--on",
            metavar="PROFILE",
            help="where: a profile's name (configs/clusters/NAME.yaml) or file, or local, this"
            " machine (default: $PROBPREC_ON; without it local, but where Slurm is there is none)",
        )
        _add_only(command)
        command.add_argument(
            "--replace",
            action="store_true",
            help="even if the sweep of that name loses records or running jobs, or is another file's;"
            " records stay on disk and count no more",
        )
        command.add_argument(
            "--workers",
            type=positive,
            metavar="N",
            help="on this machine: runs at a time (default: usable CPUs / threads)",
        )
        command.add_argument(
            "--threads",
            type=positive,
            metavar="N",
            help="CPU threads per run (default: the profile's; on this machine 1)",
        )
        add_json(command)
    submit.add_argument(
        "--dry-run",
        action="store_true",
        help="show the batch scripts and what Slurm says of them; send nothing",
    )


def _add_watch_commands(add: AddParser) -> None:
    ls = add("ls", help="show all sweeps: how they stand by their files, their age and size")
    add_root(ls)
    add_json(ls)
    status = add("status", help="show how a sweep stands")
    _add_sweep(status)
    status.add_argument("--watch", action="store_true", help="look again until all is over")
    for name, summary in (
        ("logs", "show the log of a run"),
        ("why", "what became of a run, and what to do about it"),
    ):
        command = add(name, help=summary)
        command.add_argument("run", metavar="RUN", help="a run's id, or the beginning of it")
        command.add_argument(
            "--of",
            dest="sweep",
            metavar="SWEEP",
            help="its sweep's name or folder (default: the sweep below the root that has it)",
        )
        add_root(command)
        if name == "logs":
            command.add_argument(
                "-f", "--follow", action="store_true", help="go on as it grows, over all attempts"
            )
        else:
            add_json(command)


def _add_repair_commands(add: AddParser) -> None:
    retry = add("retry", help="submit again what failed, with what it lacked")
    _add_sweep(retry)
    retry.add_argument(
        "--failed", action="store_true", help="all that failed, also what will fail again"
    )
    retry.add_argument(
        "--class",
        dest="classes",
        action="append",
        default=[],
        metavar="CLASS",
        help="only failures of this class, e.g. oom; may be repeated",
    )
    retry.add_argument(
        "--run", dest="runs", action="append", default=[], metavar="RUN", help="only this run"
    )
    retry.add_argument("--mem", metavar="M", help="memory: x2, +2G or 8G (default: the policy's)")
    retry.add_argument("--time", metavar="T", help="time: x2, +50%%, +01:00:00 or 04:00:00")
    retry.add_argument(
        "--exclude-bad-nodes", action="store_true", help="not on nodes that fail what others pass"
    )
    retry.add_argument("--on", metavar="PROFILE", help="where (default: as the last time)")
    redo = add("redo", help="run again with today's code; what there is is set aside, not deleted")
    _add_sweep(redo)
    _add_only(redo)
    redo.add_argument(
        "--dry-run", action="store_true", help="show what would be set aside; write nothing"
    )
    redo.add_argument("--on", metavar="PROFILE", help="where (default: as the last time)")
    cancel = add("cancel", help="cancel a sweep's jobs, or some runs")
    _add_sweep(cancel)
    cancel.add_argument("runs", nargs="*", metavar="RUN", help="only these runs")


def _add_result_commands(add: AddParser) -> None:
    collect = add("collect", help="turn a sweep's records into tables")
    plot = add("plot", help="draw a sweep's figures")
    for command in (collect, plot):
        _add_sweep(command)
        command.add_argument(
            "--out",
            type=Path,
            metavar="DIR",
            help="write to this folder (default: one in the sweep's own), e.g. of a sweep that is"
            " somebody else's",
        )
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


def _add_completion(add: AddParser) -> None:
    completion = add("completion", help="print what lets your shell complete what you type")
    completion.add_argument(
        "shell", metavar="SHELL", choices=("bash", "zsh", "tcsh"), help="bash, zsh or tcsh"
    )


def _add_sweep(command: argparse.ArgumentParser) -> None:
    command.add_argument("sweep", metavar="SWEEP", help="a sweep's name, or its folder")
    add_root(command)
    add_json(command)


def _add_only(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="only some runs, by problem, optimizer, role, seed, cell or run,"
        " e.g. --only seed=42..44 --only optimizer=SGD; may be repeated",
    )


def _add_spec(command: argparse.ArgumentParser) -> None:
    command.add_argument("spec", type=Path, metavar="SPEC", help="the YAML file")
    command.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a value, e.g. --set epochs=2 --set optimizers.SGD.lr=0.1; may be repeated;"
        " what changes runs makes a sweep of its own, e.g. NAME@epochs=2",
    )
    command.add_argument(
        "--name",
        dest="overrides",
        action="append",
        type=lambda text: f"name={json.dumps(text)}",
        metavar="NAME",
        help="the sweep's name (default: the spec's; with --set one that tells what it changes)",
    )
