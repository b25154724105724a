"""Slurm's commands, and what its words mean: the only place that runs them; whoever asks or sends enters."""
