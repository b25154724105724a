"""Strict YAML of three kinds of files: trees with positions, all mistakes at once; whoever reads a person's file may enter."""
