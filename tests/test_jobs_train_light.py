"""The light training of the tests and `jobs.train` do the same: one list of checks for both.

Both are started as a launcher starts them, by `tests/trainer.py`; one of them is `jobs.train` itself.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from jobs import files
from jobs.datasets import find
from jobs.datasets.catalog import DATASETS
from jobs.store import record
from jobs.store.attempts import AttemptFiles
from tests import trainer
from tests.helpers import make_run, wait_for

pytestmark = pytest.mark.xdist_group("train_light")

RUN = make_run(hyperparameters={"lr": 0.05}, epochs=2)
ENDLESS = FREE = 10**6


class Command:
    """One of the two, and where it trains: each attempt in a folder of its own, as on a node."""

    def __init__(self, trained_by: str, folder: Path) -> None:
        self.trained_by = trained_by
        self.folder = folder
        self.hold = folder / "hold"

    def out(self, fence: int, run=RUN) -> AttemptFiles:
        return AttemptFiles(self.folder / run.id / "attempts" / f"{fence:04d}")

    def start(self, fence=1, run=RUN, *, options=(), resume=(), environment=None, **more):
        """Start an attempt; the process."""
        out = self.out(fence, run)
        out.path.mkdir(parents=True)
        file = out.path.parent / "run.json"
        file.write_bytes(files.to_json(run.to_json()))
        words = [word for before in resume for word in ("--resume", str(before.path))]
        variables = {
            "PROBPREC_TEST_TRAINER": self.trained_by,
            "PROBPREC_TEST_HOLD": str(self.hold),
            "PYTHONPATH": f"{Path(trainer.__file__).parent.parent}:{self.folder}",
        }
        with out.log_file.open("wb") as log:
            return subprocess.Popen(
                [
                    *(sys.executable, trainer.__file__, "-m", "jobs.train", str(file)),
                    *("--out", str(out.path), *words, *options),
                ],
                env={**os.environ, **variables, **(environment or {})},
                stdout=log,
                stderr=log,
                **more,
            )

    def train(self, fence=1, run=RUN, *, code=0, **more) -> AttemptFiles:
        """Train to the end of the process, which must have that exit code."""
        process = self.start(fence, run, **more)
        process.wait(600)
        out = self.out(fence, run)
        assert process.returncode == code, out.log_file.read_text()
        return out

    def wait_held(self, fence=1, run=RUN, *, step) -> None:
        """Until it waits at the step of the hold."""
        at = Path(f"{self.hold}.at") / f"{run.id}.{fence}"
        wait_for(lambda: at.exists() and at.read_text() == str(step), what=f"held at {step}")


@pytest.fixture(params=["light", "torch"])
def command(request, tmp_path):
    return Command(request.param, tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Of each of the two: the outcome of `RUN` in one go, and its lines of progress."""
    found = {}

    def of(trained_by):
        if trained_by not in found:
            out = Command(trained_by, tmp_path_factory.mktemp(trained_by)).train()
            assert not out.error_file.exists()
            found[trained_by] = outcome(out), files.read_lines(out.progress_file)
        return found[trained_by]

    return of


def outcome(out):
    content = json.loads(out.outcome_file.read_bytes())
    record.parse(content)
    return content


def assert_same(out, undisturbed, *, resumes):
    found = outcome(out)
    for key in ("id", "run", "outcome", "stop", "curves"):
        assert found[key] == undisturbed[key], key
    assert found["time"]["steps"] == undisturbed["time"]["steps"]
    assert found["provenance"]["resumes"] == resumes


def test_they_leave_the_same_keys(whole):
    """In the record and in the progress; and their series have the same lengths."""
    (light, light_lines), (torch, torch_lines) = whole("light"), whole("torch")

    assert light.keys() == torch.keys()
    assert light["stop"] == torch["stop"]
    for part in ("curves", "time", "provenance", "cost"):
        assert light[part].keys() == torch[part].keys()
    for name, series in torch["curves"].items():
        assert len(light["curves"][name]) == len(series), name
    for phase in ("setup", "train", "eval", "estimate", "apply"):
        assert light["cost"][phase].keys() == torch["cost"][phase].keys()
    assert light["time"]["steps"] == torch["time"]["steps"] == [0, 37, 74]
    assert light["curves"]["minibatch_loss"]["step"] == torch["curves"]["minibatch_loss"]["step"]
    assert [line.keys() for line in light_lines] == [line.keys() for line in torch_lines]
    for name in ("epoch", "epochs", "step", "steps"):
        assert [line[name] for line in light_lines] == [line[name] for line in torch_lines]


def test_what_is_expected_of_the_light_one_is_what_it_leaves(whole):
    light, _ = whole("light")

    assert trainer.expected(RUN) == {key: light[key] for key in ("outcome", "stop", "curves")}


def test_told_to_stop_it_leaves_a_checkpoint_and_goes_on(command, whole):
    """By SIGTERM, then by SIGUSR2; then to the end."""
    earlier = []
    for fence, (step, number) in enumerate(((20, signal.SIGTERM), (40, signal.SIGUSR2)), 1):
        command.hold.write_text(str(step))
        process = command.start(fence, resume=earlier)
        command.wait_held(fence, step=step)
        process.send_signal(number)
        assert process.wait(600) == 75
        out = command.out(fence)
        assert not out.outcome_file.exists()
        assert not out.error_file.exists()
        last = files.read_lines(out.progress_file)[-1]
        assert (last["checkpoint"], last["step"]) == ("checkpoint-a.pt", step)
        earlier = [out, *earlier]
    command.hold.unlink()

    end = command.train(3, resume=earlier)

    assert_same(end, whole(command.trained_by)[0], resumes=2)
    first, *_ = files.read_lines(end.progress_file)
    assert first["resumed"] == str(earlier[0].checkpoint_files[0])


