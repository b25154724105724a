"""The package settings of whoever builds: pip's indexes and certificates, and the proxies.

They are bound below /mnt while an image is built: the definition names none of them, and nothing
of them stays in the image. What would choose other versions (`constraint`) is left out.
"""

import configparser
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from containers.runtime import ContainerError, bindable
from containers.steps import MOUNT, SETTINGS

_KEPT = (
    "index-url",
    "extra-index-url",
    "no-index",
    "find-links",
    "trusted-host",
    "proxy",
    "cert",
    "client-cert",
    "timeout",
    "retries",
)
_PLACES = ("index-url", "extra-index-url", "find-links", "cert", "client-cert")
_INDEXES = ("index-url", "extra-index-url")

PROXIES = tuple(
    spelled
    for name in ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy")
    for spelled in (name, name.upper())
)


def bind(folder: Path, environment: Mapping[str, str]) -> list[str]:
    """Write the settings into a new `folder`; returns the words that bind it at build time.

    Raises:
        ContainerError: a local index or certificate that pip is told to use is not there, or the
            folder cannot be bound.
    """
    words = ["--bind", f"{bindable(folder, 'TMPDIR leads to ')}:{MOUNT}"]
    inside = folder / Path(SETTINGS).relative_to(MOUNT)
    inside.mkdir(parents=True)
    folder.chmod(0o700)  # an index's URL may hold a password
    binds: dict[Path, str] = {}
    said = {name: _moved(name, value, binds) for name, value in pip_options(environment).items()}
    lines = [f"{name} = {value}" for name, value in said.items()]
    (inside / "pip.conf").write_text("\n".join(["[global]", *lines, ""]))
    exports = {name: environment[name] for name in PROXIES if environment.get(name)}
    exports["PIP_CONFIG_FILE"] = f"{SETTINGS}/pip.conf"
    script = [f"export {name}={shlex.quote(value)}\n" for name, value in exports.items()]
    (inside / "environment").write_text("".join(script))
    for path, there in binds.items():
        point = folder / Path(there).relative_to(MOUNT)
        if path.is_dir():
            point.mkdir()
        else:
            point.touch()
        words += ["--bind", f"{path}:{there}:ro"]
    return words


def pip_options(environment: Mapping[str, str]) -> dict[str, str]:
    """What pip would use here, of its files and of PIP_* variables, as far as it is kept.

    Raises:
        ContainerError: a file that cannot be read, or a certificate that is not there.
    """
    found: dict[str, str] = {}
    for file in _config_files(environment):
        parser = configparser.RawConfigParser()
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError) as error:
            raise ContainerError(f"{file}: not a configuration of pip: {error}") from error
        for section in ("global", "install"):
            if parser.has_section(section):
                found |= {_option(name): value for name, value in parser.items(section)}
    for name, value in environment.items():
        if name.startswith("PIP_"):
            found[_option(name.removeprefix("PIP_"))] = value
    if not found.get("cert") and environment.get("SSL_CERT_FILE"):
        found["cert"] = _certificate(environment["SSL_CERT_FILE"])
    return {name: " ".join(found[name].split()) for name in _KEPT if found.get(name)}


def _certificate(named: str) -> str:
    if not Path(named).exists():
        raise ContainerError(
            f"$SSL_CERT_FILE is {named}, which is not on this machine;"
            " unset it, or let it name the file of your site's certificates"
        )
    return named


def _option(name: str) -> str:
    return name.lower().replace("_", "-").removeprefix("default-").lstrip("-")


def _config_files(environment: Mapping[str, str]) -> Iterator[Path]:
    """Pip's own order: the later one wins."""
    named = environment.get("PIP_CONFIG_FILE")
    if named == os.devnull:  # pip's way to say: none at all
        return
    for folder in reversed((environment.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")):
        yield Path(folder, "pip", "pip.conf")
    yield Path("/etc/pip.conf")
    home = Path(environment.get("HOME", "/"))
    yield home / ".pip" / "pip.conf"
    yield Path(environment.get("XDG_CONFIG_HOME") or home / ".config", "pip", "pip.conf")
    yield Path(sys.prefix, "pip.conf")
    if named:
        yield Path(named)


def _moved(name: str, value: str, binds: dict[Path, str]) -> str:
    """The value with its local places replaced by those that they are bound at."""
    if name not in _PLACES:
        return value
    words = [value] if name in {"cert", "client-cert"} else value.split()
    return " ".join(_moved_place(name, word, binds) for word in words)


def _moved_place(name: str, word: str, binds: dict[Path, str]) -> str:
    path = Path(unquote(urlsplit(word).path) if word.startswith("file:") else word).expanduser()
    if "://" in word and not word.startswith("file:"):
        return word
    if not path.exists():
        raise ContainerError(
            f"pip's {name} is {word}, which is not on this machine;"
            " mend pip's settings (`pip config debug` says which file has it)"
        )
    path = bindable(path.resolve(), f"pip's {name}: ")
    # An index's pages may lead to files beside it.
    outer = path.parent if name in _INDEXES and path.parent != Path("/") else path
    there = binds.setdefault(outer, f"{SETTINGS}/{len(binds)}")
    inside = str(Path(there, path.relative_to(outer)))
    return f"file://{inside}" if word.startswith("file:") else inside


def apt_mirror() -> str:
    """The Debian mirror that this machine's apt uses.

    Raises:
        ContainerError: it uses none.
    """
    wanted = ["Identifier: Packages", "Origin: Debian", "Label: Debian"]
    urls: list[str] = []
    if apt := shutil.which("apt-get"):
        command = [apt, "indextargets", "--format", "$(REPO_URI)", *wanted]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        urls = done.stdout.split()
    if not urls:
        raise ContainerError(
            "this machine's apt names no Debian mirror to install the base from;"
            " write one into the recipe: `base: {debootstrap: SUITE, mirror: URL}`"
        )
    return urls[0]
