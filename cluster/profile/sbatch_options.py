"""The options of sbatch that a profile may add, and those that it may not."""

import re

from cluster.slurm import site
from jobs.yaml.mistakes import did_you_mean

_KNOWN_NAMES = """
    account acctg-freq array batch bb bbf begin chdir cluster-constraint clusters comment constraint
    container container-id contiguous core-spec cores-per-socket cpu-freq cpus-per-gpu cpus-per-task
    deadline delay-boot dependency distribution error exclude exclusive export export-file extra
    extra-node-info get-user-env gid gpu-bind gpu-freq gpus gpus-per-node gpus-per-socket
    gpus-per-task gres gres-flags help hint hold ignore-pbs input job-name kill-on-invalid-dep
    licenses mail-type mail-user mcs-label mem mem-bind mem-per-cpu mem-per-gpu mincpus network nice
    no-kill no-requeue nodefile nodelist nodes ntasks ntasks-per-core ntasks-per-gpu ntasks-per-node
    ntasks-per-socket oom-kill-step open-mode output overcommit oversubscribe parsable partition
    power prefer priority profile propagate qos quiet reboot requeue reservation resv-ports segment
    signal sockets-per-node spread-job stepmgr switches test-only thread-spec threads-per-core time
    time-min tmp tres-bind tres-per-task uid usage use-min-nodes verbose version wait wait-all-nodes
    wckey wrap
"""
KNOWN = frozenset(_KNOWN_NAMES.split())
"""The options of sbatch 22.05 (`sbatch --help` and sbatch(1)), and new ones until 24.11."""

_NOT_IN_HELP_NAMES = """
    acctg-freq batch hint kill-on-invalid-dep mem-bind network ntasks-per-gpu open-mode prefer
    test-only wait-all-nodes
"""
NOT_IN_HELP = frozenset(_NOT_IN_HELP_NAMES.split())
"""Options that sbatch 22.05 takes although its --help does not name them; tried one by one."""

_KEY_OF_OPTION = {
    "account": "resources.account",
    "constraint": "resources.constraint",
    "cpus-per-gpu": "resources.cpus",
    "cpus-per-task": "resources.cpus",
    "exclude": "resources.exclude",
    "gpus": "resources.gpus",
    "gpus-per-node": "resources.gpus",
    "gpus-per-socket": "resources.gpus",
    "gpus-per-task": "resources.gpus",
    "gres": "resources.gres",
    "job-name": "job_name",
    "mail-type": "mail_type",
    "mail-user": "mail_user",
    "mem": "resources.mem",
    "mem-per-cpu": "resources.mem_per_cpu",
    "mem-per-gpu": "resources.mem",
    "nodelist": "resources.nodelist",
    "partition": "resources.partition",
    "qos": "resources.qos",
    "reservation": "resources.reservation",
    "signal": "signal_lead",
    "time": "resources.time",
    "tres-per-task": "resources.gpus",
}
"""The profile's own key for an option."""

_RESERVED_NAMES = """
    array chdir dependency error export export-file get-user-env help input
    no-requeue nodefile nodes ntasks ntasks-per-core ntasks-per-gpu ntasks-per-node
    ntasks-per-socket open-mode output parsable quiet requeue test-only usage verbose version wait
    wrap
"""
_RESERVED = frozenset(_RESERVED_NAMES.split())
"""Options that probprec sets itself. With other values it could not find a job again, requeue it, or
rely on one task for each array element."""

_LONG_NAMES = {
    "A": "account",
    "B": "extra-node-info",
    "C": "constraint",
    "D": "chdir",
    "F": "nodefile",
    "G": "gpus",
    "H": "hold",
    "J": "job-name",
    "L": "licenses",
    "M": "clusters",
    "N": "nodes",
    "O": "overcommit",
    "Q": "quiet",
    "S": "core-spec",
    "V": "version",
    "W": "wait",
    "a": "array",
    "b": "begin",
    "c": "cpus-per-task",
    "d": "dependency",
    "e": "error",
    "h": "help",
    "i": "input",
    "k": "no-kill",
    "m": "distribution",
    "n": "ntasks",
    "o": "output",
    "p": "partition",
    "q": "qos",
    "s": "oversubscribe",
    "t": "time",
    "u": "usage",
    "v": "verbose",
    "w": "nodelist",
    "x": "exclude",
}
"""The long names of the options that sbatch(1) knows by a letter, too."""

_CLUSTERS = (
    "jobs that are sent to another cluster cannot be followed from here; submit on a login node of"
    " that cluster, or with its configuration: export SLURM_CONF=FILE"
)


def wrong_option(name: str, known: frozenset[str]) -> str | None:
    """The mistake about an option that a profile adds; None: the option is allowed."""
    bare = name.lstrip("-") or "exclusive"
    if (long := _LONG_NAMES.get(bare, bare)) != name:
        fault = "without dashes" if long == bare else "with its long name"
        return wrong_option(long, known) or f"an option is written {fault}: {long}"
    if name in _KEY_OF_OPTION:
        return f"{name!r} has a key of its own; write {_KEY_OF_OPTION[name]}"
    if name in {"clusters", "cluster-constraint"}:
        return _CLUSTERS
    if name in _RESERVED:
        return f"{name!r} is set by probprec itself and cannot be changed"
    if name not in known:
        free = known - _RESERVED - _KEY_OF_OPTION.keys() - {"clusters"}
        return f"sbatch has no option {name!r}{did_you_mean(name.replace('_', '-'), sorted(free))}"
    return None


def sbatch_options() -> frozenset[str]:
    """The long options of this machine's sbatch; if none answers, those of 22.05 to 24.11."""
    lines = (site.sbatch_help() or "").splitlines()
    matches = [re.match(r"\s+(?:-\w,?\s+)?--([a-z][\w-]+)", line) for line in lines]
    found = frozenset(match[1] for match in matches if match)
    return found | NOT_IN_HELP if found else KNOWN
