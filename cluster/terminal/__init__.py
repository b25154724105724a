"""Output to a terminal: foreign text made safe, robust standard output, the system's errors in a line, exit codes; every room may enter."""
