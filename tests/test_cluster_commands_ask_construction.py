"""`check` constructs every optimizer: what is a mistake, what is only told, and what it costs."""

import json
import subprocess
import sys
import textwrap
import venv

import pytest

from cluster.commands import ask_construction
from cluster.commands.check import check
from jobs.training.construction import Answer, Finding

MODULES = {
    "good.py": """
        import torch

        print("not a part of any answer", flush=True)

        class Sign(torch.optim.Optimizer):
            def __init__(self, params, lr=0.1, variant="a"):
                with open("constructed.txt", "a") as file:
                    print(lr, variant, file=file)
                if lr < 0:
                    raise ValueError(f"negative: {lr}")
                if variant == "matrices":
                    params = list(params)
                    assert all(p.dim() == 2 for p in params), "matrices only"
                super().__init__(params, {"lr": lr})

            def step(self):
                pass

        class Greedy(Sign):
            def step(self, loss, closure):
                pass

        class Around(Sign):
            def __init__(self, base_optimizer, **settings):
                super().__init__(base_optimizer.param_groups[0]["params"], **settings)
    """,
    "misspelt.py": "import nmupy\n\nclass Mine: ...\n",
    "torn.py": "class Mine:\n    def step(self:\n",
    "absent_name.py": "import torch\n\nBASE = torch.no_such_name\n\nclass Mine: ...\n",
    "leaves.py": "import sys\n\nsys.exit('usage: ...')\n\nclass Mine: ...\n",
    "dies.py": "import os\n\nos._exit(7)\n\nclass Mine: ...\n",
    "site-packages/sick.py": "raise ImportError('libcuda.so.1 is missing')\n\nclass Sick: ...\n",
    "problem.py": "class Moons: ...\n",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ask_construction, "TIMEOUT_S", 3600.0)
    for name, text in MODULES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(textwrap.dedent(text))
    return tmp_path


def checked(folder, capsys, text, *, code=0):
    """What `check --json` of this spec says."""
    (folder / "it.yaml").write_text(textwrap.dedent(text))
    assert check(folder / "it.yaml", [], as_json=True) == code
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def where(report):
    """Line, column, path and message of each mistake."""
    fields = ("line", "column", "path", "message")
    return [tuple(error[name] for name in fields) for error in report["errors"]]


def test_all_that_cannot_be_had_is_a_mistake_with_its_place(folder, capsys):
    spec = """\
        seeds: 1..3
        problems:
          digits_mlp:
          moons: {problem: problem.Moons, epochs: 1, batch_size: 8}
        optimizers:
          misspelt: {optimizer: misspelt.Mine}
          torn: {optimizer: "torn:Mine"}
          name: {optimizer: absent_name.Mine}
          SGD: {momentum: 0.9, lr: -1}
          Adam:
            betas: [0.9, 1.5]
          grid: {optimizer: good.Sign, lr: {grid: [-2, 1, 4]}}
          greedy: {optimizer: good.Greedy}
          around: {optimizer: good.Around, base_optimizer: {class: torn.Mine}}
    """
    report = checked(folder, capsys, spec, code=2)

    said = where(report)
    assert said[0] == (
        *(4, 20, "problems.moons"),
        "problem.Moons is not a jobs.problems.problem.Problem",
    )
    assert said[1][:3] == (6, 25, "optimizers.misspelt")
    assert said[1][3] == (
        "misspelt.Mine cannot be imported: ModuleNotFoundError: No module named 'nmupy'"
        f" ({folder}/misspelt.py:1); if only the runs' image has it, install it for"
        f" {sys.executable}, too"
    )
    assert said[2][:3] == (7, 21, "optimizers.torn")
    assert f"SyntaxError: '(' was never closed ({folder}/torn.py:2)" in said[2][3]
    assert said[3][:3] == (8, 21, "optimizers.name")
    assert f"({folder}/absent_name.py:3)" in said[3][3]
    refused = "cannot be constructed: ValueError:"
    assert said[4:8] == [
        (9, 28, "optimizers.SGD.lr", f"torch.optim.SGD {refused} Invalid learning rate: -1.0"),
        (
            *(11, 12, "optimizers.Adam.betas"),
            f"torch.optim.Adam {refused} Invalid beta parameter at index 1: 1.5",
        ),
        (
            *(12, 36, "optimizers.grid.lr"),
            f"good.Sign {refused} negative: -2.0 ({folder}/good.py:11) (and 1 more like this)",
        ),
        (
            *(13, 23, "optimizers.greedy"),
            "Greedy.step() asks for loss and closure; a training gives it a closure, or the loss",
        ),
    ]
    assert said[8][:3] == (14, 52, "optimizers.around.base_optimizer")
    assert "torn.Mine cannot be imported: SyntaxError" in said[8][3]
    assert len(said) == 9


