"""Profiles: the shipped ones, every mistake with its position, and the options of sbatch."""

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from cluster.profile import sbatch_options
from cluster.profile.find import load
from cluster.profile.sbatch_parameters import sbatch_parameters
from cluster.slurm import site
from cluster.submit import batch_script
from containers.training import Training
from containers.variables import why_reserved
from jobs.errors import InputError
from jobs.failure import FailureClass
from jobs.profile import LOCAL, POLICY, Limits, Profile
from jobs.resources import Resources
from jobs.spec import SpecError
from jobs.staging import scratch
from jobs.store.store import Store
from jobs.store.submission_plan import Chunk, FeederJob, Group, Task

CLUSTERS = Path(__file__).parents[1] / "configs" / "clusters"

FULL = """\
engine: slurm
resources: {partition: 'day,week', cpus: 4, mem: 1.5G, time: 1-00:00:00, runs_per_task: 2}
scratch: /scratch/$USER/$SLURM_JOB_ID
data: ../data
python: /opt/python
setup: [module load cuda, ulimit -c 0]
environment: {OMP_PROC_BIND: 'true', LEVEL: 3}
job_name: mine
mail_type: END,FAIL
mail_user: me@example.org
throttle: 10
limits: {max_array: 1001, max_submit: 500}
signal_lead: 2min
checkpoint_every: 00:05:00
max_attempts: 5
policy: {timeout: time, cuda_oom: exclude}
options: {exclusive: true, nice: 100, licenses: 'a:1', time-min: 01:00:00}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder and a home without any profiles."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def mistakes_of(folder: Path, text: str) -> list[str]:
    file = write(folder / "x.yaml", text)
    with pytest.raises(SpecError) as caught:
        load(str(file))
    return [str(mistake).removeprefix(f"{file}:") for mistake in caught.value.mistakes]


def test_a_full_profile(tmp_path: Path) -> None:
    file = write(tmp_path / "clusters" / "mine.yaml", FULL)

    found = load(str(file))

    assert found == Profile(
        name="mine",
        engine="slurm",
        resources=Resources(partition="day,week", cpus=4, mem=1536, time=86400, runs_per_task=2),
        scratch="/scratch/$USER/$SLURM_JOB_ID",
        data=tmp_path / "data",
        python="/opt/python",
        setup=("module load cuda", "ulimit -c 0"),
        environment={"OMP_PROC_BIND": "true", "LEVEL": "3"},
        job_name="mine",
        mail_type="END,FAIL",
        mail_user="me@example.org",
        throttle=10,
        limits=Limits(max_array=1001, max_submit=500),
        signal_lead=120,
        checkpoint_every=300,
        max_attempts=5,
        policy={**POLICY, "timeout": "time", "cuda_oom": "exclude"},
        options={"exclusive": True, "nice": 100, "licenses": "a:1", "time-min": "01:00:00"},
        source=file,
    )
    assert Profile.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert found.threads_of(found.resources) == 2


PATHS = """\
engine: slurm
scratch: ~/$SLURM_JOB_ID/${NODE_DISK}
data: $PLACE/data
image: ${PLACE}/$PLACE/a.sif
python: ~/bin/python
environment: {A: $(echo hi), B: pa$$word, C: /scratch/$USER/t, D: '~', E: '`id`'}
"""


def test_one_rule_for_all_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` and variables are expanded where the path is used, once; other values are as written."""
    monkeypatch.setenv("PLACE", "/p $HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    found = load(str(write(tmp_path / "x.yaml", PATHS)))

    assert (found.data, found.image) == (Path("/p $HOME/data"), Path("/p $HOME//p $HOME/a.sif"))
    assert found.python == f"{tmp_path}/bin/python"
    assert found.scratch == "~/$SLURM_JOB_ID/${NODE_DISK}"
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert scratch.expanded(found.scratch) is None
    monkeypatch.setenv("NODE_DISK", "d")
    assert scratch.expanded(found.scratch) == tmp_path / "7" / "d"
    assert dict(found.environment) == {
        "A": "$(echo hi)",
        "B": "pa$$word",
        "C": "/scratch/$USER/t",
        "D": "~",
        "E": "`id`",
    }


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("data: $NOT_SET_HERE/x", "2:7: data: $NOT_SET_HERE in '$NOT_SET_HERE/x' is not set here"),
        ("image: ~nobody-here/x", "2:8: image: ~nobody-here in '~nobody-here/x' is no user's home"),
        ("python: $NOT_SET_HERE", "2:9: python: $NOT_SET_HERE in"),
        (
            "setup: ['#SBATCH --mem=4G']",
            "2:9: setup[0]: found '#SBATCH --mem=4G': an option of sbatch",
        ),
        ("scratch: x/$USER", "2:10: scratch: expected a path on the nodes"),
        ('data: "/a\\nb"', r"2:7: data: expected a path, found '/a\nb'"),
        ('scratch: "/a\\nb"', r"2:10: scratch: expected text that can be seen, found '\n'"),
        ("mail_user: a\u200bb", r"2:12: mail_user: expected text that can be seen, found '\u200b'"),
        ('options: {comment: "a\\nb"}', "2:20: options.comment: expected text that can be seen"),
        ("environment: {PYTHONPATH: /x}", "2:15: environment.PYTHONPATH: 'PYTHONPATH' names the"),
        ("environment: {OMP_NUM_THREADS: 4}", "2:15: environment.OMP_NUM_THREADS: 'OMP_NUM_"),
        ("environment: {MKL_NUM_THREADS: 4}", "a run; write `threads:`"),
        ("environment: {CUDA_VISIBLE_DEVICES: 0}", "write `resources: {gpus: ...}`"),
        ("environment: {TMPDIR: /x}", "write `scratch:`"),
        ("environment: {SLURM_CONF: /x}", "is Slurm's"),
        ("environment: {APPTAINER_BIND: /x}", "does not reach the image's runtime"),
    ],
)
def test_a_value_that_means_nothing(tmp_path: Path, line: str, said: str) -> None:
    (found,) = mistakes_of(tmp_path, f"engine: slurm\n{line}\n")

    assert said in found, found


