"""Slurm's commands are run here alone, and its states and reasons explained; rooms that ask or send enter."""
