"""Measure what must be quick, each against a floor timed in turn with it in the same run.

A row is the median ratio with its lowest and highest, over n pairs: A B A B ... Seconds are those
of the median of A. Machines differ and drift; ratios of neighbours hardly do.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))  # the maker of synthetic sweeps lives with the tests


@dataclass(frozen=True)
class Row:
    """One comparison of an operation with its floor."""

    what: str
    problem: str | None
    optimizer: str | None
    against: str
    seconds: float
    ratio: float
    low: float
    high: float
    n: int


def pairs(a: Callable[[], float], b: Callable[[], float], n: int) -> tuple[float, list[float]]:
    """The median seconds of `a`, and the n ratios a/b; both functions return their seconds."""
    timed = [(a(), b()) for _ in range(n)]
    return statistics.median(first for first, _ in timed), [
        first / second for first, second in timed
    ]


def row(what: str, against: str, timed: tuple[float, list[float]], **names: str) -> Row:
    """The row of a comparison."""
    seconds, ratios = timed
    return Row(
        what=what,
        problem=names.get("problem"),
        optimizer=names.get("optimizer"),
        against=against,
        seconds=seconds,
        ratio=statistics.median(ratios),
        low=min(ratios),
        high=max(ratios),
        n=len(ratios),
    )


def cpu(function: Callable[[], object]) -> float:
    """The CPU seconds of a call in this process."""
    start = time.process_time()
    function()
    return time.process_time() - start


def child(*arguments: str) -> float:
    """The CPU seconds of a child process and its descendants."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def own(*words: str) -> float:
    """CPU seconds of a command of probprec without those of its children."""
    code = "import atexit, sys, time, probprec_command as command;"
    code += "atexit.register(lambda: print(time.process_time(), file=sys.stderr)); command.main()"
    ended = subprocess.run(
        [sys.executable, "-c", code, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        check=False,
    )
    return float(ended.stderr.splitlines()[-1])


def expand() -> Iterator[Row]:
    """Validate a spec and expand it to 10,000 runs."""
    from jobs import spec
    from jobs.canonical import digest

    text = """\
problems: [fmnist_2c2d, digits_mlp]
optimizers:
  SGD: {lr: {log_grid: [1e-5, 1e+2, 25]}, momentum: {grid: [0, 0.95, 10]}}
seeds: 1..20
"""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "many.yaml"
        file.write_text(text)
        sweep = spec.load(file)
        contents = [planned.run.to_json() for planned in sweep.runs]
        timed = pairs(
            lambda: cpu(lambda: [planned.run.id for planned in spec.load(file).runs]),
            lambda: cpu(lambda: [digest(content) for content in contents]),
            n=5,
        )
    yield row("expand and validate 10,000 runs", "hashing 10,000 runs", timed)


def collect(records: int) -> Iterator[Row]:
    """Collect many records for the first time and again, and draw a figure of them."""
    import collecting

    for one in collecting.measured(records):
        timed = pairs(one.ours, one.floor, n=3)
        what = f"{one.what}, {one.peak_bytes / 1e6:.0f} MB at most"
        yield row(what, "json.loads of the records", timed)


def report(records: int) -> Iterator[Row]:
    """Write the report of many records, and open it in Chromium."""
    import reporting

    for what, against, ours, floor in reporting.measured(records):
        yield row(what, against, pairs(ours, floor, n=3))


def start() -> Iterator[Row]:
    """Start the command line; children of a command, such as torch of `check`, do not count."""
    from make_sweep import make_sweep

    with tempfile.TemporaryDirectory() as folder:
        sweep = make_sweep(Path(folder) / "small", seeds=range(2), epochs=2).root
        spec = ROOT / "configs/experiments/quickstart.yaml"
        for words in (("--help",), ("status", str(sweep)), ("check", str(spec))):
            timed = pairs(
                lambda words=words: own(*words), lambda: child(sys.executable, "-c", "pass"), n=11
            )
            yield row(f"probprec {words[0]}", "python -c pass", timed)


def epoch() -> Iterator[Row]:
    """Train one epoch with the preconditioner, against one with SGD."""
    import torch

    from jobs.store.attempts import AttemptFiles
    from jobs.sweep import Run
    from jobs.training import execute

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    problem = "fmnist_2c2d"

    def seconds(optimizer: str, **hyperparameters: float) -> float:
        run = Run(
            problem=problem,
            optimizer=optimizer,
            hyperparameters=hyperparameters,
            seed=42,
            epochs=1,
            batch_size=128,
        )
        with tempfile.TemporaryDirectory() as folder:
            cost = execute.execute(run, data=None, out=AttemptFiles(Path(folder)))["cost"]
        return float(sum(cost[phase]["wall_s"] for phase in ("train", "estimate", "apply")))

    timed = pairs(
        lambda: seconds("probprec.PreconditionedSGD"),
        lambda: seconds("torch.optim.SGD", lr=0.1),
        n=3,
    )
    what = "training of one epoch"
    yield row(what, "SGD", timed, problem=problem, optimizer="PreconditionedSGD")


STAGE = """
import json, sys
from pathlib import Path
from jobs.manifests.manifest import Manifest
from jobs.staging.stage import staged
root, source, manifest = map(Path, sys.argv[1:])
with staged(root, Manifest.from_json(json.loads(manifest.read_bytes())), source) as found:
    print(found.copied)
"""
COPY = """
import shutil, sys
from pathlib import Path
from jobs.staging.stage import staged  # the same start
target = Path(shutil.copytree(sys.argv[2], sys.argv[1]))
print(sum(file.stat().st_size for file in target.iterdir()))
"""


def tasks(code: str, arguments: Iterable[list[str]], copied: list[int]) -> float:
    """The wall seconds of tasks that start at once; the bytes that they copied are appended to `copied`."""
    start = time.perf_counter()
    processes = [
        subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE, cwd=ROOT)
        for words in arguments
    ]
    copied.append(sum(int(process.communicate()[0]) for process in processes))
    return time.perf_counter() - start


