"""Exit codes of the commands; an `ExpectedError` has its own."""

DONE = 0
INCOMPLETE = 1  # a run or another item is missing or failed
WRONG_INPUT = 2
INTERRUPTED = 130
