"""Data sets: where they are found, and how their original files are read."""
