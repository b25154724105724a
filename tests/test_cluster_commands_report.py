"""The command `report`: one file, where it is asked for, whatever there is to say."""

import json
import re
from pathlib import Path

import pytest

from cluster.cli import main
from jobs.store.store import Store
from tests.helpers import note
from tests.make_sweep import make_sweep


def sweep(folder: Path, *optimizers: str, **more) -> Store:
    settings = {name: [{"lr": 0.1}] for name in optimizers or ("SGD", "PreconditionedSGD")}
    return make_sweep(
        folder,
        problems=["digits_mlp"],
        optimizers=settings,
        **{"seeds": range(9), "epochs": 3} | more,
    )


def text_of(file: Path) -> str:
    """What the page says, without the libraries in it."""
    page = file.read_text()
    return re.sub(r"<(style|script type=.module.)>.*?</(style|script)>", "", page, flags=re.DOTALL)


def test_a_sweeps_report_lies_in_its_folder_and_is_no_stranger_there(tmp_path, capsys):
    store = sweep(tmp_path / "small")

    assert main(["report", str(store.root)]) == 0
    assert capsys.readouterr().out == f"{store.root / 'report.html'}\n"
    assert "<strong>SGD is better than PreconditionedSGD on digits_mlp</strong>" in text_of(
        store.root / "report.html"
    )
    assert main(["collect", str(store.root), "--strict"]) == 0


@pytest.mark.xdist_group("chromium")
def test_the_page_of_a_real_sweep_opens_in_silence(tmp_path, opened):
    """With every chart, of a grid and of diverged runs: nothing in the console, no request."""
    store = make_sweep(
        tmp_path / "grid",
        problems=["digits_mlp", "quadratic_deep"],
        optimizers={name: [{"lr": 0.1 / n} for n in (1, 3, 10, 30)] for name in ("SGD", "Adam")},
        epochs=4,
        diverges=lambda one: 2 if one.run.hyperparameters["lr"] == 0.1 else None,
    )
    assert main(["report", str(store.root)]) == 0
    opening = opened(store.report_file, width=390)
    opening.wait_for_selector("body[data-charts]", state="attached")

    kinds = {one.get_attribute("id") for one in opening.locator("figure").all()}
    assert {f"chart-{kind}-1" for kind in ("compare", "curves", "sensitivity")} <= kinds
    assert opening.locator("figure svg").count() >= len(kinds)
    assert opening.evaluate("document.documentElement.scrollWidth") == 390


