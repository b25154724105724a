"""The reasons for which a job waits, in words (squeue(1), JOB REASON CODES)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """One of Slurm's reasons for which a job waits."""

    name: str  # as Slurm writes it
    words: str
    is_hopeless: bool = False  # the job will not start unless a person acts


_HELD = "held: scontrol release JOB lets it go; or cancel it, and submit it again"
_TOO_MUCH = "asks for more than one job may have here; submit again with less"

_WORDS: Sequence[tuple[str, str, bool]] = (
    # A pattern for the whole reason, its meaning, `is_hopeless`; the first match counts.
    (r"None|", "just submitted; Slurm has not looked at it yet", False),
    (r"CONFIGURING", "has its node, which is being made ready", False),
    (r"REQUEUED|REQUEUE_FED", "was put back into the queue", False),
    (r"REQUEUE_HOLD|SPECIAL_EXIT", f"was put back into the queue, and is {_HELD}", True),
    (r"Priority", "others are ahead of it in the queue", False),
    (r"Resources", "next in line: waits until enough CPUs, memory or GPUs are free", False),
    (r"BeginTime", "was put back into the queue; Slurm waits about two minutes", False),
    (r"JobArrayTaskLimit", "the sweep's own throttle: as many run as the profile allows", False),
    (r"DependencyNeverSatisfied", "waits for a job that can no longer end as it should", True),
    (r"Dependency", "waits for another job of this sweep to end", False),
    (r"Licenses", "waits for a licence", False),
    (r"Reservation", "waits for its reservation to begin", False),
    (r"ReservationDeleted", "its reservation is gone; submit again without", True),
    (
        r"ReqNodeNotAvail.*",
        "a node that it needs is down, drained, or reserved (maintenance?); see sinfo",
        False,
    ),
    (
        r"Nodes required for job are DOWN.*",
        "all nodes that could run it are down, drained or reserved; see sinfo",
        False,
    ),
    (r"NodeDown|FrontEndDown", "the node that it needs is down; see sinfo", False),
    (r"PartitionDown|PartitionInactive", "the partition takes no jobs now; see sinfo", False),
    (r"PartitionTimeLimit", "asks for more time than the partition allows; submit with less", True),
    (r"PartitionNodeLimit", "asks for more nodes than the partition has", True),
    (r"BadConstraints", "no node is as it asks; submit with other resources", True),
    (r"(Assoc|QOS|Association).*PerJob.*|.*MaxWall.*", _TOO_MUCH, True),
    (r"QOSMin.*", "asks for less than a job must ask for in this quality of service", True),
    (r"QOSJobLimit|QOSMaxJobs.*|AssocMaxJobs.*|AssociationJobLimit", "you have as many jobs running as you may have at a time", False),
    (r"(QOS|Assoc)Max.*|QOSResourceLimit|AssociationResourceLimit", "you use as much at a time as you may", False),
    (r"(QOS|Assoc)Grp.*Minutes.*", "your group has used up its share of computing time; ask its admin", True),
    (r"(QOS|Assoc)Grp.*", "your group uses as much at a time as it may", False),
    (r"QOSUsageThreshold|QOSTimeLimit|AssociationTimeLimit", _TOO_MUCH, True),
    (r"Invalid(Account|QOS)|(Account|QOS)NotAllowed", "account or quality of service is refused; submit with another", True),
    (r"launch failed requeued held|JobLaunchFailure", f"could not be started on its node, and is {_HELD}", True),
    (r"user env retrieval failed requeued held", f"your environment could not be read; {_HELD}", True),
    (r"JobHeldUser|JobHeldAdmin|.*[Hh]eld", _HELD, True),
    (r"JobHoldMaxRequeue|.*max.requeue.*", f"was requeued too often for this cluster; {_HELD}", True),
    (r"Cleaning|Prolog", "is being prepared, or cleaned up after its last start", False),
    (r"SystemFailure", "Slurm, the file system or the network failed; see sinfo", False),
)  # fmt: skip


def explain(name: str) -> Reason:
    """The reason with its meaning; the words of an unknown reason are its name."""
    for pattern, words, is_hopeless in _WORDS:
        if re.fullmatch(pattern, name):
            return Reason(name, words, is_hopeless)
    return Reason(name, f"Slurm says {name}")