def test_all_that_probprec_sets_is_refused() -> None:
    """What stands in a training's environment whatever the profile says."""
    started = Training(
        run_file=Path("/r"),
        out=Path("/o"),
        python="p",
        data=None,
        resume=[],
        until=None,
        checkpoint_every=1,
        manifest=None,
        image_sha256=None,
        code=Path("/code.zip"),
        own=[],
        threads=1,
        gpu="0",
        needs_gpu=False,
        scratch=Path("/s"),
        environment=dict.fromkeys(["MINE"], "kept"),
    ).command(None)
    changed = {
        name for name in started.environment if started.environment[name] != os.environ.get(name)
    }

    assert {name for name in changed - {"MINE"} if why_reserved(name) is None} == set()
    assert why_reserved("MINE") is None


def test_lines_of_setup_may_be_several(tmp_path: Path) -> None:
    text = "engine: slurm\nsetup:\n  - |\n    if true; then\n    \techo hi\n    fi\n"

    assert load(str(write(tmp_path / "x.yaml", text))).setup == ("if true; then\n\techo hi\nfi\n",)


def test_a_submission_of_an_older_version_has_the_defaults() -> None:
    assert Profile.from_json({"name": "a", "engine": "slurm"}) == Profile(name="a", engine="slurm")


def test_every_class_of_failures_has_an_action() -> None:
    assert set(POLICY) == set(get_args(FailureClass))


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("name", ["local", "lab", "tcml"])
def test_the_shipped_profiles(name: str) -> None:
    found = load(name)

    assert (found.name, found.source) == (name, CLUSTERS / f"{name}.yaml")
    assert Profile.from_json(json.loads(json.dumps(found.to_json()))) == found
    if name == "local":
        assert replace(found, source=None) == LOCAL


THESIS = {
    "job-name": "prec",
    "cpus-per-task": "4",
    "partition": "day",
    "mem-per-cpu": "3G",
    "gres": "gpu:1",
    "time": "03:30:00",
    "array": "43-51",
    "error": "job.%J.err",
    "output": "job.%J.out",
    "mail-type": "ALL",
    "mail-user": "the author's",
}
"""The #SBATCH lines of the thesis' batch file (appendix A.3)."""

