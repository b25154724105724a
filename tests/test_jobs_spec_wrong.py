"""Wrong specs: the message and the position of every mistake, and all of them at once."""

import re
from pathlib import Path

import pytest

from jobs.spec import SpecError, load

GOOD = "problems: [digits_mlp]\noptimizers: [SGD]\nseeds: 42\n"


def cases(name: str) -> list[object]:
    """The blocks of a file of wrong specs: what was written, and the mistakes it should report."""
    text = (Path(__file__).parent / "specs" / name).read_text()
    found: list[object] = []
    for block in text.split("\n\n")[1:]:
        lines = block.strip("\n").split("\n")
        written = [line[2:] for line in lines if line.startswith(">")]
        expected = [line for line in lines if not line.startswith(">")]
        found.append(pytest.param("\n".join(written), expected, id=" | ".join(written)[:70]))
    return found


@pytest.mark.parametrize(("line", "expected"), cases("wrong_top.txt"))
def test_a_wrong_line(tmp_path: Path, line: str, expected: list[str]) -> None:
    check(tmp_path, f"{GOOD}{line}\n", expected)


@pytest.mark.parametrize(("settings", "expected"), cases("wrong_settings.txt"))
def test_wrong_settings(tmp_path: Path, settings: str, expected: list[str]) -> None:
    spec = f"problems: [digits_mlp]\nseeds: 42\noptimizers:\n  SGD: {{{settings}}}\n"

    check(tmp_path, spec, expected)


@pytest.mark.parametrize(("text", "expected"), cases("wrong_files.txt"))
def test_a_wrong_file(tmp_path: Path, text: str, expected: list[str]) -> None:
    check(tmp_path, f"{text}\n" if text else "", expected)


def check(folder: Path, spec: str, expected: list[str]) -> None:
    path = folder / "x.yaml"
    path.write_text(spec)

    with pytest.raises(SpecError) as caught:
        load(path)

    said = [str(mistake).removeprefix(f"{path}:") for mistake in caught.value.mistakes]
    wanted = [line.replace("{folder}", str(folder)) for line in expected]
    assert len(said) == len(wanted), said
    for found, beginning in zip(said, wanted, strict=True):
        rest = found.removeprefix(beginning)
        assert rest == "" or re.match(r" \((known|it takes)", rest), f"{found}\n{beginning}"


MANY = """\
name: my sweep
problems: [fmnist_2c2d, cifar_3c3d]
seeds: 42-51
epochs: '5'
optimizers:
  SGD: {lr: [0.1, 0.01], momentun: 0.9}
  Adam: {lr: {vales: [1e-3]}}
  Lion: {lr: 1e-4}
exclude:
  - {optimizer: SDG}
batchsize: 128
"""

MANY_EXPECTED = [
    (
        "1:7: name: expected a folder's name: up to 100 letters, digits, '.', '_' and '-', "
        "found the text 'my sweep'"
    ),
    "2:25: problems.cifar_3c3d: no problem 'cifar_3c3d'; did you mean 'cifar10_3c3d'?",
    ("3:8: seeds: expected seeds like 42 or 42..51, found '42-51'; a range is written 42..51"),
    (
        "4:9: epochs: expected a whole number of at least 1, or an axis like "
        "{values: [5, 10]}, found the text '5'; write it without quotes"
    ),
    (
        "6:13: optimizers.SGD.lr: expected a number (default 0.001), found [0.1, 0.01]; "
        "to run each of them write {values: [0.1, 0.01]}"
    ),
    ("6:26: optimizers.SGD.momentun: unknown hyperparameter 'momentun'; did you mean 'momentum'?"),
    "7:15: optimizers.Adam.lr.vales: unknown key 'vales'; did you mean 'values'?",
    "8:3: optimizers.Lion: no optimizer 'Lion'",
    "10:17: exclude[0].optimizer: no optimizer is called 'SDG'; did you mean 'SGD'?",
    "11:1: batchsize: unknown key 'batchsize'; did you mean 'batch_size'?",
]


