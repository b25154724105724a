"""The house stands as drawn: who imports whom, what the command line loads, what the wheel holds."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "probprec": set(),
    "containers": set(),
    "jobs": {"probprec", "containers"},
    "cluster": {"containers", "jobs"},
}
THIRD_PARTY = {"probprec": {"torch"}, "containers": {"spython"}}  # the others may use any


def modules():
    return sorted(path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py"))


def imported(path):
    """Top-level names of everything that a module imports, at any depth of its code."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    """A package imports itself and what the table of rooms allows, nothing else."""
    package = path.relative_to(ROOT).parts[0]
    names = set(imported(path))

    assert names & set(MAY_IMPORT) <= MAY_IMPORT[package] | {package}
    if package in THIRD_PARTY:
        foreign = names - set(MAY_IMPORT) - set(sys.stdlib_module_names)
        assert foreign <= THIRD_PARTY[package]


def test_only_the_store_knows_the_layout():
    """The sweep's folder, and each run's; no other module spells the name of a file of the sweep folder."""
    names = re.compile(
        r'"(sweep\.json|record\.json|run\.json|journal\.jsonl|progress\.jsonl|outcome\.json)"'
    )
    found = {path.name for path in modules() if names.search(path.read_text())}

    assert found == {"store.py", "attempts.py"}


def test_only_one_module_runs_slurms_commands():
    """No other module spells one; but the lab, which is a Slurm of its own."""
    names = re.compile(r'\[\s*"(sbatch|squeue|scontrol|scancel|sacct|sacctmgr|sinfo|srun)"')
    found = {path.name for path in modules() if names.search(path.read_text())}
    lab = {path.name for path in modules() if path.parent.name == "lab"}

    assert found - lab == {"slurm.py"}


def test_the_command_line_is_light():
    """Importing the command loads neither torch nor pandas nor matplotlib nor numpy."""
    code = "import json, sys, cluster.cli; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not {"torch", "pandas", "matplotlib", "numpy", "pydantic"} & set(json.loads(done.stdout))


def test_submitting_is_light():
    """Neither does everything that a login node needs to submit."""
    code = (
        "import json, sys, cluster.run, cluster.status, cluster.preview, jobs.launch;"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not {"torch", "pandas", "matplotlib"} & set(json.loads(done.stdout))


def test_the_wheel_holds_the_four_packages():
    """Tests, configs and scripts never leak into what is installed, and nobody publishes it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [
        "probprec",
        "cluster",
        "containers",
        "jobs",
    ]
    assert "Private :: Do Not Upload" in project["project"]["classifiers"]
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_links_in_the_documents_lead_somewhere():
    """Every relative link and image of the documents exists."""
    for document in ROOT.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
            if "://" not in target:
                assert (ROOT / target).exists(), f"{document.name}: {target}"