def test_json_names_the_file_and_the_findings(tmp_path, capsys):
    store = sweep(tmp_path / "small", is_recorded=lambda one: one.run.seed > 0)
    file = tmp_path / "new" / "here.html"

    assert main(["report", str(store.root), "-o", str(file), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["schema"], content["file"], content["runs"]) == (1, str(file), 16)
    assert {one["code"] for one in content["findings"]} == {"incomplete"}
    assert file.exists()
    assert not (store.root / "report.html").exists()


def test_the_same_records_make_the_same_file(tmp_path):
    store = sweep(tmp_path / "small")
    file = store.root / "report.html"
    pages = []
    for _ in range(2):
        main(["report", str(store.root)])
        pages.append(file.read_bytes())

    assert pages[0] == pages[1]


def test_a_folder_is_no_file_for_a_report(tmp_path, capsys):
    store = sweep(tmp_path / "small", seeds=[1])

    assert main(["report", str(store.root), "-o", str(tmp_path)]) == 2
    assert f"{tmp_path} is a folder: -o FILE names a file" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_a_sweeps_own_file_is_not_replaced_by_its_report(tmp_path, capsys):
    store = sweep(tmp_path / "small", seeds=[1])
    before = store.sweep_file.read_bytes()

    assert main(["report", str(store.root), "-o", str(store.sweep_file)]) == 2
    assert "-o FILE names a file that ends in .html" in capsys.readouterr().err
    assert store.sweep_file.read_bytes() == before


def test_the_notices_of_licences_go_with_what_they_cover(tmp_path):
    store = sweep(tmp_path / "small", seeds=[1, 2])
    assert main(["report", str(store.root)]) == 0
    page = store.report_file.read_text()
    assert "University of Washington Interactive Data Lab" in page
    assert "Copyright (c) SpryMedia Ltd" in page


def test_several_sweeps_need_a_file_and_are_one_study(tmp_path, capsys):
    sweeps = [str(sweep(tmp_path / name, name).root) for name in ("SGD", "PreconditionedSGD")]
    file = tmp_path / "report.html"

    assert main(["report", *sweeps]) == 2
    assert "several sweeps have no folder in common" in capsys.readouterr().err
    assert main(["report", *sweeps, "-o", str(file)]) == 0
    assert "9 pairs of seeds 0..8" in text_of(file)


@pytest.mark.parametrize("mode", ["final", "best"])
def test_the_whole_page_is_of_the_settings_that_were_asked_for(tmp_path, mode):
    """Its methods and its checklist name the rule that its verdicts stand on."""
    grid = make_sweep(
        tmp_path / "grid",
        problems=["digits_mlp"],
        optimizers={name: [{"lr": lr} for lr in (0.03, 0.1, 0.3)] for name in ("SGD", "Adam")},
    )
    main(["report", str(grid.root), "--select", mode])
    told = text_of(grid.report_file)
    rules = re.findall(r"selected by the mean (\w+) valid|by (\w+) valid accuracy on", told)

    assert f"selected by their {mode} validation metric" in told
    assert {rule for pair in rules for rule in pair if rule} == {mode}


def test_what_cannot_be_compared_is_shown_and_the_page_says_so(tmp_path):
    store = sweep(tmp_path / "alone", "SGD")

    assert main(["report", str(store.root)]) == 0
    assert "Nothing to compare: no problem has the baseline SGD and another" in text_of(
        store.report_file
    )


def test_before_there_is_a_record_on_evaluation_seeds_the_page_says_so(tmp_path):
    store = sweep(
        tmp_path / "tuned", tuned={"SGD": [1, 2]}, is_recorded=lambda one: one.role == "tuning"
    )

    assert main(["report", str(store.root)]) == 0
    assert "are not compared on digits_mlp" in text_of(store.report_file)


def test_without_any_record_there_is_no_report(tmp_path, capsys):
    store = sweep(tmp_path / "empty", is_recorded=lambda _: False)

    assert main(["report", str(store.root)]) == 2
    assert "sweep 'empty' has no records yet: nothing to report" in capsys.readouterr().err
    assert not store.report_file.exists()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--baseline", "Nesterov"], "no optimizer Nesterov"),
        (["--claim", "equivalent"], "--claim equivalent needs --margin X"),
    ],
)
def test_a_wrong_question_writes_nothing(tmp_path, capsys, words, error):
    store = sweep(tmp_path / "small")

    assert main(["report", str(store.root), *words]) == 2
    assert error in capsys.readouterr().err
    assert not store.report_file.exists()


def test_the_page_has_the_commands_the_records_the_spec_and_the_end_of_a_log(tmp_path):
    store = sweep(tmp_path / "a b", is_recorded=lambda one: one.run.seed > 0)
    failed = store.sweep().runs[0].run
    attempt = store.run(failed.id).claim()
    attempt.log_file.write_text("it began\nCUDA out of <b>memory</b>\n")
    note(store.run(failed.id), "claimed", fence=1, host="here", pid=1, element=None)
    note(store.run(failed.id), "ended", fence=1, failure="oom", message="no memory")
    attempt.release()
    main(["report", str(store.root), "-o", str(tmp_path / "report.html")])
    page = (tmp_path / "report.html").read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])
    origin = data["origins"]["a b"]

    assert origin["record"] == ["a%20b/runs/", "/record.json"]
    assert origin["why"] == ["probprec why ", f" --of '{store.root}'"]
    assert origin["redo"] == [f"probprec redo '{store.root}' --only run=", ""]
    assert origin["send"][0].startswith("probprec submit ")
    assert origin["send"][0].endswith(" --only run=")
    columns = {one["name"]: one for one in data["runs"]["columns"]}
    assert "it began\nCUDA out of <b>memory</b>" in columns["log"]["of"]
    assert "<b>memory" not in page


def test_a_folder_of_any_name_has_the_commands_and_the_records(tmp_path):
    store = sweep(tmp_path / f"{'0' * 12}\udcff" / "small", seeds=[1, 2])

    assert main(["report", str(store.root), "-o", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text()
    origin = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])["origins"]["small"]
    assert origin["record"] == [f"{'0' * 12}%FF/small/runs/", "/record.json"]
    assert origin["why"][0] == "probprec why "
    assert origin["redo"][1] == origin["send"][1] == ""
