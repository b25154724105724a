"""What the kernel's memory controller says, read from made files of both versions."""

from pathlib import Path

import pytest

from jobs.node import cgroup


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """Makes `/proc/self/cgroup` and the groups' files below a folder of its own."""
    root = tmp_path / "cgroup"
    monkeypatch.setattr(cgroup, "_MEMBERSHIP", tmp_path / "self")
    monkeypatch.setattr(cgroup, "_ROOTS", (root, root / "unified", root / "memory"))

    def make(membership: str, files: dict[str, str]) -> Path:
        (tmp_path / "self").write_text(membership)
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        return root

    return make


V1 = "memory.oom_control"
V2 = "memory.events"


def v1(count: int) -> str:
    return f"oom_kill_disable 0\nunder_oom 0\noom_kill {count}\n"


def v2(count: int) -> str:
    return f"low 0\nhigh 0\nmax 17\noom 3\noom_kill {count}\noom_group_kill 9\n"


def test_version_1_counts_in_the_own_group(kernel):
    kernel(
        "9:cpu,cpuacct:/slurm/uid_0/job_7\n4:memory:/slurm/uid_0/job_7/step_batch/task_0\n",
        {f"memory/slurm/uid_0/job_7/step_batch/task_0/{V1}": v1(1)},
    )
    assert cgroup.oom_kills() == 1


def test_version_1_counts_in_the_group_that_has_slurms_limit(kernel):
    job = "memory/slurm/uid_0/job_7/step_batch"
    kernel(
        "4:memory:/slurm/uid_0/job_7/step_batch/task_0\n",
        {f"{job}/task_0/{V1}": v1(0), f"{job}/{V1}": v1(2)},
    )
    assert cgroup.oom_kills() == 2


def test_version_2_counts_in_any_group_around_it(kernel):
    job = "system.slice/slurmstepd.scope/job_7"
    kernel(
        "0::/system.slice/slurmstepd.scope/job_7/step_batch/user/task_0\n",
        {f"{job}/step_batch/user/task_0/{V2}": v2(0), f"{job}/{V2}": v2(4)},
    )
    assert cgroup.oom_kills() == 4


def test_version_2_beside_version_1_is_found_below_unified(kernel):
    kernel(
        "4:memory:/job_7\n0::/job_7\n",
        {f"memory/job_7/{V1}": v1(0), f"unified/job_7/{V2}": v2(1)},
    )
    assert cgroup.oom_kills() == 1


def test_other_controllers_and_other_jobs_do_not_count(kernel):
    kernel(
        "9:cpu,cpuacct:/job_8\n4:memory:/job_7\n",
        {
            f"memory/job_7/{V1}": v1(0),
            f"memory/job_8/{V1}": v1(5),
            f"job_8/{V2}": v2(5),
        },
    )
    assert cgroup.oom_kills() == 0


def test_the_roots_own_count_is_the_machines_not_the_jobs(kernel):
    kernel("4:memory:/\n0::/\n", {f"memory/{V1}": v1(9), V2: v2(9)})
    assert cgroup.oom_kills() == 0


def test_the_count_of_group_kills_is_not_taken_for_it(kernel):
    kernel("0::/job_7\n", {f"job_7/{V2}": "oom_group_kill 3\noom_kill 0\n"})
    assert cgroup.oom_kills() == 0


@pytest.mark.parametrize("text", ["", "oom_kill_disable 0\nunder_oom 0\n", "oom_kill many\n"])
def test_a_kernel_that_does_not_count_says_nothing(kernel, text):
    kernel("4:memory:/job_7\n", {f"memory/job_7/{V1}": text})
    assert cgroup.oom_kills() == 0


def test_a_killed_process_is_seen_as_a_difference(kernel):
    root = kernel("0::/job_7\n", {f"job_7/{V2}": v2(2)})
    before = cgroup.oom_kills()
    (root / "job_7" / V2).write_text(v2(3))
    assert cgroup.oom_kills() - before == 1


def test_without_groups_there_is_nothing(kernel):
    kernel("0::/gone\n", {})
    assert cgroup.oom_kills() == 0


def test_without_proc_there_is_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(cgroup, "_MEMBERSHIP", tmp_path / "none")
    assert cgroup.oom_kills() == 0


def test_this_machine_can_be_read():
    assert cgroup.oom_kills() >= 0