def test_how_it_is_trained_is_constructed_too(folder, capsys):
    """Schedules and groups; which parameters a group has, only the real model says."""
    spec = """\
        seeds: 1
        problems: [digits_mlp]
        optimizers:
          muon: {optimizer: torch.optim.Muon, groups: [{dims: 1, class: AdamW, lr: 0.1}]}
          named: {optimizer: AdamW, groups: [{match: head, weight_decay: 0}]}
          cycle: {optimizer: SGD, schedule: {class: torch.optim.lr_scheduler.OneCycleLR, max_lr: 1}}
          twice: {optimizer: PreconditionedSGD, accumulate: 2}
          rate: {optimizer: AdamW, groups: [{dims: 1, lr: -3}]}
          torn: {optimizer: AdamW, groups: [{dims: 1, class: torn.Mine}]}
          own: {optimizer: AdamW, schedule: {class: misspelt.Mine}}
          once: {optimizer: PreconditionedSGD, groups: [{dims: 1, est_rank: 1}]}
          lbfgs: {optimizer: torch.optim.LBFGS, groups: [{dims: 1, lr: 0.1}]}
          beside: {optimizer: torch.optim.LBFGS, groups: [{dims: 1, class: AdamW}]}
          bare: {optimizer: good.Sign, closure: true}
    """
    said = where(checked(folder, capsys, spec, code=2))
    assert [found[:3] for found in said] == [
        (6, 37, "optimizers.cycle.schedule"),
        (7, 53, "optimizers.twice.accumulate"),
        (8, 36, "optimizers.rate.groups"),
        (9, 36, "optimizers.torn.groups"),
        (10, 37, "optimizers.own.schedule"),
        (11, 48, "optimizers.once.groups"),
        (12, 49, "optimizers.lbfgs.groups"),
        (13, 50, "optimizers.beside.groups"),
        (14, 41, "optimizers.bare.closure"),
    ]
    assert "OneCycleLR refuses its settings: You must define either total_steps" in said[0][3]
    assert "PreconditionedSGD makes its backward passes itself" in said[1][3]
    assert said[2][3].endswith("ValueError: Invalid learning rate: -3.0")
    assert "torn.Mine cannot be imported: SyntaxError" in said[3][3]
    assert "misspelt.Mine cannot be imported: ModuleNotFoundError" in said[4][3]
    assert "PreconditionedSGD has one 'est_rank' for all parameters" in said[5][3]
    assert "LBFGS doesn't support per-parameter options" in said[6][3]
    assert "LBFGS decides on the passes over a minibatch" in said[7][3]
    assert "Sign.step() takes none; leave it out" in said[8][3]


