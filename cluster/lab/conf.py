"""The configuration files of a lab, as readable templates."""

from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from cluster.lab.settings import Settings

GPU_TYPE = "gtx1080ti"
CLUSTER = "lab"
ACCOUNT = "lab"
JOB_IDS_PER_LAB = 80_000
"""A lab has so many job ids for itself: a thousand per port of its share."""


@dataclass(frozen=True)
class Place:
    """The folder, host, user and ports of a lab."""

    folder: Path
    host: str
    user: str
    port: int
    """The first of its private ports: slurmctld, slurmdbd, then one per slurmd."""

    @property
    def munge_socket(self) -> Path:
        """The socket of the lab's own munged."""
        return self.folder / "munge" / "socket"


def slurm_conf(place: Place, settings: Settings, *, cgroups: bool) -> str:
    """slurm.conf: the one file that every daemon and command of the lab reads."""
    return "\n".join(
        [
            _identity(place),
            _times(settings),
            _scheduling(settings),
            _confinement(cgroups=cgroups),
            _accounting(place, settings),
            _nodes(place, settings),
            _partitions(settings),
        ]
    )


def _identity(place: Place) -> str:
    # FirstJobId: the cgroups of two labs on one machine are told apart by the jobs' ids alone.
    return dedent(f"""\
        ClusterName={CLUSTER}
        SlurmctldHost={place.host}(127.0.0.1)
        SlurmctldPort={place.port}
        SlurmUser={place.user}
        SlurmdUser={place.user}
        AuthType=auth/munge
        AuthInfo=socket={place.munge_socket}
        CredType=cred/munge
        FirstJobId={job_ids(place).start}
        MailProg={place.folder}/bin/mail
        StateSaveLocation={place.folder}/state
        SlurmdSpoolDir={place.folder}/spool/%n
        SlurmctldPidFile={place.folder}/run/slurmctld.own
        SlurmdPidFile={place.folder}/run/slurmd-%n.own
        SlurmctldLogFile={place.folder}/log/slurmctld.log
        SlurmdLogFile={place.folder}/log/slurmd-%n.log
        SlurmctldDebug=info
        SlurmdDebug=info
        """)


def _times(settings: Settings) -> str:
    return dedent(f"""\
        KillWait={settings.kill_wait}
        MinJobAge={settings.min_job_age}
        SlurmdTimeout={settings.node_timeout}
        SlurmctldTimeout=10
        MessageTimeout=10
        BatchStartTimeout=10
        UnkillableStepTimeout=30
        InactiveLimit=0
        ReturnToService=2
        JobRequeue=1
        """)


def _scheduling(settings: Settings) -> str:
    # Slurm's own intervals (60 s, 30 s, 3 s) suit a cluster of a thousand users. Here every
    # change is looked at within a second.
    # preempt_send_user_signal: a preempted job that asked for --signal gets that one.
    return dedent(f"""\
        SchedulerType=sched/backfill
        SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1
        SelectType=select/cons_tres
        SelectTypeParameters=CR_Core_Memory
        DefMemPerCPU={settings.memory_mb // settings.cpus}
        MaxArraySize={settings.max_array_size}
        MaxJobCount={settings.max_jobs}
        PreemptType=preempt/partition_prio
        PreemptMode=REQUEUE
        SlurmctldParameters=preempt_send_user_signal
        SlurmdParameters=config_overrides
        """)


def _confinement(*, cgroups: bool) -> str:
    if cgroups:
        return "ProctrackType=proctrack/cgroup\nTaskPlugin=task/cgroup\n"
    return "ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\n"


def _accounting(place: Place, settings: Settings) -> str:
    gather = "JobAcctGatherType=jobacct_gather/linux\nJobAcctGatherFrequency=task=5\n"
    if not settings.accounting:
        return gather + "AccountingStorageType=accounting_storage/none\n"
    lines = [
        "AccountingStorageType=accounting_storage/slurmdbd",
        "AccountingStorageHost=127.0.0.1",
        f"AccountingStoragePort={place.port + 1}",
        f"AccountingStoragePass={place.munge_socket}",
        "AccountingStorageTRES=gres/gpu",
        "AccountingStoreFlags=job_comment",
    ]
    if settings.max_submit is not None:
        lines.append("AccountingStorageEnforce=limits,qos")
    return gather + "\n".join(lines) + "\n"


