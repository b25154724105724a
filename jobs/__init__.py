"""What a job is, does and leaves: spec, run, training, record, results."""
