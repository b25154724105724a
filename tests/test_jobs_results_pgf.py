"""Figures for LaTeX: set by a real LaTeX, whatever the labels are."""

import subprocess

import pytest

from jobs.results import figures, ledger
from jobs.results.style import FigureError
from tests.make_sweep import make_sweep

HOSTILE = r"\input{/etc/passwd} $x$ 50% a_b #1 {~^&}"
DOCUMENT = r"""
\documentclass{article}
\usepackage{pgf}
\begin{document}
\input{%s.pgf}
\end{document}
"""


def collection_of(folder, label):
    optimizers = {"SGD": [{}], label: [{}]}
    return ledger.collect(
        make_sweep(folder / "sweep", problems=["fmnist_2c2d"], optimizers=optimizers)
    )


@pytest.mark.parametrize("name", ["grid", "compare", "final"])
def test_labels_are_no_commands_to_latex(tmp_path, name):
    collection = collection_of(tmp_path, HOSTILE)
    out = tmp_path / "out"
    figures.save(out, collection, name, for_latex=True)

    pgf = (out / f"{name}.pgf").read_text()
    assert r"\textbackslash{}input\{/etc/passwd\}" in pgf
    assert r"\input{/etc" not in pgf
    (out / "paper.tex").write_text(DOCUMENT % name)
    subprocess.run(["pdflatex", "-halt-on-error", "paper.tex"], cwd=out, check=True, timeout=120)


def test_what_latex_draws_changes_no_other_file(tmp_path):
    collection = collection_of(tmp_path, HOSTILE)
    figures.save(tmp_path / "plain", collection, "final")
    figures.save(tmp_path / "latex", collection, "final", for_latex=True)
    figures.save(tmp_path / "again", collection, "final", for_latex=True)

    for file in (tmp_path / "latex").iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()
        if file.suffix != ".pgf":
            assert file.read_bytes() == (tmp_path / "plain" / file.name).read_bytes()


def test_without_latex_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FigureError, match=r"^--latex needs pdflatex: install "):
        figures.save(tmp_path / "out", collection_of(tmp_path, "Adam"), "final", for_latex=True)
    assert not (tmp_path / "out").exists()


def test_letters_that_latex_lacks_are_named(tmp_path):
    with pytest.raises(FigureError, match=r"cannot set a text of this figure \(.*U\+65B0"):
        figures.save(tmp_path / "out", collection_of(tmp_path, "新"), "final", for_latex=True)
    assert not (tmp_path / "out").exists()
