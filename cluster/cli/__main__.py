"""`python -m cluster.cli`: the command `probprec`."""

import sys

from cluster.cli import main

if __name__ == "__main__":
    sys.exit(main())
