"""How every run of a sweep stands: files joined with Slurm's queue and accounting, and what follows; commands and submissions enter."""
