"""The data sets that are read from files: where they are looked for, and how they are read; problems enter."""
