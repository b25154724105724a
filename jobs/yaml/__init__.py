"""Strict YAML of three kinds of files: trees with positions, all mistakes at once; rooms that read a person's file may enter."""
