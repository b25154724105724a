"""Runs and sweeps, from spec to record. These modules are the ground floor: every room of `jobs` and `cluster` may enter."""
