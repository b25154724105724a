"""The command `probprec`: a module per command with its arguments and help. No other room enters.

Only argparse is imported before the command is known, so that `--help` and completion are quick and
a login node never loads more than it needs. What a command does is imported when it runs.
"""

import argparse
import sys
from collections.abc import Sequence

from cluster.cli import parser
from cluster.terminal import exit_codes, output
from jobs.errors import ExpectedError
from jobs.text import printable_lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code.

    An `ExpectedError` or an error of the system ends in a line on stderr; any other error is a bug.
    """
    output.prepare()
    options = argparse.Namespace()
    try:
        try:
            words = sys.argv[1:] if arguments is None else list(arguments)
            options = parser.parser_for(words).parse_args(words)
            options.words = words
            return parser.load(options.command).run(options)
        finally:
            sys.stdout.flush()  # an error at exit would be lost
    except KeyboardInterrupt:
        return exit_codes.INTERRUPTED
    except BrokenPipeError:
        output.drop_rest()
        return exit_codes.DONE
    except ExpectedError as error:
        return _refused(error, str(error), options, error.exit_code)
    except OSError as error:
        if error.errno is None:
            raise
        from cluster.terminal import system_error

        return _refused(error, system_error.line(error, options), options, exit_codes.INCOMPLETE)


def _refused(error: Exception, text: str, options: argparse.Namespace, code: int) -> int:
    """Print an error; with --json also as the one object on standard output."""
    sys.stderr.write(f"{printable_lines(text)}\n")
    if getattr(options, "json", False):
        output.print_errors(error, text)
    output.drop_rest()
    return code
