"""The commands that a person types do their work here, a module each; only `cluster.cli` enters."""
