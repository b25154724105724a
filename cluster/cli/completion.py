"""The command `completion`."""

import argparse

DESCRIPTION = "Print a script by which a shell completes commands, options, files and sweeps."
EXAMPLE = "probprec completion bash > completion.bash && source completion.bash"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the shell."""
    command.add_argument(
        "shell", metavar="SHELL", choices=("bash", "zsh", "tcsh"), help="bash, zsh or tcsh"
    )


def run(options: argparse.Namespace) -> int:
    """Print the shell's script, for all commands."""
    from cluster.cli.parser import parser
    from cluster.commands.completion import completion

    return completion(parser(), options.shell)
