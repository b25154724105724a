"""An execution says how runs are trained on a node; the plan of their submission determines it."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from containers import command
from jobs.profile import Unstaged
from jobs.store.store import Store
from jobs.store.submission_plan import Group, Plan, Sealed


@dataclass(frozen=True, kw_only=True)
class Execution:
    """The settings by which the runs of one group are trained on a node."""

    data: Path | None
    code_file: Path  # the snapshot of the submitted code
    own: tuple[str, ...] = ()  # folders inside it that hold the user's own code
    python: str = sys.executable
    threads: int = 1
    gpu: str = ""  # as CUDA_VISIBLE_DEVICES names it
    needs_gpu: bool = False
    checkpoint_every: int = 600  # seconds
    max_attempts: int = 20
    requeues: frozenset[str] = frozenset()  # the failure classes after which a run is queued again
    scratch: str | None = None  # a folder of the node; may hold variables
    submission: int = 0
    code: Mapping[str, Any] = field(default_factory=dict)  # commit, dirty, snapshot
    image: Sealed | None = None  # None: in this machine's Python
    stage_image: bool = False  # copy the image to scratch, too
    environment: Mapping[str, str] = field(default_factory=dict)  # variables of all trainings
    datasets: Mapping[str, Sealed] = field(default_factory=dict)  # by name; others are searched
    own_data: str | None = None  # name in `datasets` of the data that own problems read
    unverified: str | None = None  # why the own problems' data has no manifest
    unstaged: Unstaged = "in_place"


def execution_of(store: Store, number: int, plan: Plan, group: Group, gpu: str) -> Execution:
    """The execution of a group of a submission, by its plan."""
    code, profile = plan.code, plan.profile
    return Execution(
        data=plan.data,
        code_file=store.code / code.file,
        own=code.own,
        python=profile.python or (command.PYTHON if plan.image else sys.executable),
        threads=group.threads,
        gpu=gpu,
        needs_gpu=group.needs_gpu,
        checkpoint_every=profile.checkpoint_every,
        max_attempts=profile.max_attempts,
        requeues=frozenset(
            failure for failure, action in profile.policy.items() if action == "requeue"
        ),
        scratch=profile.scratch,
        submission=number,
        code={"commit": code.commit, "dirty": code.dirty, "snapshot": code.sha256},
        image=plan.image,
        stage_image=profile.stage_image,
        environment=profile.environment,
        datasets=plan.sealed.datasets,
        own_data=plan.sealed.own_data,
        unverified=plan.sealed.unverified,
        unstaged=profile.unstaged,
    )
