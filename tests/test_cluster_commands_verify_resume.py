"""`verify-resume`: equal where all state is saved, and in plain words what differs where it is not."""

import json
import subprocess
import sys
import textwrap

import pytest

from cluster.commands import verify_resume
from jobs.spec import SpecError
from jobs.sweep import Run
from jobs.training import origin, trace

OWN = """
    import collections

    import torch


    class Hidden(torch.optim.SGD):
        '''Momentum that state_dict() knows nothing of.'''

        velocity = None

        @torch.no_grad()
        def step(self, closure=None):
            grads = [p.grad.clone() for p in self.param_groups[0]["params"]]
            old = self.velocity or [0 * g for g in grads]
            self.velocity = [0.9 * v + g for v, g in zip(old, grads)]
            for p, v in zip(self.param_groups[0]["params"], self.velocity):
                p -= 0.01 * v


    class Foreign(torch.optim.SGD):
        '''State of a kind that no checkpoint can hold.'''

        def step(self, closure=None):
            super().step(closure)
            for p in self.param_groups[0]["params"]:
                self.state[p]["history"] = collections.deque([1])


    class Refusing(torch.optim.SGD):
        def load_state_dict(self, state):
            raise NotImplementedError("no loading here")
"""
SPEC = """\
name: own
code: [.]
problems: [quadratic_deep]
optimizers:
  Hidden: {optimizer: own.Hidden, lr: 0.01}
  Foreign: {optimizer: own.Foreign, lr: 0.01}
  Refusing: {optimizer: own.Refusing, lr: 0.01}
  Preconditioned: {optimizer: PreconditionedSGD, prior_iterations: 3, num_observations: 3}
seeds: 42..43
epochs: 50
"""


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "own.py").write_text(textwrap.dedent(OWN))
    (tmp_path / "own.yaml").write_text(SPEC)
    return tmp_path / "own.yaml"


@pytest.fixture
def in_process(monkeypatch, caplog, spec):
    """The traced trainings run here: quick, and without the start of a process for each."""
    monkeypatch.syspath_prepend(spec.parent)

    def run(command, **_):
        caplog.clear()
        code = trace.main(command[3:])
        return subprocess.CompletedProcess(command, code, "", caplog.text)

    monkeypatch.setattr(verify_resume.subprocess, "run", run)
    yield
    sys.modules.pop("own", None)  # it is not another test's
    origin._origin.cache_clear()  # nor what is remembered of it


def test_what_differs_is_named_by_real_processes(spec, capsys):
    run_id = verify_resume.specs.load(spec).runs[0].run.id
    assert verify_resume.verify(spec, [], run=run_id, as_json=True) == 1
    report = json.loads(capsys.readouterr().out)
    (hidden,) = report["runs"]
    first = hidden["interrupted_after"][0]

    assert not hidden["equal"]
    assert f"resumed at step {first} to exactly what was saved" in hidden["finding"]
    assert f"after step {first + 1} there differ model weights 'theta'" in hidden["finding"]
    assert "does the optimizer keep state outside state_dict()?" in hidden["finding"]
    assert "not restored: velocity." in hidden["finding"]


def test_what_is_equal_is_said_to_be_by_real_processes(spec, capsys, monkeypatch):
    monkeypatch.setattr(verify_resume, "INTERRUPTIONS", 1)
    run_id = verify_resume.specs.load(spec).runs[-1].run.id
    assert verify_resume.verify(spec, [], run=run_id[:8], as_json=False) == 0
    shown = capsys.readouterr().out
    assert run_id in shown
    assert "shortened to 2 epochs of at most 25 steps" in shown
    assert "equal" in shown


def test_a_run_of_each_pair_is_verified(spec, capsys, in_process):
    del in_process
    assert verify_resume.verify(spec, ["seeds=43"], run=None, as_json=True) == 1
    found = {run["optimizer"]: run for run in json.loads(capsys.readouterr().out)["runs"]}

    assert list(found) == ["Hidden", "Foreign", "Refusing", "Preconditioned"]
    assert [run["equal"] for run in found.values()] == [False, False, False, True]
    foreign = found["Foreign"]["finding"]
    assert foreign.startswith("cannot be interrupted: cannot be loaded: it holds collections.deque")
    refusing = found["Refusing"]["finding"]
    assert refusing == "cannot be gone on from: NotImplementedError: no loading here"
    assert found["Preconditioned"]["finding"] is None
    assert found["Preconditioned"]["steps"] == 14
    assert len(found["Preconditioned"]["interrupted_after"]) == 3


def test_an_unknown_run_is_refused(spec):
    with pytest.raises(SpecError, match="no run 'zzz'"):
        verify_resume.verify(spec, [], run="zzz", as_json=False)


def test_a_run_that_fails_says_why(spec, capsys, in_process):
    """A step size that the class refuses."""
    del in_process
    overrides = ["optimizers.Hidden.lr=-1"]
    run_id = verify_resume.specs.load(spec, overrides).runs[0].run.id
    assert verify_resume.verify(spec, overrides, run=run_id, as_json=False) == 1
    assert (
        "Hidden on quadratic_deep: ValueError: Invalid learning rate: -1" in capsys.readouterr().out
    )


def test_a_state_that_is_not_laid_out_as_torch_does_it_has_names_too():
    state = {"state": {"k": 3, 0: {"z": 1}}, "param_groups": [{"lr": 0.1}], "slow": [1, 2]}
    assert dict(trace._state_of_optimizer(state)) == {
        "optimizer state 'k'": 3,
        "optimizer state 'z' of parameter 0": 1,
        "optimizer setting 'lr' of group 0": 0.1,
        "optimizer state 'slow'": [1, 2],
    }


def test_interruptions_are_the_same_each_time_and_within_the_run():
    run = Run(problem="p", optimizer="o", hyperparameters={}, seed=1, epochs=2, batch_size=1)
    assert verify_resume.interruptions(run, 50) == verify_resume.interruptions(run, 50)
    for steps in range(1, 60):
        found = verify_resume.interruptions(run, steps)
        assert len(set(found)) == len(found) == min(3, steps - 1)
        assert all(1 <= step < steps for step in found)
