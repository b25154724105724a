"""A training that is interrupted, in whatever way, and goes on ends up as if nothing had happened."""

import json
import logging
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import files
from jobs.optimizers import OPTIMIZERS
from jobs.problems import text_gpt
from jobs.problems.catalog import PROBLEMS
from jobs.problems.classification import Examples
from jobs.problems.images import ImageProblem
from jobs.store.attempts import AttemptFiles
from jobs.sweep import Run
from jobs.training import execute
from jobs.training.loop import Training
from jobs.training.stop import InterruptionError, Stop
from jobs.training.trace import state_of
from tests.helpers import ALL, COMMIT, some_pairs, wait_for

CPU = torch.device("cpu")
BRIEF = {"prior_iterations": 2, "num_observations": 3}  # an estimate of 4 steps
SETTINGS = {name: {"lr": 0.01} for name in ("SGD", "Momentum", "Nesterov", "Adam", "AdamW")} | {
    "Preconditioner": {"lr": 0.01, "optim_class": "torch.optim.Adam", **BRIEF},
    "PreconditionedSGD": BRIEF,
    "AdaptiveSGD": BRIEF,
    "OnlyAdaptiveSGD": BRIEF,
    "PreconditionedTunedSGD": {"lr": 0.01, **BRIEF},
    "PreconditionedTunedMomentum": {"lr": 0.01, **BRIEF},
    "ThesisPreconditionedSGD": BRIEF,
    "ThesisAdaptiveSGD": {"lr": 0.01, "semantics": "2019-08-08", **BRIEF},
    "ThesisOnlyAdaptiveSGD": BRIEF,
    "ThesisPreconditionedTunedSGD": {"lr": 0.01, **BRIEF},
    "ThesisPreconditionedTunedMomentum": {"lr": 0.01, **BRIEF},
}
PLACES = [(info.name, init) for info in PROBLEMS.values() for init in info.inits]
PAIRS = (
    [(place, optimizer) for place in PLACES for optimizer in OPTIMIZERS]
    if ALL
    else some_pairs(PLACES, list(OPTIMIZERS), seed=COMMIT, more=6)
)


def make_run(problem, optimizer, *, init="deepobs", protocol="default", **fields):
    info = OPTIMIZERS[optimizer]
    return Run(
        problem=problem,
        optimizer=info.path,
        hyperparameters={**info.pinned, **SETTINGS[optimizer]},
        init=init,
        protocol=protocol,
        **{"seed": 42, "epochs": 2, "batch_size": 128} | fields,
    )


def attempt(run, folder, *resume, leave_at=None, every=math.inf, look_every=1):
    """One attempt, up to its end or to a boundary; returns what there is to compare, or None.

    `look_every`: steps between two looks at the losses, 10 on a GPU.
    """

    class Leaving(Training):
        seen = 0

        def boundary(self, **where):
            self.seen += 1
            if self.seen == leave_at:
                self._stop.asked = True
            super().boundary(**where)

    folder.mkdir()
    out = AttemptFiles(folder)
    make = partial(execute.build, Leaving, run, CPU, data=None, out=out, stop=Stop())
    training = execute.begin(run, make, out=out, resume=resume, every=every)
    training._monitor._interval = look_every
    try:
        stop = training.go()
    except InterruptionError:
        return None
    return {
        "stop": stop,
        "curves": training.curves.to_json(),
        "steps": training.time.to_json()["steps"],
        "state": state_of(training),
        "problem": training.problem.state_dict(),
        "passes": {
            name: (p.forward, p.backward, p.hvp) for name, p in training.meter.phases.items()
        },
        "boundaries": training.seen,
        "resumes": training.resumes,
    }


def in_pieces(run, folder, leave_at, *, tear=False, every=math.inf):
    """An attempt that leaves at each of these boundaries, counted from its start; then the rest."""
    before = []
    for index, boundary in enumerate(leave_at):
        here = folder / str(index)
        assert attempt(run, here, *before, leave_at=boundary, every=every) is None
        before = [here, *before]
        written = [path for path in AttemptFiles(here).checkpoint_files if path.exists()]
        if tear and len(written) == 2:
            newest = max(written, key=lambda path: path.stat().st_mtime_ns)
            newest.write_bytes(newest.read_bytes()[: -random.randrange(1, 5000)])
    return attempt(run, folder / "last", *before)


def same(whole, pieces):
    """Equal in all but the numbers that count attempts."""
    own = ("boundaries", "resumes")
    for key in whole.keys() - set(own):
        assert pieces[key] == whole[key], key
    return True


