"""The commands `image`."""

import argparse

from cluster.cli.options import add_command, add_images, add_json, add_root

DESCRIPTION = "Look at the images that were built."
EXAMPLE = "probprec image list"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the commands `list`, `inspect`, `verify` and `prune`."""
    commands = command.add_subparsers(dest="action", metavar="COMMAND", required=True)
    list_ = add_command(
        commands,
        "list",
        "what was built, when, from what",
        "Show which images there are, when they were built, and with which torch.",
        "probprec image list --images /scratch/me/images",
    )
    inspect = add_command(
        commands,
        "inspect",
        "one image: its recipe, packages, labels and hashes",
        "Show all that is known of an image: its recipe, packages and hashes.",
        "probprec image inspect cpu-debian --json",
    )
    inspect.add_argument("image", metavar="IMAGE", help="its name, file, or sha256")
    verify = add_command(
        commands,
        "verify",
        "compare images with the sha256 written down when they were built",
        "Read images again and compare them with the hashes written down when they were built.",
        "probprec image verify cpu-debian",
    )
    verify.add_argument(
        "names", nargs="*", metavar="IMAGE", help="name, file or sha256 (default: all)"
    )
    prune = add_command(
        commands,
        "prune",
        "remove what newer builds have replaced and no unfinished sweep uses",
        "Remove images that newer builds have replaced and no unfinished sweep uses.",
        "probprec image prune",
    )
    add_root(prune)
    for one in (list_, inspect, verify, prune):
        add_images(one)
        add_json(one)


def run(options: argparse.Namespace) -> int:
    """Run the command that the second word names."""
    from cluster.commands import image

    if options.action == "list":
        return image.list_(options.images, as_json=options.json)
    if options.action == "inspect":
        return image.inspect(options.images, options.image, as_json=options.json)
    if options.action == "verify":
        return image.verify(options.images, options.names, as_json=options.json)
    return image.prune(options.images, options.root, as_json=options.json)
