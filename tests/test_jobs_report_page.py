"""The page of a report in Chromium: links, tables, details, paper, narrow screens, foreign text, many runs."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from jobs.report import page
from jobs.report.charts import charts
from jobs.report.content import Chart, Check, Level, Methods
from jobs.report.report import Origin, Report, RunText
from jobs.results import ledger
from jobs.results.cells import group
from jobs.results.comparisons import answers
from jobs.results.ledger import Collection, Ledger
from jobs.results.question import Question
from jobs.results.reading import Result
from jobs.results.selection import select
from jobs.store.record import PHASES
from jobs.store.store import Store
from jobs.sweep import Sweep
from tests.helpers import wait_for
from tests.make_sweep import make_sweep, plan

pytestmark = pytest.mark.xdist_group("chromium")  # one browser serves them all

SCRIPT = "<script>alert(1)</script>&<img src='data:,' onerror='alert(3)'>"
TRAP = "</script><!--<script>alert(2)//"
RUN = "0" * 12


def report_of(results, **parts) -> Report:
    """A report of a sweep, with parts of our own."""
    first = results.outcomes[0].planned.run.id
    checks = (
        Check(question="Complete?", level=Level.GOOD, answer="all of them"),
        Check(question=SCRIPT, level=Level.BAD, answer=TRAP, runs=(first,)),
    )
    origin = Origin(
        sweep=results.name,
        record=RunText.around(f"runs/{RUN}/record.json", RUN),
        why=RunText.around(f"probprec why {RUN} --of x", RUN),
        send=RunText.around(f"probprec submit x.yaml --only run={RUN}", RUN),
        redo=RunText.around(f"probprec redo x --only run={RUN}", RUN),
        sources={"x.yaml": f"name: {TRAP}\n"},
    )
    methods = Methods(
        paragraphs=(f"As {TRAP} says.",), references=(SCRIPT,), versions={"numpy": "2"}
    )
    every = {
        "results": results,
        "question": Question(),
        "mode": "final",
        "answers": answers(results.selections, Question(), results.on_files),
        "why_not_compared": None,
        "origins": [origin],
        "logs": {},
        "checks": checks,
        "charts": (chart("compare", first), chart("curves", first)),
        "methods": methods,
    }
    return Report(**every | parts)


def chart(name: str, run: str) -> Chart:
    """A chart of one bar that leads to a run, as tall and wide as its field."""
    values = [{"who": TRAP, "x": 1, "href": f"#run-{run}"}]
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": "container",
        "height": 80,
        "data": {"values": values},
        "transform": [{"calculate": "datum.x * 2", "as": "double"}],
        "mark": {"type": "bar", "tooltip": True},
        "encoding": {
            "x": {"field": "double", "type": "quantitative"},
            "y": {"field": "who", "type": "nominal"},
            "href": {"field": "href"},
        },
    }
    return Chart(name=name, title=SCRIPT, caption=TRAP, spec=spec)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A sweep of two optimizers and a problem, and its page: of one optimizer the label is a trap."""
    folder = tmp_path_factory.mktemp("report")
    store = make_sweep(
        folder / "small",
        problems=["digits_mlp"],
        optimizers={"SGD": [{"lr": 0.1}], SCRIPT: [{"lr": 0.1}, {"lr": 0.01}]},
        seeds=range(6),
        epochs=3,
        diverges=lambda one: 2 if one.run.seed == 5 else None,
        is_recorded=lambda one: one.optimizer == "SGD" or one.run.seed > 0,
    )
    (folder / "report.html").write_bytes(page.render(report_of(ledger.collect(store))))
    return folder / "report.html"


def rows(table) -> list[list[str]]:
    """What a table of the page shows, row by row."""
    return [row.locator("td").all_inner_texts() for row in table.locator("tbody tr").all()]


def column(found, name: str) -> list[str]:
    heads = [text.strip() for text in found.locator("thead th").all_inner_texts()]
    return [row[heads.index(name)] for row in rows(found)]


def test_a_click_on_a_heading_sorts_and_so_does_the_keyboard(opened, small):
    found = opened(small).locator("#runs-table")
    head = found.locator("thead th", has_text="seed")
    head.click()
    wait_for(lambda: head.get_attribute("aria-sort") == "ascending")
    assert column(found, "seed") == sorted(column(found, "seed"))

    head.locator("[tabindex='0']").or_(head.and_(found.locator("[tabindex='0']"))).first.focus()
    found.page.keyboard.press("Enter")
    wait_for(lambda: head.get_attribute("aria-sort") == "descending")
    assert column(found, "seed") == sorted(column(found, "seed"), reverse=True)


def test_a_search_and_a_filter_leave_what_was_asked_for(opened, small):
    opening = opened(small)
    found = opening.locator("#runs-table")
    run = column(found, "run")[7]
    opening.locator("#runs-grid input[type=search]").fill(run)
    wait_for(lambda: column(found, "run") == [run])

    opening.locator("#runs-grid input[type=search]").fill("")
    opening.get_by_role("group", name="Filter the runs").get_by_label("outcome").select_option(
        label="missing"
    )
    wait_for(lambda: column(found, "outcome") == ["missing"] * 2)


