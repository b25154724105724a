"""What the commands do that a person types, a module each; only `cluster.cli` enters."""