def test_all_mistakes_of_a_file_are_reported_at_once(tmp_path: Path) -> None:
    check(tmp_path, MANY, MANY_EXPECTED)


def test_mistakes_of_extended_files_are_reported_where_they_are(tmp_path: Path) -> None:
    """Of two broken files, both are named; of a merged tree, each value keeps its own file."""
    (tmp_path / "base.yaml").write_text("seeds: 42-51\nproblems: [digits_mlp]\n")
    (tmp_path / "torn.yaml").write_text("seeds: [1\n")
    (tmp_path / "tab.yaml").write_text("\tseeds: 1\n")
    child = tmp_path / "child.yaml"

    child.write_text("extends: base.yaml\noptimizers: [sgd]\n")
    with pytest.raises(SpecError) as caught:
        load(child)
    found = [(Path(one.file).name, one.line, one.path) for one in caught.value.mistakes]
    assert found == [("child.yaml", 2, "optimizers.sgd"), ("base.yaml", 1, "seeds")]

    child.write_text("extends: [torn.yaml, tab.yaml]\n")
    with pytest.raises(SpecError) as caught:
        load(child)
    assert [Path(one.file).name for one in caught.value.mistakes] == ["torn.yaml", "tab.yaml"]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("epoch=1", "--set epoch: epoch: unknown key 'epoch'; did you mean 'epochs'?"),
        ("epochs", "--set epochs: found 'epochs', expected key=value or key.path=value"),
        ("=3", "--set =3: found '=3', expected key=value or key.path=value"),
        ("a..b=3", "--set a..b: found 'a..b=3', expected key=value or key.path=value"),
        ("seeds=1-3", "--set seeds: seeds: expected seeds like 42 or 42..51, found '1-3'"),
        ("seeds=[1", "--set seeds: expected ',' or ']'; the list opened in line 1"),
        ("epochs=", "--set epochs: epochs: expected a whole number of at least 1"),
        ("seeds.0=3", "--set seeds.0: seeds: expected a whole number, a range like 42..51"),
        ("optimizers.0.lr=3", "--set optimizers.0.lr: optimizers.0: no optimizer '0'"),
        ("exclude.0.seed=3", "--set exclude.0.seed: cannot set a part of a list"),
        (".".join("a" * 100) + "=3", "--set a.a."),
    ],
)
def test_wrong_overrides(tmp_path: Path, override: str, expected: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"{GOOD}exclude: [{{problem: digits_mlp}}]\n")

    with pytest.raises(SpecError) as caught:
        load(path, [override])

    assert str(caught.value).startswith(expected)
    assert caught.value.mistakes[0].line == 0


def test_all_wrong_overrides_are_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(GOOD)

    with pytest.raises(SpecError) as caught:
        load(path, ["epochs", "seeds=[1", "=1"])

    assert len(caught.value.mistakes) == 3


def test_a_missing_file_and_a_folder_are_mistakes(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "no.yaml", "no such file"), (tmp_path, "cannot be read")):
        with pytest.raises(SpecError, match=reason):
            load(path)


def test_the_name_comes_from_a_file_that_can_name_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "my sweep.yaml"
    path.write_text(GOOD)

    with pytest.raises(SpecError, match=r"'my sweep' cannot be a folder's name; add `name: "):
        load(path)
    assert load(path, ["name=mine"]).name == "mine"


def test_too_many_runs_are_refused_before_they_are_made(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(
        "problems: [digits_mlp]\nseeds: 0..9999\noptimizers:\n"
        "  SGD: {lr: {log_grid: [1e-5, 1, 9999]}, momentum: {grid: [0.1, 0.9, 9999]}}\n"
    )

    with pytest.raises(SpecError, match="999,800,010,000 runs"):
        load(path)
