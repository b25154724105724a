"""What the command says of itself: `--help` of every command, the version, and nothing typed."""

import argparse
import shlex
from importlib import metadata

import pytest

from cluster import cli
from cluster.cli.parser import parser


def commands_below(found: argparse.ArgumentParser, words=()):
    """Every command with its words, also `image`, `data` and `lab` themselves."""
    for one in found._actions:
        if isinstance(one, argparse._SubParsersAction):
            for name, inner in one.choices.items():
                yield (*words, name), inner
                yield from commands_below(inner, (*words, name))


@pytest.mark.parametrize("words", [words for words, _ in commands_below(parser())], ids="-".join)
def test_every_help_has_a_sentence_and_an_example_that_works(words):
    command = dict(commands_below(parser()))[words]
    sentence, example = command.description, command.epilog.splitlines()
    typed = shlex.split(example[1].partition(" > ")[0])

    assert sentence.endswith(".")
    assert sentence[0].isupper()
    assert example[0] == "example:"
    assert tuple(typed[: len(words) + 1]) == ("probprec", *words)
    assert parser().parse_args(typed[1:]).command == words[0]
    assert all(line in command.format_help() for line in example)


@pytest.mark.parametrize("words", [(), ("image",), ("data",), ("lab",), ("lab", "--folder", "x")])
def test_without_a_command_there_is_the_help(words, capsys):
    """On stdout, and exit code 2: nothing was done."""
    with pytest.raises(SystemExit) as left:
        cli.main(list(words))
    captured = capsys.readouterr()

    assert left.value.code == 2
    assert captured.out.startswith(f"usage: {' '.join(['probprec', *words[:1]])} [-h]")
    assert captured.err == ""


def test_the_version(capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(["--version"])

    assert left.value.code == 0
    assert capsys.readouterr().out == f"probprec {metadata.version('probprec')}\n"