def test_a_torn_checkpoint_costs_one_generation_two_cost_all(command, whole):
    """Killed after each step has been written down; then the newer file is torn, then both are."""
    command.hold.write_text("9")
    process = command.start(options=["--checkpoint-every", "0"])
    command.wait_held(step=9)
    wait_for(lambda: all(path.exists() for path in command.out(1).checkpoint_files))
    process.kill()
    process.wait(600)
    command.hold.unlink()
    first = command.out(1)
    older, newer = sorted(first.checkpoint_files, key=lambda path: path.stat().st_mtime_ns)

    for fence, path, resumes in ((2, newer, 1), (3, older, 0)):
        path.write_bytes(path.read_bytes()[:-9])
        out = command.train(fence, resume=[first])
        assert_same(out, whole(command.trained_by)[0], resumes=resumes)
        assert f"checkpoint {path} skipped: torn" in out.log_file.read_text()
    assert "starts anew: no checkpoint can be read" in out.log_file.read_text()


def test_a_checkpoint_of_another_run_is_not_used(command):
    other = replace(RUN, seed=43)
    command.hold.write_text("5")
    process = command.start()
    command.wait_held(step=5)
    process.terminate()
    assert process.wait(600) == 75
    command.hold.unlink()

    out = command.train(run=other, resume=[command.out(1)])

    assert outcome(out)["provenance"]["resumes"] == 0
    assert f"is of run {RUN.id}" in out.log_file.read_text()


def test_a_checkpoint_that_was_made_otherwise_is_not_used(command, whole):
    """In another image; the training starts anew and says why."""
    images = ["a" * 64, "b" * 64]
    command.hold.write_text("20")
    process = command.start(options=["--image", images[0]])
    command.wait_held(step=20)
    process.terminate()
    assert process.wait(600) == 75
    command.hold.unlink()
    first = command.out(1)

    out = command.train(2, resume=[first], options=["--image", images[1]])
    assert_same(out, whole(command.trained_by)[0], resumes=0)
    words = "not from the checkpoint after step 20: the image is bbbbbbbbbbbb, was aaaaaaaaaaaa"
    assert files.read_lines(out.progress_file)[0]["anew"] == words
    assert words in out.log_file.read_text()

    out = command.train(3, resume=[first], options=["--image", images[0]])
    assert_same(out, whole(command.trained_by)[0], resumes=1)


def test_a_record_names_what_made_it(whole, command):
    """The toolkit's modules that were imported, packages with their versions."""
    found = whole(command.trained_by)[0]["provenance"]

    assert found["training_code"]
    assert found["own_code"] == {}
    assert found["packages"]["python"] == ".".join(map(str, sys.version_info[:2]))


def test_no_epoch_is_begun_that_would_not_end_in_time(command):
    """The one that is under way ends; there is a checkpoint."""
    endless = replace(RUN, epochs=ENDLESS)
    out = command.train(run=endless, code=75, options=["--until", "1"])

    last = files.read_lines(out.progress_file)[-1]
    assert last["epoch"] == 1
    assert last["checkpoint"] == "checkpoint-a.pt"


def test_a_divergence_is_an_outcome(command):
    found = outcome(command.train(run=replace(RUN, hyperparameters={"lr": 1e4})))

    assert found["outcome"] == "diverged"
    assert found["stop"]["reason"] == "nonfinite_loss"
    assert found["stop"]["epoch"] == 1
    assert len(found["curves"]["test_loss"]) == 1
    assert found["time"] == {"wall_s": [0.0], "cpu_s": [0.0], "steps": [0]}
    assert all(step < found["stop"]["step"] for step in found["curves"]["minibatch_loss"]["step"])


def test_what_fails_is_named(command):
    """A package that the user's own module lacks, and data that is not the original."""
    (command.folder / "broken.py").write_text("import no_such_package\n")
    out = command.train(1, replace(RUN, optimizer="broken.Broken"), code=1)
    assert json.loads(out.error_file.read_bytes())["failure"] == "import_error"

    (file,) = DATASETS["digits"].files
    original = find.locate(find.find("digits"), file, DATASETS["digits"].suffixes)
    flipped = command.folder / "flipped"
    flipped.mkdir()
    content = bytearray(find.read_verified(original, file))
    content[len(content) // 2] ^= 1
    (flipped / file.name).write_bytes(content)
    out = command.train(2, code=1, options=["--data", str(flipped)])
    assert json.loads(out.error_file.read_bytes())["failure"] == "bad_data"
    assert not out.outcome_file.exists()


def test_a_signal_before_the_training_begins_ends_it(command):
    """A launcher blocks it until it is listened to."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        process = command.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    process.terminate()

    assert process.wait(600) == 75
    assert not command.out(1).progress_file.exists()


def test_it_ends_with_its_launcher(command):
    """In a container, too, where only the end of its input tells."""
    command.hold.write_text("3")
    process = command.start(options=["--die-with-parent"], stdin=subprocess.PIPE)
    command.wait_held(step=3)
    process.stdin.close()

    assert process.wait(600) == -signal.SIGKILL


@pytest.mark.skipif(os.getuid() != 0, reason="a file system of its own takes root")
def test_where_nothing_can_be_written_the_exit_code_says_so(command):
    full = command.folder / RUN.id
    full.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "probprec", full], check=True)
    try:
        command.hold.write_text("3")
        process = command.start()
        command.wait_held(step=3)
        with (full / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(512))
        process.terminate()
        assert process.wait(600) == 73
    finally:
        subprocess.run(["umount", "--lazy", full], check=True)


def test_the_light_one_needs_no_torch(tmp_path):
    for name in ("torch", "numpy", "scipy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not wanted')\n")

    Command("light", tmp_path).train()
