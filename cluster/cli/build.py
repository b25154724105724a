"""The command `build`."""

import argparse
from pathlib import Path

from cluster.cli.options import add_images, add_json

DESCRIPTION = "Build the image that runs are trained in, once per content of its recipe."
EXAMPLE = "probprec build configs/images/cpu-debian.yaml"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the recipe, and where the image goes."""
    command.add_argument(
        "recipe",
        type=Path,
        metavar="RECIPE",
        help="a recipe, e.g. configs/images/cpu-debian.yaml; or a Dockerfile",
    )
    command.add_argument(
        "--print",
        dest="show",
        nargs="?",
        const="definition",
        choices=("definition", "dockerfile"),
        help="only show what would be built, as a definition file or a Dockerfile",
    )
    add_images(command)
    add_json(command)


def run(options: argparse.Namespace) -> int:
    """Build the image."""
    from cluster.commands.build import build

    return build(options.recipe, options.images, show=options.show, as_json=options.json)