EQUAL = {("mem-per-cpu", "3G"): "3072M"}
"""Values that we write in another way; to Slurm 1G is 1024M."""

OF_THE_SUBMISSION = {"array", "error", "output"}
OF_THE_USER = {"mail-user"}
OURS = {"signal": "B:USR2@90", "requeue": "True", "open-mode": "append"}
"""What the thesis' file did without: it lost a run that was interrupted."""


def options_of(script: str) -> dict[str, str]:
    """The options of a batch script, by name; `True` for one without a value."""
    lines = re.findall(r"^#SBATCH --([a-z-]+)(?:=(.*))?$", script, re.MULTILINE)
    options = {name: shlex.split(value)[0] if value else "True" for name, value in lines}
    assert len(options) == len(lines) == script.count("#SBATCH")
    return options


OF_NOBODY = {
    **OURS,
    "array": "0-1",
    "comment": "probprec-1",
    "job-name": "sweep",
    "nodes": "1",  # Slurm's default; a task never spans two
}
"""What is sent for whoever asks for nothing: what we need to find a job, stop it and go on."""


def array_of(count: int, resources: Resources) -> Chunk:
    """An array of so many tasks, which have no runs."""
    tasks: tuple[Task, ...] = ((),) * count
    group = Group(resources=resources, threads=1, needs_gpu=False, lead=60, tasks=tasks)
    return Chunk(token="probprec-1", first=0, count=count, group=group)


def test_what_nobody_asked_for_is_not_sent(tmp_path: Path) -> None:
    """Neither submitit's time limit of five minutes, nor a throttle."""
    profile = load(str(write(tmp_path / "empty.yaml", "engine: slurm\n")))
    store = Store(tmp_path / "sweep")
    chunk = array_of(2, Resources())

    options = options_of(batch_script.script_of(store, store.submission(1), profile, chunk))
    assert (options.pop("output"), options.pop("error")) == tuple(
        f"{tmp_path}/sweep/submitit/0001/%A_%a_0_log.{end}" for end in ("out", "err")
    )
    assert options == OF_NOBODY

    said = replace(profile, throttle=2, resources=Resources(time=60))
    chunk = array_of(2, said.resources)
    options = options_of(batch_script.script_of(store, store.submission(1), said, chunk))
    assert (options["array"], options["time"]) == ("0-1%2", "00:01:00")


@pytest.mark.usefixtures("home")
def test_tcml_asks_for_what_the_thesis_asked_for(tmp_path: Path) -> None:
    """The batch script of its nine seeds, option by option."""
    profile = load("tcml")
    store = Store(tmp_path / "exp1")
    chunk = array_of(9, profile.resources)

    script = batch_script.script_of(store, store.submission(1), profile, chunk)
    options = options_of(script)
    assert options.pop("array") == "0-8"  # 43-51: one element per seed
    assert options.pop("comment") == "probprec-1"
    assert options.pop("nodes") == "1"  # Slurm's default
    for name, end in (("error", ".err"), ("output", ".out")):
        assert options.pop(name).endswith(f"%A_%a_0_log{end}")
    found = sbatch_parameters(profile, profile.resources)
    assert options == {name: str(value) for name, value in found.items()}

    wanted = {
        name: EQUAL.get((name, value), value)
        for name, value in THESIS.items()
        if name not in OF_THE_SUBMISSION | OF_THE_USER
    }
    assert {name: str(value) for name, value in found.items()} == wanted | OURS
    theirs = replace(profile, mail_user="me@example.org")
    assert sbatch_parameters(theirs, profile.resources)["mail-user"] == "me@example.org"


