"""A figure in PGF is drawn by LaTeX itself, with its text in the document's own font."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import BytesIO

from matplotlib import rc_context
from matplotlib.axis import Axis
from matplotlib.backends.backend_pgf import LatexError
from matplotlib.cbook import is_math_text
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import Formatter

from jobs.results.latex import escape
from jobs.results.style import FigureError

_COMMAND = "pdflatex"  # measures the texts
_PACKAGES = "Debian's packages texlive-latex-base and texlive-pictures"


def render(figure: Figure) -> bytes:
    r"""Draw a page as PGF, for `\input` after `\usepackage{pgf}`; the same page gives the same bytes.

    Raises:
        FigureError: there is no LaTeX here, or it cannot set a text.
    """
    if shutil.which(_COMMAND) is None:
        raise FigureError(f"--latex needs {_COMMAND}: install {_PACKAGES}, or a TeX Live")
    buffer = BytesIO()
    with rc_context({"pgf.texsystem": _COMMAND, "pgf.rcfonts": False}), _escaped(figure):
        try:
            figure.savefig(buffer, format="pgf")
        except (LatexError, RuntimeError, ValueError) as error:
            raise FigureError(_why(error)) from error
    return buffer.getvalue()


def _why(error: Exception) -> str:
    """What LaTeX says in its own words, which begin with `!`."""
    lines = str(error).splitlines()
    said = next((line for line in lines if line.startswith("!")), lines[0] if lines else "")
    return f"--latex: {_COMMAND} cannot set a text of this figure ({said}); it needs {_PACKAGES}"


@contextmanager
def _escaped(figure: Figure) -> Iterator[None]:
    """Escape what LaTeX would take for a command in all texts, as long as it draws."""
    with ExitStack() as later:
        texts = [one for one in figure.findobj() if isinstance(one, Text)]
        for text in texts:
            later.callback(text.set_text, text.get_text())
            text.set_text(_literal(text.get_text()))
        for axes in figure.axes:
            for axis in (axes.xaxis, axes.yaxis):
                _escape_ticks(axis, later)
        yield


def _escape_ticks(axis: Axis, later: ExitStack) -> None:
    changes: Sequence[tuple[Callable[[Formatter], None], Formatter]] = (
        (axis.set_major_formatter, axis.get_major_formatter()),
        (axis.set_minor_formatter, axis.get_minor_formatter()),
    )
    for change, inner in changes:
        later.callback(change, inner)
        change(_EscapedFormatter(inner))


class _EscapedFormatter(Formatter):
    """A formatter gives the texts of another one, escaped."""

    def __init__(self, inner: Formatter) -> None:
        self._inner = inner

    def __call__(self, x: float, pos: int | None = None) -> str:
        """The text of one tick."""
        return _literal(self._inner(x, pos))

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """The texts of all ticks."""
        return [_literal(text) for text in self._inner.format_ticks(list(values))]

    def get_offset(self) -> str:
        """What all ticks have in common."""
        return _literal(self._inner.get_offset())


def _literal(text: str) -> str:
    """Formulas are ours alone (`style.plain`); all else is text."""
    return text if is_math_text(text) else escape(text.replace(r"\$", "$"))
