"""Pages: nothing is cut off, nothing overlaps, and no page is wider or taller than one of a paper."""

import itertools
import re
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from jobs.results import figures, ledger, line_ends, page, style
from jobs.results.figure_options import FigureOptions
from jobs.results.figures import FIGURES, draw
from jobs.results.ledger import Collection
from jobs.results.page import Drawing
from tests.make_sweep import make_sweep

PROBLEMS = ["mnist_logreg", "mnist_2c2d", "fmnist_2c2d", "cifar10_3c3d", "digits_mlp"]
OPTIMIZERS = ["SGD", "Momentum", "Adam", "AdamW", "RMSprop", "Adagrad", "NAdam", "RAdam", "Lion"]
OPTIMIZERS += ["SOAP", "Muon", "PreconditionedSGD"]


def many(root):
    """Twelve optimizers, six problems."""
    settings = {optimizer: [{"lr": 0.1}] for optimizer in OPTIMIZERS}
    return make_sweep(
        root, problems=[*PROBLEMS, "quadratic_deep"], optimizers=settings, seeds=range(5), epochs=6
    )


def search(root):
    """A random search in two axes, in which large steps diverge."""
    rng = np.random.default_rng(0)
    settings = {
        optimizer: [
            {"lr": float(10 ** rng.uniform(-4, 1)), "momentum": float(rng.uniform(0, 0.99))}
            for _ in range(20)
        ]
        for optimizer in OPTIMIZERS[:2]
    }
    return make_sweep(
        root,
        problems=["fmnist_2c2d"],
        optimizers=settings,
        seeds=[42],
        epochs=4,
        diverges=lambda one: 2 if one.run.hyperparameters["lr"] > 3 else None,
    )


def steps(root):
    """Four optimizers, ten step sizes, of which the largest diverge."""
    rates = [float(lr) for lr in np.logspace(-5, 2, 10)]
    return make_sweep(
        root,
        problems=["fmnist_2c2d", "cifar10_3c3d", "quadratic_deep", "digits_mlp"],
        optimizers={name: [{"lr": lr} for lr in [0.0, *rates]] for name in OPTIMIZERS[:4]},
        epochs=5,
        diverges=lambda one: 2 if one.run.hyperparameters["lr"] > 3 else None,
    )


def dying(root):
    """Seven of ten runs of SGD diverge; the names are long."""
    names = ("SGD", "Momentum", "An optimizer with a name of more than forty letters")
    return make_sweep(
        root,
        problems=["fmnist_2c2d", "quadratic_deep"],
        optimizers={name: [{}] for name in names},
        seeds=range(10),
        epochs=8,
        diverges=lambda one: 5 if one.optimizer == "SGD" and one.run.seed < 7 else None,
    )


SCENARIOS = (many, search, steps, dying)
OF_VALUES = ("grid", "final", "sensitivity")
VARIED = (search, steps)


@pytest.fixture(scope="module", params=SCENARIOS, ids=lambda scenario: scenario.__name__)
def scenario(request, tmp_path_factory) -> tuple[Callable, Collection]:
    root = tmp_path_factory.mktemp("pages") / request.param.__name__
    return request.param, ledger.collect(request.param(root))


@pytest.fixture(scope="module")
def drawings(scenario) -> dict[str, Drawing]:
    of, collection = scenario
    varied = () if of in VARIED else ("sensitivity", "tuning")
    few = () if of is many else ("profile", "trace")
    names = [name for name in FIGURES if name not in {*varied, *few}]
    return {name: draw(collection, name) for name in names}


def pages(drawings: dict[str, Drawing]) -> list[Figure]:
    return [figure for drawing in drawings.values() for figure in drawing.pages]


def panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.axison]


def tick_labels(axes: Axes) -> list[list[Bbox]]:
    """Those that are seen along each of its axes."""
    found = []
    for axis, ends in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        ticks = [
            tick
            for is_minor in (False, True)
            for tick in (axis.get_minor_ticks() if is_minor else axis.get_major_ticks())
            if min(ends) <= tick.get_loc() <= max(ends) and tick.label1.get_visible()
        ]
        found.append([t.label1.get_window_extent() for t in ticks if t.label1.get_text()])
    return found


def test_a_page_is_as_wide_as_a_papers_page_or_column_and_no_taller(drawings):
    for figure in pages(drawings):
        width, height = figure.get_size_inches()
        columns = figure.axes[0].get_subplotspec().get_gridspec().ncols
        assert columns <= 3
        assert width == (3.25 if columns == 1 else 6.75)
        assert height <= 9.0


