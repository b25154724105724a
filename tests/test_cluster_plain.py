"""Text that others wrote is shown letter for letter, whatever it looks like."""

from io import StringIO

import pytest
from rich.console import Console
from rich.table import Table

from cluster.plain import plain


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
