"""What is printed: text of others made safe, standard output as it is, the system's errors in a line, exit codes; every room may enter."""
