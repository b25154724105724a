"""The regime of a run: schedule, clipping, precision, ... beside its hyperparameters; the spec and trainings enter."""
