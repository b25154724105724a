"""The room in a cluster's queue: the size of arrays, and the number of jobs."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cluster.slurm import client, site
from cluster.slurm.site import Cap
from jobs.profile import Profile
from jobs.store.submission_plan import Group


@dataclass(frozen=True, kw_only=True)
class QueueRoom:
    """The limits on a user's jobs: the size of an array, and the number of jobs in the queue."""

    per_array: int
    caps: tuple[Cap, ...]  # on the user's jobs in the queue; the tightest counts
    is_certain: bool  # whether no other limit may exist


def room_of(profile: Profile, groups: Sequence[Group]) -> QueueRoom:
    """The room by the profile's limits, else by Slurm's."""
    config = site.config()
    per_array = min(
        client.number_of(config, "MaxArraySize", 1001), profile.limits.max_array or sys.maxsize
    )
    enforced = "limits" in config.get("AccountingStorageEnforce", "")
    capacity = client.number_of(config, "MaxJobCount", 10_000) // 2  # of the whole cluster
    caps: set[Cap] = set()
    if profile.limits.max_submit is not None:
        caps = {Cap(jobs=profile.limits.max_submit)}
    elif enforced:
        asked = {(group.resources.account, group.resources.qos) for group in groups}
        for account, qos in asked:
            caps.update(site.submit_caps(account, qos, config.get("ClusterName")))
    return QueueRoom(
        per_array=max(1, per_array),
        caps=(Cap(jobs=capacity), *caps),
        is_certain=bool(caps) or not enforced,
    )


def free_places(room: QueueRoom, queue: Iterable[client.Element]) -> int:
    """The number of jobs that still fit, beside those of the user in the queue."""
    mine = [element for element in queue if not element.is_over]
    return min(
        cap.jobs - sum(cap.qos in {None, element.qos} for element in mine) for cap in room.caps
    )


def next_size(groups: Sequence[int], room: QueueRoom, free: int, after: int = 0) -> int:
    """The number of tasks in the next array; less than 1: no array fits now.

    Args:
        groups: the group of each unsent task, in order: an array has one request for resources.
        room: the limits of the cluster.
        free: free places in the queue; one of them is kept for a feeder if not all tasks fit.
        after: 1, if a feeder follows in any case, to choose.
    """
    same = next((n for n, group in enumerate(groups) if group != groups[0]), len(groups))
    return min(same, room.per_array, free if len(groups) + after <= free else free - 1)