def test_the_options_for_what_a_run_asks(tmp_path: Path) -> None:
    profile = load(str(write(tmp_path / "mine.yaml", FULL)))
    asked = profile.resources.merged(
        Resources(
            mem_per_cpu=500,
            gpus="a100:1,h100:2",
            account="a",
            qos="q",
            constraint="x|y",
            reservation="r",
            nodelist=("node1",),
            exclude=("node2", "node[3-4]"),
        )
    )

    assert sbatch_parameters(profile, asked) == {
        "job-name": "mine",
        "partition": "day,week",
        "account": "a",
        "qos": "q",
        "constraint": "x|y",
        "reservation": "r",
        "nodelist": "node1",
        "exclude": "node2,node[3-4]",
        "time": "1-00:00:00",
        "cpus-per-task": 4,
        "mem-per-cpu": "500M",
        "gres": "gpu:a100:1,gpu:h100:2",
        "mail-type": "END,FAIL",
        "mail-user": "me@example.org",
        "signal": "B:USR2@120",
        "requeue": True,
        "open-mode": "append",
        "exclusive": True,
        "nice": 100,
        "licenses": "a:1",
        "time-min": "01:00:00",
    }


def test_what_nobody_says_is_left_to_the_cluster() -> None:
    profile = Profile(name="a", engine="slurm")

    found = sbatch_parameters(profile, Resources(gpus=0, exclude=()))

    assert found == {"signal": "B:USR2@90", "requeue": True, "open-mode": "append"}
    assert profile.threads_of(Resources()) == 1
    assert profile.threads_of(Resources(cpus=2, runs_per_task=4)) == 1
    assert replace(profile, threads=3).threads_of(Resources(cpus=8)) == 3


@pytest.mark.parametrize(("time", "lead"), [(None, 90), (12600, 90), (360, 90), (60, 15)])
def test_a_short_task_is_warned_in_its_last_quarter(time: int | None, lead: int) -> None:
    assert Profile(name="a", engine="slurm").lead_of(Resources(time=time)) == lead


def test_names_are_looked_for_here_then_at_home_then_in_the_checkout(home: Path) -> None:
    assert load("tcml").source == CLUSTERS / "tcml.yaml"

    at_home = write(
        home / "home" / ".config" / "probprec" / "clusters" / "tcml.yaml", "engine: slurm\n"
    )
    assert load("tcml").source == at_home

    here = write(home / "here" / "configs" / "clusters" / "tcml.yaml", "engine: local\n")
    assert load("tcml").source == here
    assert load("configs/clusters/tcml.yaml").source == here


def test_an_unknown_name_lists_the_known_ones(home: Path) -> None:
    mine = write(home / "here" / "configs" / "clusters" / "mine.yaml", "engine: slurm\n").parent

    with pytest.raises(InputError, match="no cluster 'tclm'; did you mean 'tcml'") as caught:
        load("tclm")

    said = str(caught.value)
    assert "(known: local, mine, lab, tcml; looked in: " in said
    assert str(mine.relative_to(home / "here")) in said
    assert str(CLUSTERS) in said
    with pytest.raises(InputError, match="no such file"):
        load("./tclm.yaml")


