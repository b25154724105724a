"""A throw-away Slurm on one machine in one private folder: to try a spec on, and to test against.

The command `lab`, rooms that send runs to it, and tests may enter.

`Lab(folder).up(Settings())` starts a lab, `down()` leaves no process and no file behind. Faults, as
operators or bad luck cause them, are methods, too: kill, drain, preempt, fill the disk.
"""

from cluster.lab.lab import Lab
from cluster.lab.settings import Settings

__all__ = ["Lab", "Settings"]
