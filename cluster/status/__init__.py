"""The status of every run of a sweep: files joined with Slurm's queue and accounting, and advice; commands and submissions enter."""