@pytest.mark.usefixtures("home")
def test_local_needs_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a wheel, which ships no profiles."""
    monkeypatch.setattr("cluster.profile.find.folders", list)

    assert load("local") is LOCAL
    with pytest.raises(InputError, match=r"\(known: local; looked in: no folder; or the path"):
        load("tcml")


MANY = """\
engien: slurm
resources: {time: 90, partitoin: day}
scratch: tmp
setup: module load cuda
environment: {A B: x, C: true}
mail_type: ALL,ENDE
throttle: 0
limits: {max_arrays: 3}
signal_lead: 90
policy: {ooom: mem, oom: memory}
options: {array: 1-3, time: 01:00:00, exclusve: true, --hold: true, nice: , hold: false}
"""

MANY_EXPECTED = [
    "1:1: engien: unknown key 'engien'; did you mean 'engine'? (known: engine, resources,",
    "2:19: resources.time: expected a time like 03:30:00, 1-12:00:00, 90min or 2h, found 90;",
    "2:23: resources.partitoin: unknown key 'partitoin'; did you mean 'partition'?",
    "3:10: scratch: expected a path on the nodes like /scratch/$USER, found 'tmp'",
    (
        "4:8: setup: expected a list of shell lines like [module load cuda], found the text "
        "'module load cuda'; write [module load cuda]"
    ),
    (
        "5:15: environment.A B: expected a variable's name of letters, digits and '_', and text, "
        "found the key 'A B'"
    ),
    (
        "5:26: environment.C: expected a variable's name of letters, digits and '_', and text, "
        "found true; write it in quotes"
    ),
    "6:12: mail_type: unknown mail type 'ENDE'; did you mean 'END'?",
    "7:11: throttle: expected a whole number of at least 1, found 0",
    "8:10: limits.max_arrays: unknown key 'max_arrays'; did you mean 'max_array'?",
    "9:14: signal_lead: expected a time like 03:30:00, 1-12:00:00, 90min or 2h, found 90;",
    "10:10: policy.ooom: unknown class of failures 'ooom'; did you mean 'oom'?",
    (
        "10:26: policy.oom: expected one of requeue, retry, mem, time, exclude, stop, found the text "
        "'memory'; did you mean 'mem'?"
    ),
    "11:11: options.array: 'array' is set by probprec itself and cannot be changed",
    "11:23: options.time: 'time' has a key of its own; write resources.time",
    "11:39: options.exclusve: sbatch has no option 'exclusve'; did you mean 'exclusive'?",
    "11:55: options.--hold: an option is written without dashes: hold",
    "11:74: options.nice: expected text, a whole number, or true for an option without value",
    "11:83: options.hold: expected text, a whole number, or true for an option without value",
]


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    said = mistakes_of(tmp_path, MANY)

    for found, beginning in zip(said, MANY_EXPECTED, strict=True):
        assert found.startswith(beginning), found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1: empty"),
        ("- slurm\n", "1:1: expected a mapping with the key engine"),
        ("threads: 2\n", "1:1: engine: the key 'engine' is missing; expected local or slurm"),
        ("engine: pbs\n", "1:9: engine: expected local or slurm, found the text 'pbs'"),
        (
            "engine: slrum\n",
            "1:9: engine: expected local or slurm, found the text 'slrum'; did you",
        ),
        (
            "engine: local\nthreads: '2'\n",
            (
                "2:10: threads: expected a whole number of at least 1, "
                "found the text '2'; write it without quotes"
            ),
        ),
        ("engine: local\nthreads: 00:00:02\n", "2:10: threads: found the duration 0:00:02; quote"),
        ("engine: slurm\nresources: day\n", "2:12: resources: expected a mapping like {partition"),
        ("engine: slurm\nsetup: [3]\n", "2:9: setup[0]: expected a shell line, found 3"),
        ("engine: slurm\noptions: [hold]\n", "2:10: options: expected a mapping from options of"),
        ("engine: slurm\npolicy:\n", "2:8: policy: expected a mapping like {oom: mem, timeout"),
    ],
)
def test_one_mistake(tmp_path: Path, text: str, expected: str) -> None:
    (said,) = mistakes_of(tmp_path, text)

    assert said.startswith(expected), said


HELP = """\
Usage: sbatch [OPTIONS(0)...] script(0) [args(0)...]

Parallel run options:
  -a, --array=indexes         job array index values
      --bb=<spec>             burst buffer, see also --no-such-option
      --nice[=value]          decrease scheduling priority by value
  -B  --extra-node-info=S[:C[:T]]  combine request
      --exclusive[=user]      allocate nodes in exclusive mode
