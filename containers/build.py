"""An image is built once per key, however many processes ask for it, and whichever is killed on the way."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from containers import process, runtime, settings, steps
from containers.definition import Definition, of_recipe
from containers.errors import naming
from containers.images import SCHEMA, Image, Images, sha256_of
from containers.recipe import Recipe
from containers.runtime import ContainerError, Runtime

_KEPT_VARIABLES = ("PATH", "HOME", "USER", "LOGNAME", "XDG_RUNTIME_DIR", *settings.PROXIES)
_CACHE_VARIABLES = ("APPTAINER_CACHEDIR", "SINGULARITY_CACHEDIR")
"""The only APPTAINER_* variables of the shell that a build sees: caches of layers cannot change an image."""

_NOISE_LINE = re.compile(
    r"^\s*$|^\[|^INFO: |^I: |^\+ |^Collecting |^  ?Downloading |^Requirement already"
    r"|^WARNING: While bind mounting"
)
_ADVICE = {
    "no space left on device|disk quota exceeded": (
        "it needs more room: export {NAME}_TMPDIR and {NAME}_CACHEDIR, naming a folder that has"
        " some (the image itself goes to --images)"
    ),
    "x509: ": (
        "this machine does not trust the registry's certificate: ask for that of your site's"
        " registry or proxy to be installed here"
    ),
    "certificate verify failed": (
        "pip does not trust its index's certificate: `pip config set global.cert FILE` with that"
        " of your site"
    ),
    "toomanyrequests": (
        "the registry allows no more downloads for now: build some hours later, or log in to it"
        " (`{name} registry login`, in old ones `{name} remote login`)"
    ),
    "User not listed in /etc/subuid|no mapping entry found in /etc/sub[ug]id": (
        "you have no subordinate ids on this machine, which many builds need: ask for a line in"
        " /etc/subuid and in /etc/subgid, or build on another machine and write `image: FILE.sif`"
        " in the profile"
    ),
}
"""Advice about a failed build, by patterns in its log (in any case)."""

_ERROR_LINE = re.compile(r"^(E:|W:|ERROR|FATAL)|[Ee]rror:|No space left|Cannot |not found")


def built(wanted: Recipe | Definition, folder: Path) -> Image | None:
    """The image of a recipe, if the recipe has been built as it is now; no runtime is asked.

    Raises:
        ContainerError: a file that the recipe copies cannot be read.
    """
    definition = of_recipe(wanted) if isinstance(wanted, Recipe) else wanted
    images = Images(folder)
    return images.at(images.path(definition.name, definition.key))


def build(
    wanted: Recipe | Definition,
    folder: Path,
    *,
    on_line: Callable[[str], object] = lambda _: None,
    on_tick: Callable[[int], object] = lambda _: None,
    on_wait: Callable[[], object] = lambda: None,
) -> Image:
    """The image of a recipe in `folder`: the existing one, else a new one.

    Of several processes that ask at once, on machines that share the folder, one builds.

    Args:
        wanted: the recipe or definition.
        folder: the folder of the images; made if it does not exist.
        on_line: called with each line of the runtime.
        on_tick: called in each silent second, with the image's size so far in bytes.
        on_wait: called if another process is building this image.

    Raises:
        ContainerError: there is no runtime, or the build failed; names the last lines and the log.
        OSError: the folder cannot be written to.
    """
    definition = of_recipe(wanted) if isinstance(wanted, Recipe) else wanted
    found = built(definition, folder)
    if found is not None:
        return found
    images = Images(folder)
    images.folder.mkdir(parents=True, exist_ok=True)
    path = images.path(definition.name, definition.key)
    with images.locked(path.stem, on_wait) as lock:
        return images.at(path) or _build(definition, images, lock, on_line, on_tick)


def _build(
    definition: Definition,
    images: Images,
    lock: int,
    on_line: Callable[[str], object],
    on_tick: Callable[[int], object],
) -> Image:
    """Build under another name, with the lock held, and then publish."""
    container, started = _builder(), time.time()
    path = images.path(definition.name, definition.key)
    temporary = images.temporary(definition.name, definition.key)
    scratch = scratch_folder(images, path.stem)
    remove(scratch)
    temporary.unlink(missing_ok=True)
    try:
        (scratch / "tmp").mkdir(mode=0o700, parents=True)
        mirror = settings.apt_mirror() if definition.needs_mirror else None
        with naming(path.with_suffix(".def")):
            path.with_suffix(".def").write_text(definition.final(mirror))
        words = [container.path, "build", *_options(container)]
        words += settings.bind(scratch / "mnt", os.environ)
        code = process.run(
            [*words, str(temporary), str(path.with_suffix(".def"))],
            environment=_environment(scratch / "tmp"),
            folder=definition.folder,
            log=path.with_suffix(".log"),
            on_line=on_line,
            on_tick=lambda: on_tick(_size(temporary, scratch / "tmp")),
            hold=lock,
        )
        if code != 0 or not temporary.exists():
            raise ContainerError(_failure(definition, container, path.with_suffix(".log"), code))
        meta = _meta(definition, container, temporary, started) | {"mirror": mirror}
        _publish(path, temporary, meta)
    finally:
        temporary.unlink(missing_ok=True)
        remove(scratch, quietly=True)
    return Image(path=path, meta=meta)


def _size(image: Path, scratch: Path) -> int:
    """The size of an image in the making, in bytes: first its file system in the scratch folder, then the file."""
    sizes = [0]
    for one in (image, *scratch.glob("*/squashfs-*")):
        with suppress(OSError):
            sizes.append(one.lstat().st_size)
    return max(sizes)


def _builder() -> Runtime:
    """The runtime of this machine; `build` takes --bind since Singularity 3.8.0."""
    found = runtime.find()
    if found.name == "singularity" and found.version < (3, 8):
        raise ContainerError(
            f"{found} can run images, but to build them takes Singularity 3.8 or Apptainer:"
            " build on another machine and write `image: FILE.sif` in the profile"
        )
    return found


def _meta(definition: Definition, container: Runtime, file: Path, started: float) -> dict[str, Any]:
    _sync(file)
    return {
        "schema": SCHEMA,
        "name": definition.name,
        "key": definition.key,
        "sha256": sha256_of(file),
        "size": file.stat().st_size,
        "built": time.time(),
        "seconds": round(time.time() - started, 1),
        "runtime": str(container),
        "recipe": str(definition.source),
        "description": definition.description,
        "pinned": definition.pinned,
        "torch": definition.torch,
        "packages": _packages(container, file),
    }


def _packages(container: Runtime, image: Path) -> list[str]:
    """The packages that pip has installed; asking for them proves that the image can be run."""
    words = [container.path, "--silent", "exec", *container.options, "--cleanenv", "--no-home"]
    show = f"if [ -e {steps.PACKAGES} ]; then cat {steps.PACKAGES}; fi"
    done = subprocess.run(
        [*words, "--pwd", "/", str(image), "/bin/sh", "-c", show],
        env=_environment(None),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ContainerError(f"the image was built but does not run here: {done.stderr.strip()}")
    return done.stdout.splitlines()


def _publish(path: Path, temporary: Path, meta: Mapping[str, Any]) -> None:
    """Publish the image, and then its metadata, without which it does not count."""
    temporary.replace(path)
    _sync(path.parent)
    said = path.with_name(f".{path.stem}.json.tmp")
    with naming(said):
        said.write_text(json.dumps(meta, indent=1) + "\n")
    _sync(said)
    said.replace(path.with_suffix(".json"))
    _sync(path.parent)


def _options(container: Runtime) -> list[str]:
    """The options of a build: root with all capabilities needs none; others build with --fakeroot."""
    return ["--fakeroot"] if os.geteuid() != 0 or container.options else []


def _environment(scratch: Path | None) -> dict[str, str]:
    """The runtime's environment has no variable of the shell that can change an image."""
    kept = {
        name: os.environ[name]
        for name in (*_KEPT_VARIABLES, *_CACHE_VARIABLES)
        if name in os.environ
    }
    kept["PATH"] = f"{kept.get('PATH', '')}:/usr/sbin:/sbin".lstrip(":")  # where debootstrap lies
    kept["LC_ALL"] = "C"
    if scratch is not None:
        names = ("TMPDIR", "APPTAINER_TMPDIR", "SINGULARITY_TMPDIR")
        kept |= dict.fromkeys(names, str(scratch))
    return kept


