"""The command `schema`."""

import argparse

DESCRIPTION = "Print the JSON Schema of a spec, with which editors complete and check it."
EXAMPLE = "probprec schema > spec.schema.json"


def add_arguments(_: argparse.ArgumentParser) -> None:
    """Add nothing: there is one schema."""


def run(_: argparse.Namespace) -> int:
    """Print the schema."""
    from cluster.commands.check import schema

    return schema()
