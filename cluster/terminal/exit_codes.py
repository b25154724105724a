"""Exit codes of the commands; an `ExpectedError` has its own."""

DONE = 0
INCOMPLETE = 1  # something is missing or failed
WRONG_INPUT = 2
INTERRUPTED = 130
