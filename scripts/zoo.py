"""Try the optimizers of many packages, and compare the results with the table of docs/optimizers.md.

Each optimizer is trained, interrupted three times and resumed (`probprec verify-resume`). The packages
lie in a folder of their own, so that no other process sees them. `scripts/test --zoo` compares;
`--write` writes the table anew.
"""

import argparse
import hashlib
import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".zoo"
SPEC = ROOT / "tests" / "zoo" / "zoo.yaml"
REQUIREMENTS = ROOT / "tests" / "zoo" / "requirements.txt"
PAGE = ROOT / "docs" / "optimizers.md"
HEAD = "| class | package | resumed | evaluated at |\n|---|---|---|---|\n"


@dataclass(frozen=True)
class TrialResult:
    """The result of one optimizer's class."""

    path: str
    package: str  # with its version
    finding: str | None  # None: resumed bit for bit
    has_modes: bool  # train() and eval()

    def __str__(self) -> str:
        """The row of the table."""
        resumed = "bit for bit" if self.finding is None else self.finding.replace("|", "/")
        weights = "the weights of `eval()`" if self.has_modes else "the model's weights"
        return f"| `{self.path}` | {self.package} | {resumed} | {weights} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 if the table holds."""
    parser = argparse.ArgumentParser(description="Try the optimizers of many packages.")
    parser.add_argument("--write", action="store_true", help="write the table anew")
    options = parser.parse_args(arguments)
    install()
    rows = [str(tried) for tried in try_all()]
    page = PAGE.read_text()
    before, _, rest = page.partition(HEAD)
    known = list(itertools.takewhile(lambda line: line.startswith("| "), rest.splitlines()))
    after = rest.removeprefix("".join(f"{line}\n" for line in known))
    expected = f"{before}{HEAD}" + "".join(f"{row}\n" for row in rows) + after
    if options.write:
        PAGE.write_text(expected)
    elif page != expected:
        differing = sorted(set(rows) ^ set(known))
        print("docs/optimizers.md does not say what came of it:", *differing, sep="\n")
        return 1
    print(f"{len(rows)} classes tried; docs/optimizers.md says what came of them")
    return 0


def install() -> None:
    """Install the packages into their folder, unless they are there."""
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    stamp = FOLDER / "installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(FOLDER, ignore_errors=True)  # packages of an older list must not be found
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*pip, "--target", FOLDER, "-r", REQUIREMENTS], check=True)
    stamp.write_text(wanted)


def try_all() -> Iterator[TrialResult]:
    """The result of each class of the spec, in the spec's order."""
    classes = {run["optimizer"]: run["class"] for run in planned()}
    verified = told("verify-resume", SPEC, "--json", codes=(0, 1))
    modes = have_modes(list(classes.values()))
    packages = metadata.packages_distributions() | installed()
    for run in verified["runs"]:
        path = classes[run["optimizer"]]
        top = path.partition(".")[0]
        name = packages[top][0]
        folders = {} if top == "torch" else {"path": [str(FOLDER)]}
        [found] = metadata.distributions(name=name, **folders)
        package = f"{name} {found.version.partition('+')[0]}"
        yield TrialResult(path, package, run["finding"], has_modes=modes[path])


def installed() -> Mapping[str, list[str]]:
    """The distributions of each module in the folder."""
    found = {}
    for one in metadata.distributions(path=[str(FOLDER)]):
        for file in one.files or ():
            found[file.parts[0].removesuffix(".py")] = [one.name]
    return found


def planned() -> list[dict[str, str]]:
    """The label and class of each run of the spec."""
    code = (
        "import json, sys; from pathlib import Path; from jobs import spec;"
        "print(json.dumps([{'optimizer': one.optimizer, 'class': one.run.optimizer}"
        " for one in spec.load(Path(sys.argv[1])).runs]))"
    )
    return list(json.loads(python("-c", code, SPEC)))


def have_modes(paths: Sequence[str]) -> dict[str, bool]:
    """Whether each class has train() and eval()."""
    code = (
        f"import json, sys; sys.path.append({str(FOLDER)!r});"
        "from jobs.importing import load_class as load;"
        "print(json.dumps({path: all(callable(getattr(load(path), mode, None))"
        " for mode in ('train', 'eval')) for path in sys.argv[1:]}))"
    )
    return dict(json.loads(python("-W", "ignore", "-c", code, *paths).splitlines()[-1]))


def told(*words: object, codes: Sequence[int]) -> dict[str, Any]:
    """The JSON output of a `probprec` command."""
    return dict(json.loads(python("-m", "cluster.cli", *words, codes=codes)))


def python(*words: object, codes: Sequence[int] = (0,)) -> str:
    """The output of a Python process; its failure raises."""
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in codes:
        raise SystemExit(f"exit code {done.returncode}: {' '.join(command[:4])} ...")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