def test_a_number_leads_to_its_runs_and_a_run_to_its_details(opened, small):
    opening = opened(small)
    cell = opening.locator("#cells-table tbody tr", has_text="SGD").first
    cell.locator("a").click()
    runs = opening.locator("#runs-table")
    wait_for(lambda: column(runs, "optimizer") == ["SGD"] * 6)
    assert "Only these 6 runs: digits_mlp SGD" in opening.locator("#group").inner_text()

    diverged = runs.locator("tbody tr", has_text="diverged").locator("a.run")
    run = diverged.inner_text()
    diverged.focus()
    opening.keyboard.press("Enter")
    dialog = opening.get_by_role("dialog")
    told = dialog.inner_text()
    assert f"run {run}" in told
    assert f"probprec why {run} --of x" in told
    assert f"probprec redo x --only run={run}" in told
    assert "nonfinite_loss" in told
    assert "0123456789ab" in told  # its code
    assert dialog.get_by_role("link").get_attribute("href") == f"runs/{run}/record.json"
    assert opening.url.endswith(f"#run-{run}")

    opening.keyboard.press("Escape")
    wait_for(lambda: not dialog.is_visible())
    opening.get_by_role("link", name="Show all").click()
    wait_for(lambda: len(rows(runs)) == 18)


def test_a_check_and_a_comparison_lead_to_their_runs(opened, small):
    opening = opened(small)
    opening.locator("#checklist a.leads").click()
    wait_for(lambda: len(rows(opening.locator("#runs-table"))) == 1)

    opening.locator("#comparison td a").first.click()
    wait_for(lambda: len(rows(opening.locator("#runs-table"))) > 1)


def test_an_address_opens_a_run_and_a_run_without_a_record_says_what_it_lacks(opened, small):
    data = json.loads(re.search(r'id="data">(.*?)</script>', small.read_text())[1])
    columns = {one["name"]: one for one in data["runs"]["columns"]}
    state = columns["state"]
    row = next(r for r, at in enumerate(state["at"]) if state["of"][at] == "pending")
    run = columns["run"]["all"][row]
    told = opened(small, f"#run-{run}").get_by_role("dialog").inner_text()

    assert f"run {run}" in told
    assert "pending: no attempt yet" in told
    assert f"probprec submit x.yaml --only run={run}" in told
    assert "record.json" not in told


def test_a_mark_of_a_chart_leads_to_its_run(opened, small):
    opening = opened(small)
    opening.wait_for_selector("body[data-charts]", state="attached")
    opening.locator("#chart-curves path[aria-roledescription=bar]").click()

    wait_for(opening.get_by_role("dialog").is_visible)


def test_the_wheel_scrolls_the_page_and_zooms_only_with_a_key(opened, tmp_path):
    store = make_sweep(tmp_path / "sweep", problems=["digits_mlp"], seeds=range(2), epochs=3)
    own = ledger.collect(store)
    drawn = [one for one in charts(own, ()) if one.name == "curves-1"]
    (tmp_path / "report.html").write_bytes(page.render(report_of(own, charts=drawn)))
    opening = opened(tmp_path / "report.html")
    opening.wait_for_selector("body[data-charts]", state="attached")
    place = opening.locator("#chart-curves-1 .chart")
    place.scroll_into_view_if_needed()
    place.hover(position={"x": 200, "y": 100})

    def shown() -> list[str]:
        return sorted(place.inner_text().split("\n"))

    ticks, top = shown(), opening.evaluate("scrollY")

    opening.mouse.wheel(0, 100)
    wait_for(lambda: opening.evaluate("scrollY") > top)
    assert shown() == ticks

    place.hover(position={"x": 200, "y": 100})
    opening.keyboard.down("Control")
    opening.mouse.wheel(0, -300)
    wait_for(lambda: shown() != ticks)
    opening.keyboard.up("Control")
    place.dblclick(position={"x": 200, "y": 100})
    wait_for(lambda: shown() == ticks)


def test_foreign_text_stays_text(opened, small):
    """Nothing of it runs (the fixture hears of it), and all of it is to be read."""
    opening = opened(small)
    opening.wait_for_selector("body[data-charts]", state="attached")
    run = opening.locator("#runs-table tbody tr", has_text=SCRIPT).first.locator("a.run")
    run.click()

    assert SCRIPT in opening.get_by_role("dialog").inner_text()
    for place in ("#verdicts", "#checklist", "#cells-table", "#runs-filters", "#methods"):
        assert SCRIPT in opening.locator(place).inner_text(), place
    for place in ("#checklist", "#spec", "#methods-text", "#chart-curves figcaption"):
        assert TRAP in opening.locator(place).text_content(), place
    assert opening.locator("script").count() == 5


