"""A sweep's folder: its runs, attempts, submissions and choices, written atomically and read with suspicion; every room that looks at runs may enter."""
