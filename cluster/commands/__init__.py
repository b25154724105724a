"""The commands that a person types, a module each; only `cluster.cli` enters."""