def _nodes(place: Place, settings: Settings) -> str:
    names = node_list(settings)
    last = node_port(place, settings.nodes)
    gres = f" Gres=gpu:{GPU_TYPE}:{settings.gpus}" if settings.gpus else ""
    return dedent(f"""\
        GresTypes=gpu
        NodeName={names} NodeHostname={place.host} NodeAddr=127.0.0.1 \
        Port=[{node_port(place, 1)}-{last}] CPUs={settings.cpus} Boards=1 SocketsPerBoard=1 \
        CoresPerSocket={settings.cpus} ThreadsPerCore=1 RealMemory={settings.memory_mb}{gres}
        """)


def _partitions(settings: Settings) -> str:
    # Only `urgent` stands above another tier, and only `preemptible` may be preempted: a job of
    # `day` preempts no other.
    return dedent(f"""\
        PartitionName=DEFAULT Nodes=ALL State=UP PriorityTier=1 PreemptMode=OFF
        PartitionName=day Default=YES DefaultTime=01:00:00 MaxTime=1-00:00:00
        PartitionName=short DefaultTime=00:10:00 MaxTime=01:00:00
        PartitionName=preemptible DefaultTime=01:00:00 MaxTime=1-00:00:00 PreemptMode=REQUEUE \
        GraceTime={settings.grace_time}
        PartitionName=urgent PriorityTier=10 DefaultTime=00:10:00 MaxTime=01:00:00
        """)


def gres_conf(place: Place, settings: Settings) -> str:
    """gres.conf: the fake GPUs, links to the null device (Slurm wants character devices)."""
    if not settings.gpus:
        return "AutoDetect=off\n"
    devices = f"{place.folder}/dev/nvidia[0-{settings.gpus - 1}]"
    return (
        f"AutoDetect=off\nNodeName={node_list(settings)} Name=gpu Type={GPU_TYPE} File={devices}\n"
    )


def cgroup_conf() -> str:
    """cgroup.conf: memory is limited, CPUs and devices are not (they are virtual)."""
    return dedent("""\
        CgroupPlugin=cgroup/v1
        CgroupMountpoint=/sys/fs/cgroup
        ConstrainRAMSpace=yes
        ConstrainCores=no
        ConstrainDevices=no
        """)


def slurmdbd_conf(place: Place) -> str:
    """slurmdbd.conf: the accounting daemon; must be readable by its user only."""
    return dedent(f"""\
        AuthType=auth/munge
        AuthInfo=socket={place.munge_socket}
        DbdHost=localhost
        DbdAddr=127.0.0.1
        DbdPort={place.port + 1}
        SlurmUser={place.user}
        StorageType=accounting_storage/mysql
        StorageHost=localhost
        StorageUser={place.user}
        StorageLoc=slurm
        PidFile={place.folder}/run/slurmdbd.own
        LogFile={place.folder}/log/slurmdbd.log
        DebugLevel=info
        """)


def mail_program(place: Place) -> str:
    """Slurm's MailProg: mails are lines of a log."""
    return f'#!/bin/sh\necho "$@" >>{place.folder}/log/mail.log\n'


def node_list(settings: Settings) -> str:
    """All nodes in Slurm's notation."""
    return f"node[1-{settings.nodes}]"


def node_port(place: Place, number: int) -> int:
    """The port of the slurmd of node `number` (from 1)."""
    return place.port + 1 + number


def job_ids(place: Place) -> range:
    """The job ids of this lab; another lab has other ids, as it has other ports."""
    first = (place.port - 20_000) * 1000 + 1
    return range(first, first + JOB_IDS_PER_LAB)