Options provided by plugins:
      --container-image=[USER@][REGISTRY#]IMAGE[:TAG]|PATH
"""


def fake_sbatch(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    command = write(folder / "bin" / "sbatch", f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")


def test_options_are_those_of_this_sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site's plugins add some; what a newer Slurm has, this one may not have."""
    fake_sbatch(tmp_path, monkeypatch, f"cat <<'END'\n{HELP}END")

    found = sbatch_options.sbatch_options()

    assert found - sbatch_options.NOT_IN_HELP == {
        "array",
        "bb",
        "nice",
        "extra-node-info",
        "exclusive",
        "container-image",
    }
    good = "engine: slurm\noptions: {container-image: a.sqsh, hint: nomultithread}\n"
    assert load(str(write(tmp_path / "a.yaml", good))).options["container-image"] == "a.sqsh"
    (said,) = mistakes_of(tmp_path, "engine: slurm\noptions: {segment: 3}\n")
    assert said.startswith("2:11: options.segment: sbatch has no option 'segment'")


@pytest.mark.parametrize("script", ["exit 1", "echo nothing of use"])
def test_without_an_answer_the_built_in_list_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    fake_sbatch(tmp_path, monkeypatch, script)
    assert sbatch_options.sbatch_options() == sbatch_options.KNOWN

    monkeypatch.setenv("PATH", str(tmp_path))
    assert sbatch_options.sbatch_options() == sbatch_options.KNOWN


def test_an_option_is_of_the_cluster_or_ours() -> None:
    known = sbatch_options.KNOWN
    refused = {name for name in known if sbatch_options.wrong_option(name, known)}

    assert {"array", "output", "error", "clusters", "signal", "requeue", "open-mode"} < refused
    assert {"dependency", "wrap", "parsable", "test-only", "export", "time", "gres"} < refused
    assert not {"comment", "exclusive", "nice", "licenses", "tmp", "begin", "hold"} & refused
    asked = Resources(time=1, mem=1, cpus=1, gpus=1, partition="a", account="a", qos="a")
    more = Resources(constraint="a", reservation="a", nodelist=("a",), exclude=("a",))
    profile = Profile(name="a", engine="slurm", job_name="a", mail_type="ALL", mail_user="a")
    assert set(sbatch_parameters(profile, asked.merged(more))) <= refused


@pytest.mark.parametrize("name", ["clusters", "--clusters", "-M", "M", "cluster-constraint"])
def test_a_job_of_another_cluster_is_refused(tmp_path: Path, name: str) -> None:
    """However the option is spelled."""
    (said,) = mistakes_of(tmp_path, f"engine: slurm\noptions: {{{name}: other}}\n")

    assert f"2:11: options.{name}: jobs that are sent to another cluster cannot be followed" in said
    assert "export SLURM_CONF=FILE" in said


def test_what_is_said_of_a_short_name_can_be_written() -> None:
    """A letter or dashes are refused with the word for them, or with what is wrong with that."""
    known = sbatch_options.KNOWN
    refused = {name: sbatch_options.wrong_option(name, known) for name in ("-L", "b", "--nice")}

    assert refused["-L"] == "an option is written with its long name: licenses"
    assert refused["b"] == "an option is written with its long name: begin"
    assert refused["--nice"] == "an option is written without dashes: nice"
    assert "write resources.partition" in str(sbatch_options.wrong_option("-p", known))
    assert "did you mean 'exclusive'" in str(sbatch_options.wrong_option("--exclusiv", known))
    assert set(sbatch_options._LONG_NAMES.values()) <= known


def test_the_comment_of_the_site_stands_beside_ours(tmp_path: Path) -> None:
    """In arrays and in what sends the next ones; sbatch reads back what was written."""
    text = (
        "engine: slurm\nresources: {mem: 0}\noptions: {comment: 'project=x \\\\ it''s', nice: 1}\n"
    )
    profile = load(str(write(tmp_path / "x.yaml", text)))
    store = Store(tmp_path / "sweep")
    chunk = array_of(1, profile.resources)
    feeder = FeederJob(token="probprec-1", after=(7,), resources=profile.resources)

    sent = options_of(batch_script.script_of(store, store.submission(1), profile, chunk))
    assert sent["comment"] == r"project=x \\\\ it's probprec-1"  # of two, sbatch makes one
    assert (sent["mem"], sent["nice"]) == ("0", "1")
    sent = options_of(batch_script.script_of(store, store.submission(1), profile, feeder))
    assert sent["comment"].endswith("it's probprec-1")
    assert "nice" not in sent


def test_the_built_in_list_knows_the_real_sbatch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = write(tmp_path / "slurm.conf", "ClusterName=x\nSlurmctldHost=localhost\n")
    monkeypatch.setenv("SLURM_CONF", str(conf))

    text = site.sbatch_help()

    assert text is not None
    assert "--cpus-per-task" in text
    found = sbatch_options.sbatch_options()
    assert len(found) > 80
    assert found <= sbatch_options.KNOWN


def test_the_command_line_reads_no_profile_before_it_must() -> None:
    code = "import sys, cluster.profile; print(*{'pydantic', 'yaml', 'numpy'} & {*sys.modules})"

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == ""