@pytest.fixture(autouse=True)
def _one_thread():
    """Two threads of torch wait for each other longer than these small problems take."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def noise(monkeypatch):
    """A few images and short windows of noise in the place of the large data sets."""
    real = ImageProblem.examples

    def examples(self, data):
        dataset = PROBLEMS[self.run.problem].dataset
        if dataset == "digits":
            return real(self, data)
        shape = (3, 32, 32) if dataset == "cifar10" else (1, 28, 28)
        draws = np.random.default_rng(0)
        return tuple(
            Examples(
                torch.from_numpy(draws.integers(0, 256, (n, *shape), dtype=np.uint8)),
                torch.from_numpy(draws.integers(0, 10, n)),
            )
            for n in (16, 4)
        )

    monkeypatch.setattr(ImageProblem, "examples", examples)
    monkeypatch.setattr(ImageProblem, "valid_size", 4)
    monkeypatch.setattr(ImageProblem, "train_eval_size", 4)
    text = np.random.default_rng(0).integers(0, 256, 160, dtype=np.uint8).tobytes()
    monkeypatch.setattr(text_gpt.TextGpt, "text", lambda *_: text)
    monkeypatch.setattr(text_gpt, "_CONTEXT_BYTES", 8)
    split = {"train": (0, 60), "valid": (60, 80), "test": (80, 100)}
    monkeypatch.setattr(text_gpt, "_SPLIT_PERCENT", split)


def test_the_quick_pairs_leave_nobody_out():
    everyone, differ = list(OPTIMIZERS), set()
    for number in range(200):
        pairs = some_pairs(PLACES, everyone, seed=str(number), more=6)
        assert len(set(pairs)) == len(pairs) == 2 * max(len(PLACES), len(everyone)) + 6
        assert pairs == sorted(pairs, key=lambda p: (PLACES.index(p[0]), everyone.index(p[1])))
        for place in PLACES:
            assert sum(place == p for p, _ in pairs) >= 2
        for optimizer in everyone:
            assert len({p for p, o in pairs if o == optimizer}) >= 2
        assert pairs == some_pairs(PLACES, everyone, seed=str(number), more=6)
        differ.add(tuple(pairs))
    assert len(differ) == 200
    assert len(set().union(*differ)) == len(PLACES) * len(everyone), "each pair has its day"


def test_the_quick_pairs_are_the_same_in_every_process():
    code = "from tests.helpers import some_pairs; print(some_pairs('abc', 'xy', seed='1', more=1))"
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PYTHONHASHSEED": hashing},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hashing in ("1", "2")
    ]
    assert found[0] == found[1] == f"{some_pairs('abc', 'xy', seed='1', more=1)}\n"


@pytest.mark.parametrize(
    ("place", "optimizer"), PAIRS, ids=[f"{'-'.join(place)}-{name}" for place, name in PAIRS]
)
def test_problems_with_optimizers(place, optimizer, noise, tmp_path):
    """One interruption anywhere; both protocols for those that are cheap, else one of the two.

    Every problem with two optimizers and every optimizer with two problems, and a few more pairs,
    other ones with every commit; all of them with `scripts/test --all`.
    """
    del noise
    problem, init = place
    draws = random.Random(f"{problem} {init} {optimizer}")
    protocols = ["default", "deepobs-2019"]
    is_cheap = problem.startswith(("digits", "quadratic"))
    batch = 128 if is_cheap else 2
    for protocol in protocols if is_cheap else [draws.choice(protocols)]:
        run = make_run(problem, optimizer, init=init, protocol=protocol, batch_size=batch)
        whole = attempt(run, tmp_path / protocol)
        folder = tmp_path / f"{protocol}-pieces"
        folder.mkdir()
        assert same(whole, in_pieces(run, folder, [draws.randint(1, whole["boundaries"])]))


@pytest.mark.parametrize("protocol", ["default", "deepobs-2019"])
def test_at_every_boundary_of_a_short_run(protocol, tmp_path):
    """In the estimate, after it, before and after an evaluation, and before the next estimate."""
    run = make_run("quadratic_deep", "PreconditionedSGD", protocol=protocol)
    whole = attempt(run, tmp_path / "whole")
    assert whole["boundaries"] == 2 * (7 + 1)
    for boundary in range(1, 2 * (7 + 1) + 1):
        folder = tmp_path / str(boundary)
        folder.mkdir()
        assert same(whole, in_pieces(run, folder, [boundary]))


def test_around_an_evaluation_where_randomness_is_carried_along(noise, tmp_path):
    """Replayed: before it the augmentation of the whole epoch has been drawn, and has to be again."""
    del noise
    run = make_run("cifar10_3c3d", "SGD", protocol="deepobs-2019", batch_size=2)
    whole = attempt(run, tmp_path / "whole")
    for boundary in (1 + 5, 1 + 6, 1 + 6 + 1):
        folder = tmp_path / str(boundary)
        folder.mkdir()
        assert same(whole, in_pieces(run, folder, [boundary]))


_WHOLE = {}


def whole_of(run):
    """What the run comes to in one go."""
    if run.id not in _WHOLE:
        with tempfile.TemporaryDirectory() as folder:
            _WHOLE[run.id] = attempt(run, Path(folder) / "whole")
    return _WHOLE[run.id]


RUNS = st.builds(
    make_run,
    st.sampled_from(["digits_mlp", "digits_2c2d", "quadratic_deep"]),
    st.sampled_from(sorted(OPTIMIZERS)),
    protocol=st.sampled_from(["default", "deepobs-2019"]),
    seed=st.sampled_from([42, 43]),
    batch_size=st.sampled_from([64, 128]),
)


@settings(max_examples=400 if ALL else 10, deadline=None)
@given(
    run=RUNS,
    leave_at=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    tear=st.booleans(),
    every=st.sampled_from([math.inf, 0]),
)
def test_any_number_of_interruptions_and_torn_files(run, leave_at, tear, every):
    """Several attempts in a row, some of which lose their newest generation."""
    whole = whole_of(run)
    leave_at = _within(leave_at, whole["boundaries"])
    with tempfile.TemporaryDirectory() as folder:
        pieces = in_pieces(run, Path(folder), leave_at, tear=tear, every=every)
    assert same(whole, pieces)
    assert pieces["resumes"] == len(leave_at)


def _within(leave_at, boundaries):
    """As many of the pieces as fit into the run, torn files included."""
    kept, total = [], 0
    for boundary in leave_at:
        total += boundary
        if total <= boundaries:
            kept.append(boundary)
    return kept


def test_nothing_that_diverged_is_saved(tmp_path):
    """Where the host looks at the losses only now and then, a checkpoint looks first."""
    run = replace(make_run("digits_mlp", "SGD"), hyperparameters={"lr": 1e4})
    whole = attempt(run, tmp_path / "whole")
    bad = whole["stop"]["step"]
    assert whole["stop"]["reason"] == "nonfinite_loss"
    late = attempt(run, tmp_path / "late", leave_at=bad + 3, look_every=10)
    assert (late["stop"], late["curves"]) == (whole["stop"], whole["curves"])
    assert attempt(run, tmp_path / "early", leave_at=bad + 1, look_every=10) is None


def test_what_a_users_optimizer_draws_depends_on_the_seed_and_goes_on(tmp_path, monkeypatch):
    real = torch.optim.SGD.step

    def noisy(self, closure=None):
        real(self, closure)
        with torch.no_grad():
            for p in self.param_groups[0]["params"]:
                scale = random.gauss() + np.random.standard_normal()  # noqa: NPY002 - as users do
                p.add_(torch.randn_like(p), alpha=1e-3 * scale)

    monkeypatch.setattr(torch.optim.SGD, "step", noisy)
    run = make_run("digits_mlp", "SGD")
    whole = attempt(run, tmp_path / "whole")
    torch.randn(1)
    random.random()
    assert same(whole, attempt(run, tmp_path / "again"))
    (tmp_path / "pieces").mkdir()
    assert same(whole, in_pieces(run, tmp_path / "pieces", [3, 9]))
    other = attempt(replace(run, seed=43), tmp_path / "other")
    assert other["curves"]["test_loss"][1] != whole["curves"]["test_loss"][1]


def test_a_state_that_is_refused_means_a_fresh_start(tmp_path, monkeypatch, caplog):
    run = make_run("digits_mlp", "Momentum")
    assert attempt(run, tmp_path / "1", leave_at=5) is None

    def refuse(*_):
        raise NotImplementedError("no loading here")

    monkeypatch.setattr(torch.optim.SGD, "load_state_dict", refuse)
    found = attempt(run, tmp_path / "2", tmp_path / "1")
    assert found["resumes"] == 0
    assert same(whole_of(run), found)
    assert "checkpoint-a.pt skipped: NotImplementedError: no loading here" in caplog.text
    assert "starts anew: a checkpoint cannot be restored: NotImplementedError" in caplog.text


def test_a_state_that_cannot_be_saved_keeps_no_run_from_its_end(tmp_path, monkeypatch, caplog):
    run = make_run("digits_mlp", "SGD")
    monkeypatch.setattr(torch.optim.SGD, "state_dict", lambda _: {"state": {}, "f": lambda: 0})
    with caplog.at_level(logging.WARNING):
        assert attempt(run, tmp_path / "1", leave_at=5) is None
    assert "no checkpoint: cannot be saved" in caplog.text
    assert not AttemptFiles(tmp_path / "1").checkpoint_files[0].exists()


# From here on: real processes.

LONG = make_run(
    "digits_2c2d", "PreconditionedSGD", protocol="deepobs-2019", batch_size=32, epochs=6
)


to_compare = pytest.mark.xdist_group("undisturbed")
"""Of the tests that use `undisturbed`: it is trained once."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return execute.execute(LONG, data=None, out=AttemptFiles(tmp_path_factory.mktemp("whole")))


