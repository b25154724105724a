"""Text that others wrote is shown letter for letter, whatever it looks like."""

import shlex
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from cluster import cli
from cluster.terminal.plain import PlainConsole, command, plain
from jobs import spec
from tests.fake_slurm import FakeSlurm

BRACKETED = "SGD [ours] x[/y] :smile: \x1b[2J"
SHOWN = r"SGD [ours] x[/y] :smile: \x1b[2J"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("SGD [ours]", "SGD [ours]"),
        ("x[/y]", "x[/y]"),
        ("[bold red]x[/]", "[bold red]x[/]"),
        (r"\[x]", r"\[x]"),
        (":smile:", ":smile:"),
        ("two\nlines\r\t", r"two\nlines\r\t"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\u202eright to left", r"\u202eright to left"),
        ("\udcff", r"\udcff"),  # of a path that is no UTF-8
        ("größer, 優化器", "größer, 優化器"),
    ],
)
@pytest.mark.parametrize("is_in_table", [True, False])
def test_text_is_shown_as_it_is(text, shown, is_in_table):
    out = StringIO()
    console = Console(file=out, width=80, force_terminal=True)
    table = Table(box=None, show_header=False, padding=0)
    table.add_row(plain(text))
    console.print(table if is_in_table else plain(text))

    assert out.getvalue().strip() == shown


@pytest.mark.parametrize("where", ["string", "title", "heading", "cell"])
def test_a_string_is_shown_as_it_is_wherever_it_stands(where, capsys):
    """Also one that nobody made a text of."""
    table = Table(title=BRACKETED if where == "title" else None)
    table.add_column(BRACKETED if where == "heading" else "heading")
    table.add_row(BRACKETED if where == "cell" else "cell")
    PlainConsole(width=80).print(BRACKETED if where == "string" else table)

    assert SHOWN in " ".join(capsys.readouterr().out.split())


def test_a_string_keeps_its_lines(capsys):
    PlainConsole(width=80).print("#!/bin/sh\necho [ours]\n")

    assert capsys.readouterr().out == "#!/bin/sh\necho [ours]\n\n"


@pytest.mark.parametrize("folder", ["sweeps/x", "my sweeps/x", "it's", "$HOME;x", "a[b]*"])
def test_a_command_to_copy_is_read_by_a_shell_as_it_was_meant(folder):
    said = command("status", Path(folder), "--watch")

    assert shlex.split(said) == ["probprec", "status", folder, "--watch"]


SPEC = """\
problems: [digits_mlp]
optimizers:
  "SGD [ours]": {optimizer: SGD, lr: 0.1}
  "SGD [/theirs] :smile:": {optimizer: SGD, lr: 0.2}
seeds: 42
epochs: 1
"""
LABELS = ("SGD [ours]", "SGD [/theirs] :smile:")


@pytest.fixture
def bracketed(monkeypatch, tmp_path):
    """A sweep in a folder with blanks and brackets; of runs with such labels one failed, one waits."""
    fake = FakeSlurm(tmp_path / "my [red]sweeps[/]", monkeypatch, 3)
    runs = tuple(
        replace(planned, problem="digits [/x]", optimizer=LABELS[index % 2])
        for index, planned in enumerate(fake.sweep.runs)
    )
    optimizers, problems = LABELS, ("digits [/x]",)
    fake.store.save(replace(fake.sweep, runs=runs, problems=problems, optimizers=optimizers))
    fake.fail(1, "100_1", "exception", "no [bold]x[/bold] [/y] \x1b[2J")
    fake.record(0)
    fake.queue(("100_2", "PENDING", "Priority"))
    return fake


def said(capsys, *words):
    """What a command prints, as one line: tables fold what is long."""
    cli.main([str(word) for word in words])
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err
    return " ".join((captured.out + captured.err).split())


def test_every_screen_about_a_sweep_shows_what_others_wrote(bracketed, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    root, failed = bracketed.store.root, bracketed.runs[1].id
    sweep = ["--root", root.parent]

    shown = said(capsys, "status", root)
    assert all(text in shown for text in (*LABELS, "digits [/x]"))
    assert r"no [bold]x[/bold] [/y] \x1b[2J" in shown
    assert f"probprec status '{root}' --watch" in shown
    shown = said(capsys, "why", failed, "--of", root)
    assert "digits [/x] SGD [/theirs] :smile: seed 1" in shown
    assert r"failed (exception): no [bold]x[/bold] [/y] \x1b[2J" in shown
    shown = said(capsys, "retry", root)
    assert f"probprec retry '{root}' --failed" in shown
    assert LABELS[0] in said(capsys, "redo", root, "--only", "seed=0", "--dry-run")
    assert f"next: probprec status '{root}'" in said(capsys, "cancel", root)
    assert "sweep" in said(capsys, "ls", *sweep)
    assert f"no sweep below {root}" in said(capsys, "ls", "--root", root)


def test_every_screen_about_a_spec_shows_what_others_wrote(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bracketed.yaml").write_text(SPEC)
    shown = said(capsys, "check", "bracketed.yaml")

    assert all(label in shown for label in LABELS)
    run = spec.load(Path("bracketed.yaml")).runs[0].run.id
    assert LABELS[0] in said(capsys, "explain", "bracketed.yaml", run)
    root = Path("a [b] c").resolve()
    said(capsys, "submit", "bracketed.yaml", "--root", root, "--dry-run")
    assert f"no sweep below {root}" in said(capsys, "ls", "--root", root)
