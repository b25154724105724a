"""What `--help` of each command says beyond its arguments: a sentence, and how it is typed."""

import argparse
from collections.abc import Mapping

_COMMANDS: Mapping[str, tuple[str, str]] = {
    "init": (
        "Write a commented spec and an optimizer to change, which can be run at once.",
        "probprec init my-study",
    ),
    "check": (
        "Read a spec, construct its optimizers, name every mistake, and show the runs it asks for.",
        "probprec check configs/experiments/quickstart.yaml",
    ),
    "explain": (
        "Show for one run which line of which file gave each of its values.",
        "probprec explain configs/experiments/quickstart.yaml 3fa9",
    ),
    "schema": (
        "Print the JSON Schema of a spec, with which editors complete and check it.",
        "probprec schema > spec.schema.json",
    ),
    "verify-resume": (
        "Train some runs in one go and with interruptions, and compare them bit for bit.",
        "probprec verify-resume spec.yaml --run 3fa9",
    ),
    "run": (
        "Run what has no record yet, here or on a cluster, and show it until all is over.",
        "probprec run spec.yaml --set epochs=2 --only optimizer=SGD",
    ),
    "submit": (
        "Send what has no record yet and is not under way; it goes on when you log out.",
        "probprec submit spec.yaml --on mycluster --dry-run",
    ),
    "ls": (
        "Show all sweeps below the root by their files alone: states, age and size.",
        "probprec ls --root /scratch/me/sweeps",
    ),
    "status": (
        "Show how a sweep stands, why runs wait or failed, and what to type next.",
        "probprec status quickstart --watch",
    ),
    "logs": (
        "Print the log of a run's newest attempt.",
        "probprec logs 3fa9 --follow",
    ),
    "why": (
        "Show what became of a run, attempt by attempt, with the evidence and what to do about it.",
        "probprec why 3fa9 --of quickstart",
    ),
    "retry": (
        "Submit again what failed or was lost, with more memory or time where that was lacking.",
        "probprec retry quickstart --class oom --mem x2",
    ),
    "redo": (
        "Run again what has been run, with today's code; its records are set aside and kept.",
        "probprec redo quickstart --only optimizer=SGD --dry-run",
    ),
    "cancel": (
        "Cancel a sweep's jobs, or those of some runs; nothing that is done is lost.",
        "probprec cancel quickstart 3fa9 81c0",
    ),
    "collect": (
        "Turn a sweep's records into tables, and name what is missing or differs.",
        "probprec collect quickstart --strict",
    ),
    "plot": (
        "Draw a figure of what is there so far, as PNG and PDF.",
        "probprec plot quickstart --figure final --metric test_loss",
    ),
    "doctor": (
        "Look at a cluster before anything is sent: what is there, what is missing, what to do.",
        "probprec doctor --on mycluster --node",
    ),
    "build": (
        "Build the image that runs are trained in, once per content of its recipe.",
        "probprec build configs/images/cpu-debian.yaml",
    ),
    "image": ("Look at the images that were built.", "probprec image list"),
    "image list": (
        "Show which images there are, when they were built, and with which torch.",
        "probprec image list --images /scratch/me/images",
    ),
    "image inspect": (
        "Show all that is known of an image: its recipe, packages and hashes.",
        "probprec image inspect cpu-debian --json",
    ),
    "image verify": (
        "Read images again and compare them with the hashes written down when they were built.",
        "probprec image verify cpu-debian",
    ),
    "image prune": (
        "Remove images that newer builds have replaced and no unfinished sweep uses.",
        "probprec image prune",
    ),
    "data": ("Know data sets byte for byte.", "probprec data list"),
    "data add": (
        "Write down the hash of each file of a folder or an archive, so that every node can check it.",
        "probprec data add mnist /data/mnist",
    ),
    "data list": (
        "Show the data sets that have a manifest, and where they lie.",
        "probprec data list --json",
    ),
    "data verify": (
        "Read every byte of data sets again and compare; 1 if something is not as it was.",
        "probprec data verify mnist",
    ),
    "data prune": (
        "Forget data sets whose originals are gone, and remove staged copies that nobody reads.",
        "probprec data prune --scratch /scratch/me",
    ),
    "lab": (
        "Run a Slurm of your own on this machine, to try things out.",
        "probprec lab up",
    ),
    "lab up": ("Start the lab's daemons and pretended nodes.", "probprec lab up --nodes 3"),
    "lab down": ("Stop the lab and remove all of it.", "probprec lab down"),
    "lab status": ("Show the lab's daemons and nodes.", "probprec lab status --json"),
    "lab exec": ("Run a command in the lab's Slurm.", "probprec lab exec -- squeue"),
    "lab fault": (
        "Break something in the lab, to see what a sweep makes of it.",
        "probprec lab fault drain node1",
    ),
    "completion": (
        "Print a script by which a shell completes commands, options, files and sweeps.",
        "probprec completion bash > completion.bash && source completion.bash",
    ),
}


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Folds a sentence to the screen, and keeps lines as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return super()._fill_text(text, width, indent)
        return argparse.HelpFormatter._fill_text(self, text, width, indent)  # noqa: SLF001 - its own


def describe(parser: argparse.ArgumentParser) -> None:
    """Give every command below the parser its sentence and its example."""
    for name, command in below(parser):
        if name in _COMMANDS:
            command.description, example = _COMMANDS[name]
            command.epilog = f"example:\n  {example}"
            command.formatter_class = Formatter


def below(
    parser: argparse.ArgumentParser, prefix: str = ""
) -> list[tuple[str, argparse.ArgumentParser]]:
    """Every command below the parser, by its words, those of a group of commands included."""
    found = []
    for action in parser._actions:  # noqa: SLF001 - argparse tells it nowhere else
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for name, command in action.choices.items():
                found += [(f"{prefix}{name}", command), *below(command, f"{prefix}{name} ")]
    return found