def test_nothing_is_outside_the_canvas(drawings):
    for figure in pages(drawings):
        canvas = figure.bbox
        texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
        axes = [label for panel in panels(figure) for part in tick_labels(panel) for label in part]
        ticks = {
            label
            for panel in figure.axes
            for axis in (panel.xaxis, panel.yaxis)
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
            for label in (tick.label1, tick.label2)
        }
        boxes = [text.get_window_extent() for text in texts if text not in ticks] + axes
        assert boxes
        for box in boxes:
            assert canvas.x0 <= box.x0 + 1
            assert box.x1 <= canvas.x1 + 1
            assert canvas.y0 <= box.y0 + 1
            assert box.y1 <= canvas.y1 + 1


def test_no_tick_labels_overlap(drawings):
    for figure in pages(drawings):
        for labels in itertools.chain(*map(tick_labels, panels(figure))):
            for one, other in itertools.combinations(labels, 2):
                assert not one.overlaps(other)


def test_no_panel_title_or_axis_name_overlaps_another_panel(drawings):
    for figure in pages(drawings):
        for panel in panels(figure):
            own = panel.get_window_extent()
            for other in panels(figure):
                words = (other.title, other.xaxis.label, other.yaxis.label, *other.texts)
                boxes = [text.get_window_extent() for text in words if text.get_text()]
                if other is not panel:
                    assert not any(own.overlaps(box) for box in boxes)


def test_limits_are_within_the_metrics_range(drawings):
    for figure in pages({name: one for name, one in drawings.items() if name in OF_VALUES}):
        for panel in panels(figure):
            sides = (
                (panel.get_ylabel() or _row_label(figure, panel), panel.get_ylim()),
                (panel.get_xlabel(), panel.get_xlim()),
            )
            for label, (low, high) in sides:
                if "accuracy" in label:
                    assert 0 <= low < high <= 1
                elif "loss" in label:
                    assert 0 <= low < high


def _row_label(figure: Figure, panel: Axes) -> str:
    """The name of the metric, which stands once in a row."""
    row = panel.get_subplotspec().rowspan.start
    own = [axes for axes in figure.axes if axes.get_subplotspec().rowspan.start == row]
    return next((axes.get_ylabel() for axes in own if axes.get_ylabel()), "")


def ends(panel: Axes) -> list[str]:
    """The names at the ends of its lines."""
    return [text.get_text() for text in panel.texts if text.get_gid() == line_ends.GID]


def test_a_page_has_one_legend_within_it_and_below_all_panels(drawings):
    for name, drawing in drawings.items():
        for figure in drawing.pages:
            assert not any(axes.get_legend() for axes in figure.axes)
            is_named = any(ends(panel) for panel in panels(figure))
            assert len(figure.legends) == (name not in {"final", "compare"} and not is_named)
            for legend in figure.legends:
                box = legend.get_window_extent()
                assert box.y1 < min(axes.get_window_extent().y0 for axes in panels(figure))
                assert figure.bbox.x0 <= box.x0
                assert box.x1 <= figure.bbox.x1


def test_a_grid_has_three_problems_a_page_and_its_legend_all_optimizers(scenario, drawings):
    of, collection = scenario
    figures = drawings["grid"].pages
    per_page = [figure.axes[0].get_subplotspec().get_gridspec().ncols for figure in figures]
    names = [text.get_text() for legend in figures[-1].legends for text in legend.get_texts()]
    names = names or ends(panels(figures[-1])[0])

    assert per_page == {many: [3, 3], search: [1], steps: [2, 2], dying: [2]}[of]
    assert [re.sub(r"\s", "", name) for name in names] == [
        re.sub(r"\s", "", name) for name in collection.optimizers
    ]


def test_files_are_a_png_a_page_one_pdf_and_the_caption(scenario, tmp_path):
    of, collection = scenario
    written = figures.save(tmp_path, collection, "grid")
    further = ["grid-2.png"] if of in (many, steps) else []

    assert [path.name for path in written] == ["grid.png", *further, "grid.pdf", "grid.txt"]
    pdf = (tmp_path / "grid.pdf").read_bytes()
    assert len(re.findall(rb"/Type /Page\b", pdf)) == 1 + len(further)
    assert (tmp_path / "grid.txt").read_text() == draw(collection, "grid").caption


