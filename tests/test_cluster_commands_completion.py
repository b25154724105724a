"""Completion as a real shell does it, with the script that `completion` prints."""

import shlex
import subprocess
import sys

import pytest

from cluster import cli

TYPE = """
source <({command} completion bash)
name=$(complete -p probprec | sed 's/.* -F \\([^ ]*\\) .*/\\1/')
COMP_WORDS=(probprec "$@")
COMP_CWORD=$#
"$name"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
"""Presses TAB behind the arguments, the last of which is half typed."""


@pytest.fixture
def folder(tmp_path):
    for name in ("sweeps/quick", "sweeps/quickstart@epochs=1", "other/quiet", "plans"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("plan.yaml", "plot.yml", "plan.txt", "mine.yaml"):
        (tmp_path / name).touch()
    return tmp_path


def completed(folder, *words, **environment):
    """What bash offers for the last word."""
    typed = TYPE.format(command=shlex.join([sys.executable, "-m", "cluster.cli"]))
    done = subprocess.run(
        ["bash", "-c", typed, "bash", *words],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return set(filter(None, done.stdout.split("\n")))


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["st"], {"status"}),
        (["image", "in"], {"inspect"}),
        (["retry", "quick", "--cl"], {"--class"}),
        (["plot", "quick", "--figure", "s"], {"seeds", "sensitivity"}),
        (["check", "pl"], {"plan.yaml", "plot.yml", "plans"}),
        (["submit", "plan.yaml", "--on", "m"], {"mine.yaml"}),
        (["build", "plan"], {"plan.yaml", "plan.txt", "plans"}),
        (["collect", "quick", "--out", "pl"], {"plans"}),
        (["status", "qu"], {"quick", "quickstart@epochs=1"}),
        (["why", "3fa9", "--of", "sweeps/quick"], {"sweeps/quick", "sweeps/quickstart@epochs=1"}),
        (["status", "plan"], set()),
    ],
)
def test_what_is_half_typed_is_completed(folder, words, offered):
    assert completed(folder, *words) == offered


def test_sweeps_are_those_below_the_root(folder):
    assert completed(folder, "status", "qu", PROBPREC_ROOT="other") == {"quiet"}
    assert completed(folder, "status", "qu", PROBPREC_ROOT="none") == set()


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_each_shell_has_a_script(capsys, shell):
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "verify-resume" in script
    assert "exclude-bad-nodes" in script
