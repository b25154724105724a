"""A sweep's folder: its runs, attempts, submissions and choices, written atomically and checked when read; every room that reads runs may enter."""
