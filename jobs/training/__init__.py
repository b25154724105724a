"""The training of a run, with torch: the loop, checkpoints, costs, provenance; only `jobs.train`, the doctor and commands enter."""
