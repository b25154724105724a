"""The training of a run, with torch: the loop, checkpoints, costs, provenance; only `jobs.train` and the doctor enter."""