def stage() -> Iterator[Row]:
    """Stage one data set by eight tasks of a node, against eight plain copies."""
    from jobs.datasets.find import find
    from jobs.errors import DataError
    from jobs.manifests.manifest import of_folder

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            source = find("fmnist")
        except DataError:
            source = folder / "source"
            source.mkdir()
            for part in range(4):
                (source / f"part{part}").write_bytes(os.urandom(15_000_000))
        manifest = folder / "manifest.json"
        manifest.write_text(json.dumps(of_folder(source).to_json()))
        ours: list[int] = []
        floor: list[int] = []

        def through_the_store() -> float:
            words = [str(folder / f"store{len(ours)}"), str(source), str(manifest)]
            return tasks(STAGE, [words] * 8, ours)

        def plain() -> float:
            targets = [str(folder / f"{len(floor)}-{number}") for number in range(8)]
            return tasks(COPY, [[target, str(source)] for target in targets], floor)

        timed = pairs(through_the_store, plain, n=5)
    what = f"eight tasks stage a data set, {max(ours) / 1e6:.0f} MB copied and verified"
    yield row(what, f"eight plain copies, {max(floor) / 1e6:.0f} MB", timed)


def through_slurm(runs: int) -> Iterator[Row]:
    """Send many runs through Slurm: 10,000 are submitted and looked at, `runs` are trained."""
    import load

    for one in (*load.queue_many(), load.flow(runs)):
        ratios = [ours / floor for ours, floor in zip(one.ours, one.floors, strict=True)]
        yield row(one.what, one.against, (one.seconds, ratios))


BENCHES: dict[str, Callable[[], Iterator[Row]]] = {
    "expand": expand,
    "start": start,
    "epoch": epoch,
    "stage": stage,
}
OF_RECORDS: dict[str, Callable[[int], Iterator[Row]]] = {"collect": collect, "report": report}
"""The benches of many records, with a row for each command that reads them."""

LOAD_BENCH = "load"
"""The bench that makes several rows, and takes half an hour with 1,000 runs."""


def measured(names: Iterable[str], runs: int, records: int) -> Iterator[Row]:
    """The rows of the benches, one by one."""
    for name in names:
        if name == LOAD_BENCH:
            yield from through_slurm(runs)
        elif name in OF_RECORDS:
            yield from OF_RECORDS[name](records)
        else:
            yield from BENCHES[name]()


def main() -> None:
    """Run the benches that are named, or all."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    names = [*BENCHES, *OF_RECORDS, LOAD_BENCH]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--runs", type=int, default=1000, help="trainings of `load` (default: %(default)s)"
    )
    parser.add_argument(
        "--records",
        type=int,
        default=2000,
        help="records of `collect` and `report` (default: %(default)s)",
    )
    options = parser.parse_args()
    if unknown := set(options.names) - set(names):
        parser.error(f"no bench {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    rows: list[Row] = []
    for one in measured(options.names or names, options.runs, options.records):
        rows.append(one)
        if not options.json:
            title = " ".join(filter(None, (one.what, one.optimizer, one.problem)))
            print(
                f"{title}: {one.seconds:.3g} s = {one.ratio:.2f} x {one.against}"
                f" [{one.low:.2f}, {one.high:.2f}], n={one.n}",
                flush=True,
            )
    if options.json:
        machine = {"cpus": len(os.sched_getaffinity(0)), "python": platform.python_version()}
        print(json.dumps({"schema": 1, "machine": machine, "rows": [asdict(one) for one in rows]}))


if __name__ == "__main__":
    main()