def start(out, *resume, options=()):
    """The command, in the background."""
    out.path.mkdir()
    file = out.path / "run.json"
    file.write_bytes(files.to_json(LONG.to_json()))
    earlier = [word for before in resume for word in ("--resume", str(before.path))]
    command = [sys.executable, "-m", "jobs.train", str(file), "--out", str(out.path)]
    with (out.path / "log").open("wb") as log_file:
        return subprocess.Popen([*command, *earlier, *options], stdout=log_file, stderr=log_file)


def wait_for_lines(out, count, process):
    def are_there():
        found = len(files.read_lines(out.progress_file)) >= count
        assert found or process.poll() is None, (out.path / "log").read_text()
        return found

    wait_for(are_there, pause=0.01, what=f"{count} lines of progress")


def check(out, undisturbed, resumes):
    outcome = json.loads(out.outcome_file.read_bytes())
    for key in ("id", "run", "outcome", "stop", "curves"):
        assert outcome[key] == undisturbed[key]
    assert outcome["time"]["steps"] == undisturbed["time"]["steps"]
    assert outcome["provenance"]["resumes"] == resumes
    for name, phase in outcome["cost"].items():
        if isinstance(phase, dict):
            counts = ("forward", "backward", "hvp")
            assert [phase[c] for c in counts] == [undisturbed["cost"][name][c] for c in counts]
    return outcome


