"""The commands `probprec image` list, verify and prune the images that were built."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from cluster.terminal.exit_codes import DONE, INCOMPLETE
from cluster.terminal.output import print_json
from cluster.terminal.plain import PlainConsole, plain
from containers import build as building
from containers.images import Image, Images, sha256_of
from containers.runtime import ContainerError
from jobs.errors import InputError
from jobs.store.store import Store
from jobs.units import megabytes

SCHEMA = 1


def list_(images: Path, *, as_json: bool) -> int:
    """Print the images of a folder, by name, the newest first."""
    found = Images(images).all()
    if as_json:
        print_json({"schema": SCHEMA, "images": [_content(image) for image in found]})
        return DONE
    console = _console()
    if not found:
        console.print(f"no images in {images}; next: probprec build RECIPE")
        return DONE
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("name", "key", "size", "built", "torch", "pinned"):
        table.add_column(heading, justify="right" if heading == "size" else "left")
    for image in found:
        pinned = plain("yes") if image.meta["pinned"] else plain("no", "yellow")
        size = megabytes(image.meta["size"])
        row = (image.name, image.key, size, _when(image), _torch(image))
        table.add_row(*map(plain, row), pinned)
    console.print(table)
    return DONE


def inspect(images: Path, image: str, *, as_json: bool) -> int:
    """Print an image's metadata; `image` is its path, name, or sha256.

    Raises:
        InputError: no such image, or several.
    """
    found = _find(Images(images), image)
    if as_json:
        print_json({"schema": SCHEMA, "image": _content(found)})
        return DONE
    console = _console()
    said = dict(found.meta) | {"path": str(found.path), "built": _when(found)}
    files = {"definition": found.path.with_suffix(".def"), "log": found.log_file}
    said |= {name: str(path) for name, path in files.items() if path.exists()}
    packages = said.pop("packages")
    for name, value in said.items():
        if name != "schema" and value not in {None, ""}:
            console.print(plain(f"{name:<12}", "bold") + plain(value))
    console.print(plain(f"{len(packages)} packages", "bold"))
    for package in packages:
        console.print(plain(f"  {package}"))
    return DONE


def verify(images: Path, names: Sequence[str], *, as_json: bool) -> int:
    """Read images again and compare their hashes; 1 if one is not what was built.

    Raises:
        InputError: no such image, or several.
    """
    known = Images(images)
    chosen = [_find(known, name) for name in names] if names else known.all()
    rows = [_verified(image) for image in chosen]
    if as_json:
        print_json({"schema": SCHEMA, "images": rows})
    else:
        console = _console()
        for row in rows:
            good = row["found"] == row["sha256"]
            said = row["found"] if good else f"sha256 {row['found']}, expected {row['sha256']}"
            console.print(plain(f"{row['path']}: {said}", "" if good else "bold red"))
        if not rows:
            console.print(f"no images in {images}")
    return DONE if all(row["ok"] for row in rows) else INCOMPLETE


def prune(images: Path, root: Path, *, as_json: bool) -> int:
    """Remove the leftovers of killed builds, and images that newer ones have replaced.

    An image stays if an unfinished sweep below `root` was submitted with it.
    """
    known = Images(images)
    in_use = _in_use(root)
    removed = list(_leftovers(known))
    kept: list[dict[str, Any]] = []
    for image, newer in _replaced(known):
        row = {"path": str(image.path), "size": image.meta["size"]}
        sweep = in_use.get(image.path.resolve())
        if sweep is not None:
            kept.append({**row, "why": f"{sweep} has runs without a record that use it"})
        elif _remove(known, image):
            removed.append({**row, "why": f"replaced by {newer.path.name}"})
        else:
            kept.append({**row, "why": "it is being built just now"})
    if as_json:
        print_json({"schema": SCHEMA, "removed": removed, "kept": kept})
        return DONE
    console = _console()
    for verb, rows in (("removed", removed), ("kept", kept)):
        for row in rows:
            console.print(f"{verb} {row['path']} ({megabytes(row['size'])}): {row['why']}")
    if not removed and not kept:
        console.print("nothing to remove")
    return DONE


def _find(known: Images, text: str) -> Image:
    try:
        found = known.find(text)
    except ContainerError as error:
        raise InputError(str(error)) from error
    if found is None:
        names = ", ".join(image.path.stem for image in known.all()) or "none"
        raise InputError(f"no image {text!r} in {known.folder} (there: {names})")
    return found


def _content(image: Image) -> dict[str, Any]:
    return {**image.meta, "path": str(image.path)}


def _verified(image: Image) -> dict[str, Any]:
    try:
        found = sha256_of(image.path)
    except OSError as error:
        found = str(error.strerror)
    row = {"path": str(image.path), "sha256": image.sha256, "found": found}
    return {**row, "ok": found == image.sha256}


def _leftovers(known: Images) -> Iterator[dict[str, Any]]:
    """Remove the leftovers of builds that no longer run."""
    for stem in known.unfinished():
        with known.locked_at_once(stem) as held:
            paths = known.unfinished().get(stem, []) if held else []
            for path in paths:
                size = path.stat().st_size
                path.unlink()
                if path != known.lock_file(stem):
                    yield {"path": str(path), "size": size, "why": "its build failed or was killed"}
            if paths:
                building.remove(building.scratch_folder(known, stem), quietly=True)


def _replaced(known: Images) -> Iterator[tuple[Image, Image]]:
    """Each image that has a newer one of the same name, and the newer one."""
    newest: dict[str, Image] = {}
    for image in known.all():
        if image.name in newest:
            yield image, newest[image.name]
        else:
            newest[image.name] = image


def _remove(known: Images, image: Image) -> bool:
    """Remove an image, its metadata first, so that no torn one is left; False: another process locks it."""
    with known.locked_at_once(image.path.stem) as held:
        if not held:
            return False
        for path in (image.meta_file, image.path, image.log_file, image.path.with_suffix(".def")):
            path.unlink(missing_ok=True)
        known.lock_file(image.path.stem).unlink(missing_ok=True)
    return True


def _in_use(root: Path) -> dict[Path, str]:
    """The images of every submission of each sweep, as long as a run of the sweep has no record.

    Every submission counts: the jobs of an older one may still wait in the queue.
    """
    found = {}
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        store = Store(folder)
        if not store.exists():
            continue
        runs = store.sweep().runs
        if all(store.run(planned.run.id).record_file.exists() for planned in runs):
            continue
        for submission in store.submissions():
            try:
                image = submission.plan().image
            except (ValueError, KeyError) as error:
                raise InputError(
                    f"{submission.file} cannot be read: {error}; nothing was removed"
                ) from error
            if image:
                found[image.path.resolve()] = str(folder)
    return found


def _when(image: Image) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(image.built))


def _torch(image: Image) -> str:
    """The version of torch in an image, as pip names it: `2.13.0+cpu`."""
    pins = (package.partition("==") for package in image.meta["packages"])
    return next((version for name, _, version in pins if name == "torch"), "-")


def _console() -> Console:
    return PlainConsole(soft_wrap=True)