def scratch_folder(images: Images, stem: str) -> Path:
    """The folder in which one image is put together: on this machine, the same for each try."""
    names = ("APPTAINER_TMPDIR", "SINGULARITY_TMPDIR")
    named = next((os.environ[name] for name in names if os.environ.get(name)), None)
    place = hashlib.sha256(os.fsencode(images.folder)).hexdigest()[:8]
    folder = Path(named or tempfile.gettempdir()).absolute()
    return folder / f"probprec-build-{os.getuid()}-{place}-{stem}"


def remove(folder: Path, *, quietly: bool = False) -> None:
    """Remove a scratch folder, files of the user's subordinate ids included.

    Raises:
        ContainerError: the folder is another user's, or cannot be removed; not if `quietly`.
    """
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or folder.lstat().st_uid != os.getuid():
        if quietly:
            return
        raise ContainerError(f"{folder} belongs to somebody else; set TMPDIR to a folder of yours")
    shutil.rmtree(folder, ignore_errors=True)
    unshare = shutil.which("unshare")
    if folder.exists() and unshare:
        words = [unshare, "--map-root-user", "--map-auto", "rm", "-rf", "--", str(folder)]
        subprocess.run(words, capture_output=True, check=False)
    if folder.exists() and not quietly:
        raise ContainerError(
            f"{folder} is left from a build that was killed and cannot be removed;"
            " remove it by hand (`apptainer exec --fakeroot` can), or set TMPDIR to another folder"
        )


def _failure(definition: Definition, container: Runtime, log: Path, code: int) -> str:
    lines = log.read_text(errors="replace").splitlines()
    said = [line for line in lines if not _NOISE_LINE.search(line)]
    last = said[-12:]
    telling = [line for line in said[:-12] if _ERROR_LINE.search(line)][-5:]
    shown = "\n".join(f"  {line}" for line in [*telling, *last]) or "  (nothing was said)"
    head = f"{definition.source}: the build failed (exit code {code}):"
    return "\n".join([head, shown, f"all of it: {log}", *_advice(container, lines)])


def _advice(container: Runtime, lines: Sequence[str]) -> list[str]:
    """The advice by the whole log: the lines that are shown leave out the runtime's INFO."""
    names = {"name": container.name, "NAME": container.name.upper()}
    return [
        f"next: {advice.format(**names)}"
        for said, advice in _ADVICE.items()
        if re.search(said, "\n".join(lines), re.IGNORECASE)
    ]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