def interrupted(tmp_path, number, count, before):
    """An attempt that signals stopped somewhere; one that was quicker than they is begun again."""
    for attempt in range(20):
        out = AttemptFiles(tmp_path / f"{number.name}-{attempt}")
        process = start(out, *reversed(before))
        wait_for_lines(out, 1 + len(before), process)  # it listens after its `resumed`
        time.sleep(random.uniform(0, 0.1))
        for _ in range(count):
            process.send_signal(number)
        code = process.wait(60)
        if code == 75:
            return out
        assert code == 0
    raise AssertionError("each attempt ended before the signals came")


@to_compare
def test_signals_to_a_real_process(undisturbed, tmp_path):
    """SIGTERM, then SIGUSR2 twice, each somewhere in the training; then to the end."""
    outs = []
    for index, number in enumerate((signal.SIGTERM, signal.SIGUSR2)):
        outs.append(interrupted(tmp_path, number, 1 + index, outs))
        last = files.read_lines(outs[index].progress_file)[-1]
        assert last["checkpoint"] in {"checkpoint-a.pt", "checkpoint-b.pt"}
        assert last["steps"] == 6 * 37
    outs.append(AttemptFiles(tmp_path / "end"))
    process = start(outs[2], outs[1], outs[0])
    assert process.wait(60) == 0
    outcome = check(outs[2], undisturbed, resumes=2)
    first = files.read_lines(outs[0].progress_file)[0]["time"]
    assert outcome["provenance"]["started"] < first
    resumed, *_, end = files.read_lines(outs[2].progress_file)
    assert Path(resumed["resumed"]).parent == outs[1].path
    assert (end["epoch"], end["step"]) == (6, 6 * 37)
    assert end["epoch_s"] > 0


@to_compare
def test_killed_twice_and_torn(undisturbed, tmp_path):
    """SIGKILL while checkpoints are written after every step; the second time the newest is torn."""
    outs = [AttemptFiles(tmp_path / str(number)) for number in range(3)]
    for index in range(2):
        process = start(outs[index], *reversed(outs[:index]), options=["--checkpoint-every", "0"])
        wait_for_lines(outs[index], random.randint(4, 40), process)
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
    newest = max(outs[1].checkpoint_files, key=lambda path: path.stat().st_mtime_ns)
    newest.write_bytes(newest.read_bytes()[:-1])
    process = start(outs[2], outs[1], outs[0])
    assert process.wait(60) == 0
    check(outs[2], undisturbed, resumes=2)
    assert f"{newest} skipped: torn" in (outs[2].path / "log").read_text()


def test_a_signal_before_the_training_begins(tmp_path):
    """It is heard, even if it comes before Python has started: a launcher blocks it until then."""
    out = AttemptFiles(tmp_path / "0")
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        process = start(out)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    process.terminate()
    assert process.wait(60) == 75
    assert sorted(path.name for path in out.path.iterdir()) == ["log", "run.json"]
