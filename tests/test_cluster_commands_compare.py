"""The command `compare`: a table, a sentence per comparison, exit codes, JSON and LaTeX."""

import json

import pytest

from cluster.cli import main
from jobs.store.store import Store
from tests.make_sweep import make_sweep


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return make_sweep(
        tmp_path_factory.mktemp("compare") / "sweep",
        problems=["digits_mlp", "quadratic_deep"],
        optimizers={name: [{"lr": 0.1}] for name in ("SGD", "Adam", "PreconditionedSGD")},
        seeds=range(9),
        epochs=3,
    )


def asked(store: Store, capsys, *words: str) -> tuple[int, str]:
    code = main(["compare", str(store.root), *words])
    return code, capsys.readouterr().out


@pytest.mark.parametrize("width", [80, 130])
def test_a_table_and_a_sentence_per_comparison_fit_the_terminal(store, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    code, out = asked(store, capsys)

    assert code == 0
    assert max(map(len, out.splitlines())) <= width
    assert "digits_mlp: final test accuracy less that of SGD" in out
    assert "quadratic_deep: final test loss less that of SGD" in out
    text = " ".join(out.split())
    assert text.count("by Holm over 4 comparisons declared") == 4
    assert "SGD is better than PreconditionedSGD on digits_mlp" in text


def test_the_exit_code_is_0_if_all_is_shown(store, capsys):
    words = ("--optimizer", "PreconditionedSGD", "--problem", "digits_mlp")

    assert asked(store, capsys, *words)[0] == 0
    assert asked(store, capsys, *words, "--strict")[0] == 0
    assert asked(store, capsys, *words, "--claim", "equivalent", "--margin", "0.01")[0] == 1


def test_a_wrong_question_is_an_error_and_nothing_is_printed(store, capsys):
    assert main(["compare", str(store.root), "--claim", "equivalent"]) == 2
    said = capsys.readouterr()

    assert said.out == ""
    assert "--claim equivalent needs --margin X" in said.err


def test_json_has_the_numbers_and_the_runs(store, capsys):
    code, out = asked(store, capsys, "--json", "--optimizer", "PreconditionedSGD")
    content = json.loads(out)

    assert code == 0
    assert [one["problem"] for one in content["comparisons"]] == ["digits_mlp", "quadratic_deep"]
    first = content["comparisons"][0]
    assert (first["n"], first["shown"], first["better"]) == ([9, 9], "superior", "SGD")
    assert first["difference"] < first["interval"][1] < 0
    assert first["p"] == first["p_smallest"] == 2 / 2**9
    assert first["p_adjusted"] == 2 * first["p"]
    assert {run for arm in first["runs"] for run in arm} <= {
        planned.run.id for planned in store.sweep().runs
    }
    assert first["sentence"].startswith("SGD is better than PreconditionedSGD on digits_mlp")
    assert content["question"]["claim"] == "superior"


def test_latex_is_a_table_and_nothing_else(store, capsys):
    _, out = asked(store, capsys, "--latex")

    assert out.startswith("\\begin{table}\n")
    assert out.endswith("\\end{table}\n")
    assert out.count("digits\\_mlp") == 1


def test_one_seed_has_no_difference_and_is_not_said_to_have_diverged(tmp_path, capsys):
    one = make_sweep(tmp_path / "one", problems=["digits_mlp"], seeds=[1], epochs=1)

    for words in ((), ("--latex",)):
        out = asked(one, capsys, *words)[1]
        assert "only one run" in out
        assert "a run diverged" not in out


def test_two_sweeps_are_compared_as_one_study(tmp_path, capsys):
    """The baseline is in a sweep of its own, e.g. of somebody else, which is not written to."""
    for name in ("SGD", "PreconditionedSGD"):
        make_sweep(
            tmp_path / f"of-{name}",
            problems=["digits_mlp"],
            optimizers={name: [{"lr": 0.1}]},
            seeds=range(9),
            epochs=3,
        )
    before = sorted(tmp_path.rglob("*"))
    sweeps = [str(path) for path in sorted(tmp_path.iterdir())]

    assert main(["compare", *sweeps]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "SGD is better than PreconditionedSGD on digits_mlp" in text
    assert "9 pairs of seeds 0..8" in text
    assert sorted(tmp_path.rglob("*")) == before
