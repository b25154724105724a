"""A throw-away Slurm on one machine in one private folder: to try a spec on, and to test against.

The command `lab`, whoever sends to it, and tests may enter.

`Lab(folder).up(Settings())` starts it, `down()` leaves nothing running and nothing behind. What an
operator or bad luck does to a cluster is a method, too: kill, drain, preempt, fill the disk.
"""

from cluster.lab.lab import Lab
from cluster.lab.settings import Settings

__all__ = ["Lab", "Settings"]
