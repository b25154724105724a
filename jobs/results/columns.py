"""The columns of the tables: their names, types and meanings; README lists them."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from jobs.store.record import EPOCH_METRICS, PHASES

TEXT, INTEGER, FLOAT, BOOLEAN = pa.string(), pa.int64(), pa.float64(), pa.bool_()
TIME = pa.timestamp("us", tz="UTC")
TEXTS, MAP = pa.list_(TEXT), pa.map_(TEXT, TEXT)
LABEL = pa.dictionary(pa.int32(), TEXT)

_FAMILIES = {"METRIC": EPOCH_METRICS, "PHASE": PHASES}
_LAST_SECOND = 253_402_300_799  # of the year 9999


@dataclass(frozen=True)
class Columns:
    """Columns of one type and one meaning.

    In a name METRIC and PHASE stand for each of `EPOCH_METRICS` and `PHASES`; NAME stands for
    whatever the sweep's hyperparameters are called.
    """

    names: tuple[str, ...]
    type: pa.DataType
    meaning: str

    def expanded(self) -> Iterator[str]:
        """The names that every sweep has."""
        for name in self.names:
            family = next((word for word in _FAMILIES if word in name), None)
            if family is not None:
                yield from (name.replace(family, member) for member in _FAMILIES[family])
            elif "NAME" not in name:
                yield name


def _columns(names: str, type_: pa.DataType, meaning: str) -> Columns:
    return Columns(tuple(names.split()), type_, meaning)


NUMBERS = _columns(
    "hp.NAME", FLOAT, "each number among them, of a list `hp.NAME.0`, `hp.NAME.1`; true is 1"
)

RUNS = (
    _columns("run", TEXT, "the run's id: a row per planned run"),
    _columns("sweep", TEXT, "the name of its sweep"),
    _columns("cell", TEXT, "id of its cell: all seeds of one setting"),
    _columns("problem optimizer", TEXT, "the labels in the spec"),
    _columns("setting", TEXT, "what the spec's axes gave it: `lr=0.1, momentum=0.9`"),
    _columns("problem_class optimizer_class", TEXT, "what is behind the labels"),
    _columns("seed epochs batch_size", INTEGER, "as the spec says"),
    _columns("role", TEXT, "what its seed is for: `evaluation`, or `tuning` (it helps to choose)"),
    _columns("init protocol", TEXT, "initial weights; whose random streams"),
    _columns("hyperparameters", TEXT, "all that were given, as JSON"),
    NUMBERS,
    _columns("regime", TEXT, "schedule, clipping, groups ...: all that was given, as JSON"),
    _columns("outcome", TEXT, "`completed`, `diverged`, `failed` or `missing`"),
    _columns("failure_class failure_message", TEXT, "why it has no record, where it failed"),
    _columns("stop.reason", TEXT, "`completed`, or why it ended early"),
    _columns("stop.epoch stop.step", INTEGER, "when it ended"),
    _columns("final_METRIC", FLOAT, "after the last epoch; empty where it diverged"),
    _columns("at_best_valid_METRIC", FLOAT, "when the validation metric was best; likewise"),
    _columns(
        "best_train_loss best_train_accuracy best_valid_loss best_valid_accuracy",
        FLOAT,
        "the best of all evaluations",
    ),
    _columns(
        "oracle_test_loss oracle_test_accuracy",
        FLOAT,
        "the same of test data, which nobody can know while training: no result",
    ),
    _columns(
        "epochs_to_target", INTEGER, "first epoch at which validation was at the problem's target"
    ),
    _columns("reached", BOOLEAN, "whether it got there, and did not diverge; empty: not known"),
    _columns("censored", BOOLEAN, "whether that is not known, for want of a record"),
    _columns("cost.PHASE.wall_s cost.PHASE.cpu_s", FLOAT, "seconds of each phase"),
    _columns(
        "cost.PHASE.forward cost.PHASE.backward cost.PHASE.hvp",
        INTEGER,
        "forward and backward passes, Hessian-vector products",
    ),
    _columns(
        "cost.peak_memory_bytes cost.peak_gpu_memory_bytes", INTEGER, "the highest of all attempts"
    ),
    _columns(
        "cost.total.wall_s cost.total.cpu_s", FLOAT, "of the last attempt's process, start included"
    ),
    _columns("cost.total.peak_memory_bytes", INTEGER, "of that process"),
    _columns("provenance.code", TEXT, "hash of this toolkit"),
    _columns(
        "provenance.training_code", TEXT, "hash of those of its modules that trainings import"
    ),
    _columns("provenance.snapshot", TEXT, "sha256 of the code of its submission"),
    _columns("provenance.commit", TEXT, "git commit of this toolkit"),
    _columns("provenance.dirty", BOOLEAN, "whether it had uncommitted changes"),
    _columns("provenance.own_code", MAP, "own module, or `./` file that one read: sha256"),
    _columns("provenance.packages", MAP, "package that was imported: version"),
    _columns("provenance.environment", TEXT, "hash of the environment variables"),
    _columns("provenance.image.path provenance.image.sha256", TEXT, "the image; empty: none"),
    _columns("provenance.data.dataset provenance.data.folder", TEXT, "the data, and where it was"),
    _columns("provenance.data.sha256", MAP, "file: sha256"),
    _columns("provenance.data.manifest", TEXT, "sha256 over all files of an own problem's data"),
    _columns("provenance.data.unverified", BOOLEAN, "whether nobody looked at its hashes"),
    _columns(
        "provenance.host provenance.machine provenance.cpu", TEXT, "where it ran, and on what"
    ),
    _columns("provenance.python provenance.torch provenance.numpy", TEXT, "versions"),
    _columns("provenance.threads", INTEGER, "CPU threads"),
    _columns("provenance.device", TEXT, "`cpu` or `cuda`"),
    _columns(
        "provenance.gpu provenance.cuda provenance.driver", TEXT, "of a GPU: its name, versions"
    ),
    _columns(
        "provenance.slurm.job_id provenance.slurm.array_job_id provenance.slurm.array_task_id "
        "provenance.slurm.cluster_name provenance.slurm.job_partition "
        "provenance.slurm.slurmd_nodename",
        TEXT,
        "as Slurm names them",
    ),
    _columns("provenance.started provenance.ended", TIME, "when it began and ended, UTC"),
    _columns("provenance.attempts provenance.resumes", INTEGER, "how often it began, and went on"),
    _columns("provenance.co_tenants", TEXTS, "runs that were trained beside it"),
)
"""The columns of runs.parquet; those with dots are entries of the record."""

CURVES = (
    _columns("run", LABEL, "the run's id"),
    _columns("epoch", pa.int32(), "0 is before the training"),
    _columns("metric", LABEL, "METRIC: `train_loss`, `valid_accuracy`, ..."),
    _columns("value", FLOAT, "what was measured"),
)
"""The columns of curves.parquet."""

SUMMARY = (
    _columns("cell problem optimizer setting", TEXT, "as in runs.parquet; a row per cell and role"),
    _columns("role", TEXT, "as in runs.parquet; results are reported on `evaluation`"),
    _columns("chosen", BOOLEAN, "whether the setting was chosen of those tuned; empty: no choice"),
    _columns("varied.NAME", TEXT, "what the spec's axes gave it, one by one"),
    _columns("n_expected", INTEGER, "planned runs = n + n_diverged + n_failed + n_missing"),
    _columns("n", INTEGER, "completed runs: only these are averaged"),
    _columns("n_diverged n_failed n_missing", INTEGER, "the others"),
    _columns("seeds diverged_seeds", TEXT, "of the completed runs; of the diverged ones"),
    _columns("final_METRIC_mean at_best_valid_METRIC_mean", FLOAT, "mean over the completed runs"),
    _columns("final_METRIC_sd at_best_valid_METRIC_sd", FLOAT, "their standard deviation (n-1)"),
    _columns(
        "final_METRIC_min final_METRIC_max at_best_valid_METRIC_min at_best_valid_METRIC_max",
        FLOAT,
        "their extremes",
    ),
    _columns(
        "final_METRIC_median at_best_valid_METRIC_median",
        FLOAT,
        "median of completed and diverged runs, which are the worst; empty: it is one of these",
    ),
    _columns("target", TEXT, "what counts as solved, of validation data"),
    _columns("n_reached_target", INTEGER, "completed runs that got there, of n + n_diverged"),
    _columns(
        "epochs_to_target_median", FLOAT, "median over n + n_diverged; empty: too few got there"
    ),
    _columns(
        "deepobs_speed",
        FLOAT,
        "by DeepOBS: mean first epoch at the target on test data; never is one epoch too many",
    ),
)
"""The columns of summary.csv."""


def array(values: Iterable[object], type_: pa.DataType) -> pa.Array:
    """The values as a column of the type; null where one is of another kind."""
    fit = _FITTED[type_]
    return pa.array([None if value is None else fit(value) for value in values], type_)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _texts(value: object) -> list[str] | None:
    return list(map(str, value)) if isinstance(value, list) else None


def _pairs(value: object) -> list[tuple[str, str]] | None:
    if not isinstance(value, Mapping):
        return None
    return [(str(key), str(value[key])) for key in sorted(value)]


def _boolean(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _float(value: object) -> float | None:
    """NaN, and what is too large, is missing."""
    number = _number(value)
    if number is None or not abs(number) <= sys.float_info.max:
        return None
    return float(number)


def _integer(value: object) -> int | None:
    """NaN, a fraction, and what is too large is missing."""
    number = _number(value)
    if number is None or not (isinstance(number, int) or number.is_integer()):
        return None
    return int(number) if abs(number) < 2**63 else None


def _microseconds(value: object) -> int | None:
    """Of seconds since 1970; what is no time of a calendar is missing."""
    number = _number(value)
    return None if number is None or not 0 <= number <= _LAST_SECOND else int(number * 1e6)


def _number(value: object) -> float | int | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


_FITTED: Mapping[pa.DataType, Callable[[object], Any]] = {
    TEXT: _text,
    TEXTS: _texts,
    MAP: _pairs,
    BOOLEAN: _boolean,
    FLOAT: _float,
    INTEGER: _integer,
    TIME: _microseconds,
}