def test_pages_of_an_earlier_drawing_do_not_stay(tmp_path):
    names = [f"own{i}" for i in range(60)]
    for count, further in ((60, ["final-2.png", "final-3.png"]), (2, [])):
        store = make_sweep(
            tmp_path / f"sweep{count}",
            problems=["digits_mlp"],
            optimizers={name: [{}] for name in names[:count]},
            seeds=[1],
            epochs=1,
        )
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        strangers = ["final-2.png.old", "final-x.png", "final_all-2.png", "my-final-2.png"]
        for name in strangers:
            (out / name).touch()
        figures.save(out, ledger.collect(store), "final")
        found = {path.name for path in out.iterdir()}
        assert found == {"final.png", *further, "final.pdf", "final.txt", *strangers}


def test_the_same_drawing_is_the_same_bytes(scenario):
    _, collection = scenario

    def files() -> dict[str, bytes]:
        with style.style():
            return page.render(draw(collection, "grid"))

    assert files() == files()


def test_no_place_has_the_last_digits_of_the_layouts_solver(drawings):
    """They are not the same each time, and would be seen in the bytes of a PDF."""
    for figure in pages(drawings):
        for axes in figure.axes:
            bounds = np.array(axes.get_position().bounds)
            np.testing.assert_allclose(bounds, bounds.round(4), rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("count", "parts"), [(1, [1]), (3, [3]), (4, [2, 2]), (5, [2, 3]), (7, [2, 2, 3])]
)
def test_items_are_split_into_parts_about_as_long(count, parts):
    split = page.split(range(count), 3)

    assert [len(part) for part in split] == parts
    assert list(itertools.chain(*split)) == list(range(count))


def test_a_caption_tells_what_is_left_out_and_why(tmp_path):
    store = make_sweep(
        tmp_path / "sweep",
        problems=["digits_mlp"],
        optimizers={"SGD": [{}], "Adam": [{}], "Lion": [{"lr": 0.1}, {"lr": 1.0}]},
        diverges=lambda one: 2 if one.optimizer == "SGD" and one.run.seed == 43 else None,
        is_recorded=lambda one: (
            (one.optimizer, one.run.seed) != ("Adam", 44)
            and one.run.hyperparameters.get("lr") != 1.0
        ),
    )
    caption = draw(ledger.collect(store), "grid").caption

    assert caption.split("\n\n")[2].splitlines() == [
        "Left out:",
        "- digits_mlp Lion: nothing selected",
        "- digits_mlp SGD: 1 of 3 runs diverged, and are in no mean",
        "- digits_mlp Adam: 1 of 3 runs have no record (seed 44)",
    ]
    assert "Band: 95% Student t interval of the mean, from 5 runs on" in caption


def test_a_long_name_is_cut_in_the_footer_and_whole_in_the_caption(tmp_path):
    name = "x" * 120
    drawing = draw(ledger.collect(make_sweep(tmp_path / name, problems=["digits_mlp"])), "grid")

    assert drawing.pages[0].texts[0].get_text() == f"{'x' * 32} … · 6 of 6 runs"
    assert f"Source: {name}; " in drawing.caption


@pytest.mark.parametrize("metric", ["valid_accuracy", "valid_loss"])
def test_an_axis_of_no_value_has_no_numbers(tmp_path, metric):
    store = make_sweep(
        tmp_path / "sweep",
        problems=["digits_mlp"],
        optimizers={"SGD": [{"lr": lr} for lr in (0.1, 1.0)]},
        diverges=lambda _: 2,
    )
    (panel,) = (
        draw(ledger.collect(store), "sensitivity", FigureOptions(metric=metric)).pages[0].axes
    )

    assert not len(panel.get_yticks())


def test_a_grid_of_epoch_0_alone_shows_it(tmp_path):
    store = make_sweep(tmp_path / "sweep", problems=["digits_mlp"], epochs=0, seeds=[1])
    panel = draw(ledger.collect(store), "grid").pages[0].axes[-1]

    assert [tick for tick in panel.get_xticks() if abs(tick) < 0.5] == [0]
    assert all(line.get_marker() == "." for line in panel.get_lines())


@pytest.mark.parametrize(
    ("text", "lines", "shown"),
    [
        ("short", 1, "short"),
        ("two words", 2, "two\nwords"),
        ("onelongword", 1, "onel …"),
        ("a b c d e f g h", 2, "a b c\nd e …"),
        ("$a$", 1, r"\$a\$"),
    ],
)
def test_long_text_is_wrapped_and_cut(text, lines, shown):
    assert page.shortened(text, 6, lines) == shown


def test_a_caption_of_all_runs_leaves_nothing_out(tmp_path):
    store = make_sweep(tmp_path / "sweep", problems=["digits_mlp"])

    assert "\n\nLeft out: nothing.\n\n" in draw(ledger.collect(store), "final").caption