def test_what_may_be_due_to_this_machine_or_the_tiny_model_is_only_told(folder, capsys):
    spec = """\
        seeds: 1..3
        code: [., site-packages]
        problems: [digits_mlp, digits_2c2d]
        optimizers:
          good: {optimizer: good.Sign, lr: {values: [0.1, 0.2]}}
          matrices: {optimizer: good.Sign, variant: matrices}
          Muon: {optimizer: torch.optim.Muon}
          leaves: {optimizer: leaves.Mine}
          sick: {optimizer: sick.Sick}
          elsewhere: {optimizer: no_package.Lion}
    """
    report = checked(folder, capsys, spec)

    tiny = "(tried on a tiny model; it may be due to that)"
    notes = [note.partition("it.yaml:")[2] for note in report["notes"]]
    assert report["constructed"] == 2
    assert notes[0] == (
        "6:25: optimizers.matrices: good.Sign cannot be constructed: AssertionError: matrices only"
        f" ({folder}/good.py:14) {tiny}"
    )
    assert "Muon only supports 2D parameters" in notes[1]
    assert notes[1].endswith(tiny)
    assert notes[2] == (
        "8:23: optimizers.leaves: leaves.Mine cannot be imported: SystemExit: usage: ..."
        f" ({folder}/leaves.py:3)"
    )
    assert notes[3:] == [
        "9:21: optimizers.sick: sick.Sick cannot be imported: ImportError: libcuda.so.1 is missing",
        "10:26: optimizers.elsewhere: no_package.Lion was not imported: no 'no_package' in this Python",
    ]
    tried = (folder / "constructed.txt").read_text().splitlines()
    assert sorted(tried) == ["0.1 a", "0.1 matrices", "0.2 a"]
    assert not list(folder.rglob("__pycache__"))


def test_one_process_constructs_all_settings(folder, capsys, monkeypatch):
    begun = []
    real = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: begun.append(a) or real(*a, **k))
    spec = """\
        seeds: 1..2
        problems: [digits_mlp, digits_2c2d]
        optimizers: {SGD: {lr: {log_grid: [1e-5, 1, 500]}}, Adam: }
    """
    report = checked(folder, capsys, spec)

    assert (report["runs"], report["constructed"], report["notes"]) == (2004, 501, [])
    assert len(begun) == 1
    assert check(folder / "it.yaml", ["optimizers.SGD.lr=1"], as_json=False) == 0
    assert capsys.readouterr().out.endswith(
        "\n\nconstructed 2 settings of the optimizers, on a tiny model\n"
    )


def test_without_torch_it_is_told_in_a_line(folder, capsys, monkeypatch):
    venv.create(folder / "bare")  # of this Python, with nothing installed
    monkeypatch.setattr(sys, "executable", str(folder / "bare" / "bin" / "python"))
    (folder / "it.yaml").write_text(
        "seeds: 1\nproblems: [digits_mlp]\noptimizers: {SGD: {lr: -1}}\n"
    )

    assert check(folder / "it.yaml", [], as_json=False) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[-1] == (
        "optimizers were not constructed: torch is not in this Python: No module named 'torch'"
    )


def test_a_process_that_dies_is_told_with_what_it_was_at(folder, capsys):
    spec = """\
        seeds: 1
        problems: [digits_mlp]
        optimizers: {good: {optimizer: good.Sign}, dies: {optimizer: dies.Mine}}
    """
    report = checked(folder, capsys, spec)

    (note,) = report["notes"]
    assert report["constructed"] == 0
    assert note.startswith(
        "optimizers were not all constructed: the process ended with exit code 7"
    )
    assert note.endswith(" while dies.Mine was tried: not a part of any answer")


def test_so_is_a_python_that_cannot_be_started(folder, capsys, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(folder / "nowhere"))
    report = checked(folder, capsys, "seeds: 1\nproblems: [digits_mlp]\noptimizers: [Adam]\n")

    (note,) = report["notes"]
    assert note == (
        f"optimizers were not constructed: {folder}/nowhere cannot be started:"
        " No such file or directory"
    )


def test_it_has_a_time_limit(folder, capsys, monkeypatch):
    monkeypatch.setattr(ask_construction, "TIMEOUT_S", 0.001)
    spec = "seeds: 1\nproblems: [digits_mlp]\noptimizers: {SGD: {lr: 0.1}}\n"
    report = checked(folder, capsys, spec)

    (note,) = report["notes"]
    assert note.startswith("optimizers were not all constructed: the 0.001 seconds for it were")
    assert note.endswith(" over while torch was imported")


def test_an_answer_that_was_torn_is_read_as_far_as_it_came():
    finding = Finding(about="run", index=0, is_mistake=True, text="no")
    whole = json.dumps({"finding": vars(finding)})

    assert Answer.parse(f'{{"begun": "a.B"}}\n{whole}\n{{"en') == Answer(
        findings=(finding,), absent="", begun="a.B", is_whole=False
    )