def test_what_finds_its_way_into_the_page_does_not_run(browser, small, tmp_path):
    """The policy names the page's scripts: no other runs, and no handler of an event."""
    held = tmp_path / "held.html"
    trap = "<img src='data:,' onerror='document.title=1'><script>document.title=2</script></main>"
    held.write_text(small.read_text().replace("</main>", trap))
    opening = browser.new_page()
    opening.goto(held.as_uri())
    opening.wait_for_selector("body[data-charts]", state="attached")

    assert opening.title() == "small: report"
    opening.close()


@pytest.mark.parametrize("address", ["#%", "#run-%ff", "#runs-99", "#cell-0-evaluation"])
def test_an_address_that_leads_nowhere_leaves_the_page_as_it_is(opened, small, address):
    opening = opened(small, address)
    opening.wait_for_selector("body[data-charts]", state="attached")

    assert "of 18" in opening.locator("#runs-grid .dt-info").inner_text()


def test_what_looks_like_markup_is_found_by_its_text(opened, small):
    opening = opened(small)
    opening.locator("#runs-grid input[type=search]").fill("</script>&<img")
    found = opening.locator("#runs-table")

    wait_for(lambda: "(of 18)" in opening.locator("#runs-grid .dt-info").inner_text())
    assert set(column(found, "optimizer")) == {SCRIPT}


def test_the_tables_are_saved_as_csv(opened, small):
    opening = opened(small)
    with opening.expect_download() as saved:
        opening.locator("#runs button.save").click()
    with saved.value.path().open(newline="") as file:
        found = list(csv.DictReader(file))

    assert saved.value.suggested_filename == "runs.csv"
    assert len(found) == 18
    assert {one["optimizer"] for one in found} == {"SGD", SCRIPT}
    assert sum(one["outcome"] == "diverged" for one in found) == 3


@pytest.mark.parametrize("width", [390, 768, 1400])
def test_the_page_never_scrolls_sideways(opened, small, width):
    opening = opened(small, width=width)
    opening.wait_for_selector("body[data-charts]", state="attached")

    assert opening.evaluate("document.documentElement.scrollWidth") == width


def test_on_paper_everything_is_open(opened, small):
    opening = opened(small)
    opening.wait_for_selector("body[data-charts]", state="attached")
    assert opening.pdf().startswith(b"%PDF")
    assert opening.locator("details:not([open])").count() > 0  # as it was

    opening.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opening.locator("details:not([open])").count() == 0


def test_the_keyboard_skips_to_the_verdicts(opened, small):
    opening = opened(small)
    opening.keyboard.press("Tab")
    assert opening.evaluate("document.activeElement.textContent") == "Skip to the verdicts"

    opening.keyboard.press("Enter")
    wait_for(lambda: opening.url.endswith("#verdicts"))


def many() -> Collection:
    """Ten thousand runs in 1,000 cells, none of which was ever a file."""
    runs = tuple(
        plan(problem, optimizer, {"lr": 0.1 / number}, seed, 1, varied=True)
        for problem in ("digits_mlp", "quadratic_deep")
        for optimizer in ("SGD", "Adam")
        for number in range(1, 251)
        for seed in range(10)
    )
    rng = np.random.default_rng(0)
    outcomes = tuple(
        Result(
            planned=one,
            diverged=False,
            stop={"reason": "completed", "epoch": 1},
            curves={metric: rng.uniform(size=2) for metric in ("valid_loss", "test_loss")},
            cost={phase: {"wall_s": float(rng.uniform())} for phase in PHASES},
            provenance={"code": "0123456789ab", "started": 1.7e9 + place},
        )
        for place, one in enumerate(runs)
    )
    sweep = Sweep(
        name="many",
        description="invented",
        runs=runs,
        problems=("digits_mlp", "quadratic_deep"),
        optimizers=("SGD", "Adam"),
        targets={},
        data=None,
        code=(),
        sources={},
    )
    of_it = Ledger(
        sweep="many",
        expected=len(runs),
        states={"completed": len(runs)},
        duplicate=0,
        conflicts=0,
        extra=0,
        unsettled=(),
        on_files=(),
        on_results=(),
        selections=select(group(outcomes, sweep.problems, sweep.optimizers, ())),
    )
    return Collection(sweep=sweep, store=Store(Path("many")), ledger=of_it, outcomes=outcomes)


def test_ten_thousand_runs_can_be_used(opened, tmp_path):
    results = many()
    file = tmp_path / "report.html"
    file.write_bytes(page.render(report_of(results, charts=())))
    last = results.sweep.runs[-1].run.id
    opening = opened(file)
    assert "of 10,000" in opening.locator("#runs-grid .dt-info").inner_text()

    opening.locator("#runs-grid input[type=search]").fill(last)
    wait_for(lambda: column(opening.locator("#runs-table"), "run") == [last])
    assert file.stat().st_size < 10e6
