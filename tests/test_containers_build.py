"""Building images with the real Apptainer, from a tree of a few kilobytes: once, whole, and alone."""

import hashlib
import json
import os
import pty
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import spython

from cluster.commands import build as command
from containers import build as building
from containers.definition import of_recipe
from containers.dockerfile import of_dockerfile
from containers.images import Images, sha256_of
from containers.recipe import Base, Recipe
from containers.runtime import ContainerError, find
from tests.helpers import LONG, make_base, wait_for

ROOT = Path(__file__).parents[1]
SLOW = "echo in the middle; sleep 60; echo too late"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The smallest unpacked tree that a build can start from."""
    return make_base(tmp_path / "base")


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where images are put together."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("APPTAINER_TMPDIR", str(folder))
    return folder


def recipe(base: Path, *post: str, name: str = "tiny", **more: object) -> Recipe:
    file = base.parent / f"{name}.yaml"
    return Recipe(
        name=name, file=file, base=Base(kind="localimage", name=base.name), post=post, **more
    )


def inside(image: Path, *words: str) -> str:
    runtime = find()
    command = [runtime.path, "--silent", "exec", *runtime.options, "--cleanenv", "--no-home"]
    done = subprocess.run(
        [*command, "--pwd", "/", str(image), *words], capture_output=True, text=True, check=True
    )
    return done.stdout


def leftovers(images: Path, scratch: Path) -> list[str]:
    temporary = [path.name for path in images.iterdir() if path.name.endswith(".tmp")]
    return [*temporary, *(path.name for path in scratch.iterdir())]


@pytest.mark.apptainer
def test_an_image_says_what_it_is(base: Path, scratch: Path, tmp_path: Path) -> None:
    wanted = recipe(base, "echo made >/made", description="a test")
    lines: list[str] = []
    assert building.built(wanted, tmp_path / "images") is None

    begun = time.time()
    image = building.build(wanted, tmp_path / "images", on_line=lines.append)
    ended = time.time()

    key = of_recipe(wanted).key
    assert image.path == tmp_path / "images" / f"tiny-{key[:12]}.sif"
    assert (
        image.sha256 == sha256_of(image.path) == hashlib.sha256(image.path.read_bytes()).hexdigest()
    )
    said = json.loads(image.meta_file.read_text())
    assert said == image.meta
    assert (said["schema"], said["name"], said["key"]) == (1, "tiny", key)
    assert (said["recipe"], said["description"]) == (str(wanted.file), "a test")
    assert (said["size"], said["packages"]) == (image.path.stat().st_size, [])
    assert said["runtime"] == str(find())
    assert said["pinned"] is True
    assert said["seconds"] > 0
    assert begun <= said["built"] <= ended
    assert any("echo made" in line for line in lines)
    assert image.log_file.read_text().splitlines() == lines
    assert leftovers(tmp_path / "images", scratch) == []


@pytest.mark.apptainer
@pytest.mark.usefixtures("scratch")
def test_what_a_recipe_asks_for_is_inside(base: Path, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("by hand")
    wanted = recipe(
        base,
        "echo made >/made",
        files={"note.txt": "/opt/note.txt"},
        environment={"GREETING": 'a "$HOME" \\ `b`'},
        labels={"org.example.who": "me"},
    )

    image = building.build(wanted, tmp_path / "images")

    assert inside(image.path, "cat", "/made", "/opt/note.txt") == "made\nby hand"
    assert inside(image.path, "sh", "-c", 'echo "$GREETING"') == 'a "$HOME" \\ `b`\n'
    assert inside(image.path, "ls", "-A", "/mnt") == ""
    labels = json.loads(inside(image.path, "cat", "/.singularity.d/labels.json"))
    assert labels["org.probprec.recipe"] == of_recipe(wanted).key
    assert labels["org.example.who"] == "me"
    assert labels["org.probprec.pinned"] == "true"
    assert labels["org.probprec.built"].startswith("20")
    definition = inside(image.path, "cat", "/.singularity.d/Singularity")
    assert str(tmp_path) not in definition


@pytest.mark.apptainer
@pytest.mark.usefixtures("scratch")
def test_labels_are_not_those_of_the_image_that_it_starts_from(base: Path, tmp_path: Path) -> None:
    (base / ".singularity.d").mkdir()
    old = {"org.probprec.recipe": "old", "org.probprec.built": "old"}
    (base / ".singularity.d" / "labels.json").write_text(json.dumps(old))

    image = building.build(recipe(base), tmp_path / "images")

    labels = json.loads(inside(image.path, "cat", "/.singularity.d/labels.json"))
    assert labels["org.probprec.recipe"] == image.meta["key"]
    assert labels["org.probprec.built"].startswith("20")


@pytest.mark.apptainer
def test_the_second_call_asks_no_runtime(
    base: Path, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = building.build(recipe(base), tmp_path / "images")
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))

    again = building.build(recipe(base), tmp_path / "images")

    assert again == first == building.built(recipe(base), tmp_path / "images")
    with pytest.raises(ContainerError, match="neither apptainer nor singularity is on the PATH"):
        building.build(recipe(base, "true"), tmp_path / "images")
    assert not list(scratch.iterdir())


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A runtime alone on the PATH whose `build` says some lines and fails."""
    commands = tmp_path / "bin"
    commands.mkdir()
    monkeypatch.setenv("PATH", str(commands))

    def put(name: str, version: str, *lines: str) -> None:
        said = "".join(f"echo {shlex.quote(line)}\n" for line in lines)
        (commands / name).write_text(
            f'#!/bin/sh\n[ "$1" = --version ] && echo "{name} version {version}" && exit\n'
            f"{said}exit 255\n"
        )
        (commands / name).chmod(0o755)

    return put


def failure(base: Path, images: Path) -> str:
    with pytest.raises(ContainerError) as caught:
        building.build(recipe(base), images)
    return str(caught.value)


@pytest.mark.parametrize("version", ["3.7.3", "3.7.1-1.el7", "2.6.1-dist", "3.5.0+12-gabcdef"])
def test_singularity_without_binds_at_build_time(
    base: Path, scratch: Path, tmp_path: Path, stand_in: Callable[..., None], version: str
) -> None:
    """Its `build` takes --bind since 3.8.0."""
    stand_in("singularity", version, "unknown flag: --bind")

    said = failure(base, tmp_path / "images")

    number = version.partition("-")[0].partition("+")[0]
    assert said.startswith(f"singularity {number} can run images, but to build them takes")
    assert "Singularity 3.8 or Apptainer" in said
    assert "`image: FILE.sif` in the profile" in said
    assert leftovers(tmp_path / "images", scratch) == []


@pytest.mark.parametrize("version", ["3.8.0", "3.8.7-1.el8", "3.10.2", "4.1.0"])
@pytest.mark.usefixtures("scratch")
def test_singularity_that_is_asked_to_build(
    base: Path, tmp_path: Path, stand_in: Callable[..., None], version: str
) -> None:
    stand_in("singularity", version, "FATAL: it is broken")

    assert "FATAL: it is broken" in failure(base, tmp_path / "images")


ROOM = "_TMPDIR and {0}_CACHEDIR, naming a folder that has some"
IDS = "you have no subordinate ids on this machine"


@pytest.mark.parametrize(
    ("name", "line", "advice"),
    [
        ("apptainer", "INFO:    User not listed in /etc/subuid, trying root-mapped namespace", IDS),
        (
            "singularity",
            "FATAL:   could not use fakeroot: no mapping entry found in /etc/subuid for me",
            IDS,
        ),
        ("apptainer", "FATAL: write /tmp/a: no space left on device", "APPTAINER" + ROOM),
        ("singularity", "Disk quota exceeded", "SINGULARITY" + ROOM),
        (
            "apptainer",
            "FATAL: x509: certificate signed by unknown authority",
            "this machine does not trust the registry's certificate",
        ),
        (
            "apptainer",
            "SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed')",
            "pip does not trust its index's certificate",
        ),
        (
            "singularity",
            "toomanyrequests: You have reached your pull rate limit.",
            "(`singularity registry login`, in old ones `singularity remote login`)",
        ),
    ],
)
@pytest.mark.usefixtures("scratch")
def test_what_to_do_about_a_build_that_cannot_work(
    base: Path, tmp_path: Path, stand_in: Callable[..., None], name: str, line: str, advice: str
) -> None:
    """Whatever was said, and however long ago; after where all of it is."""
    stand_in(name, "4.1.0", line, *(["+ true"] * 30), *(["and on it went"] * 30))

    log, *advised = failure(base, tmp_path / "images").partition("all of it: ")[2].splitlines()

    assert line in Path(log).read_text()
    assert len(advised) == 1
    assert advised[0].startswith("next: ")
    assert advice.format(name.upper()) in advised[0]


SILENT = """\
#!/bin/sh
PATH=/usr/bin:/bin
[ "$1" = --version ] && echo "apptainer version 1.4.5" && exit
[ "$1" = build ] || exit 0
echo "INFO:    Creating SIF file..."
printf 'half \\303'
mkdir "$TMPDIR/bundle-temp-1"
head -c 3000000 /dev/zero >"$TMPDIR/bundle-temp-1/squashfs-2"
for _ in $(seq 6000); do [ -e go ] && break; sleep 0.1; done
printf '\\251 a line\\r1%%\\r\\n2%%\\n\\377'
for file; do previous=$last; last=$file; done
echo image >"$previous"
"""
"""What mksquashfs is like, until there is a file `go` beside the recipe; a letter is cut in two."""


@pytest.fixture
def silent(tmp_path: Path, base: Path, stand_in: Callable[..., None]) -> Path:
    """A recipe for a runtime that says nothing for as long as it takes."""
    stand_in("apptainer", "1.4.5")
    (tmp_path / "bin" / "apptainer").write_text(SILENT)
    (tmp_path / "tiny.yaml").write_text(f"base: {{localimage: {base.name}}}\n")
    return tmp_path / "tiny.yaml"


@pytest.mark.usefixtures("scratch")
def test_silence_is_told_with_what_has_grown(silent: Path, tmp_path: Path) -> None:
    sizes, lines = [], []

    def tick(size: int) -> None:
        sizes.append(size)
        (tmp_path / "go").touch()

    definition = command.definition_of(silent)
    image = building.build(definition, tmp_path / "images", on_line=lines.append, on_tick=tick)

    assert sizes[0] == 3_000_000
    assert lines == ["INFO:    Creating SIF file...", "half \u00e9 a line", "1%", "2%", "\ufffd"]
    assert image.log_file.read_text().splitlines() == lines
    assert image.path.read_text() == "image\n"


@pytest.mark.usefixtures("scratch")
def test_a_log_is_told_that_it_goes_on(
    silent: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Now and then, here at each tick."""
    monkeypatch.setattr(command, "_SILENCE_S", 0.0)
    tick = command._Progress.tick

    def and_go(progress: command._Progress, size: int) -> None:
        tick(progress, size)
        (tmp_path / "go").touch()

    monkeypatch.setattr(command._Progress, "tick", and_go)
    assert command.build(silent, tmp_path / "images", show=None, as_json=False) == 0

    first, second, *_ = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"tiny: squash \(\d+ s\) *", first)
    assert re.match(r"tiny: squash \(\d+ s, 3 MB\)  INFO: +Creating SIF file", second)


def test_a_terminal_shows_it_and_can_be_interrupted(
    silent: Path, scratch: Path, tmp_path: Path
) -> None:
    """The real command on a terminal; Ctrl-C while the runtime is silent leaves nothing."""
    images = tmp_path / "images"
    words = [sys.executable, "-m", "cluster.cli", "build", str(silent), "--images", str(images)]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    process = subprocess.Popen(words, cwd=ROOT, stdout=theirs, env=environment)
    os.close(theirs)
    os.set_blocking(ours, False)
    shown = bytearray()

    def is_shown() -> bool:
        with suppress(BlockingIOError):
            shown.extend(os.read(ours, 1 << 16))
        return b", 3 MB)" in shown

    wait_for(is_shown, what="a tick on the screen")
    process.send_signal(signal.SIGINT)
    os.set_blocking(ours, True)
    with suppress(OSError):  # of a terminal that nobody has open
        while os.read(ours, 1 << 16):
            pass

    assert process.wait(timeout=LONG) == 130
    wait_for(lambda: not processes_of(scratch), what="nothing runs on")
    assert leftovers(images, scratch) == []
    assert Images(images).all() == []


@pytest.mark.usefixtures("scratch")
def test_names_of_certificates_are_no_reason(
    base: Path, tmp_path: Path, stand_in: Callable[..., None]
) -> None:
    stand_in("apptainer", "1.4.5", "+ apt-get install ca-certificates", "Updating certificates")

    assert "next: " not in failure(base, tmp_path / "images")


def test_the_command_says_what_to_write(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.yaml").write_text("base: {localimage: base}\n")
    images = Images(tmp_path / "images")
    path = images.path("tiny", command.definition_of(tmp_path / "tiny.yaml").key)
    images.folder.mkdir()
    path.write_bytes(b"image")
    about = {"schema": 1, "name": "tiny", "size": 5, "sha256": "0" * 64, "pinned": False}
    path.with_suffix(".json").write_text(json.dumps(about))

    assert command.build(tmp_path / "tiny.yaml", images.folder, show=None, as_json=False) == 0
    assert capsys.readouterr().out.endswith(f"\nnext: write `image: {path}` in the profile\n")

    assert command.build(tmp_path / "tiny.yaml", images.folder, show=None, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["path"] == str(path)
    assert base.is_dir()


def test_the_key_is_all_that_decides(base: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("a")
    wanted = recipe(base, files={"folder": "/folder"})
    keys = [of_recipe(wanted).key]

    (tmp_path / "folder" / "__pycache__").mkdir()
    (tmp_path / "folder" / "__pycache__" / "a.pyc").write_text("compiled")
    os.utime(tmp_path / "folder" / "a.txt", (1, 1))
    assert of_recipe(wanted).key == keys[0]
    for change in (
        lambda: (tmp_path / "folder" / "a.txt").write_text("b"),
        lambda: (tmp_path / "folder" / "a.txt").chmod(0o755),
        lambda: (tmp_path / "folder" / "a.txt").rename(tmp_path / "folder" / "b.txt"),
        lambda: (tmp_path / "folder" / "link").symlink_to("b.txt"),
        lambda: (base / "etc" / "passwd").write_text("changed"),
    ):
        change()
        keys.append(of_recipe(wanted).key)
    keys.append(of_recipe(recipe(base, "true", files={"folder": "/folder"})).key)

    assert len(set(keys)) == len(keys)
    shutil.rmtree(tmp_path / "folder")
    with pytest.raises(ContainerError, match=r"folder: No such file .*tiny\.yaml copies it"):
        building.built(wanted, tmp_path / "images")


@pytest.mark.apptainer
@pytest.mark.usefixtures("scratch")
def test_two_at_once_build_once(base: Path, tmp_path: Path) -> None:
    wanted = recipe(base, "sleep 1")
    built, waited, lines = [], [], []

    def build() -> None:
        image = building.build(
            wanted,
            tmp_path / "images",
            on_line=lines.append,
            on_wait=lambda: waited.append(time.monotonic()),
        )
        built.append(image)

    threads = [threading.Thread(target=build) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(built) == 3
    assert built[0] == built[1] == built[2]
    assert len(waited) == 2
    assert sum("Creating SIF file" in line for line in lines) == 1


def in_the_middle(wanted: Recipe, images: Path) -> Callable[[], bool]:
    log = Images(images).path(wanted.name, of_recipe(wanted).key).with_suffix(".log")
    return lambda: log.exists() and "\nin the middle\n" in log.read_text()


def processes_of(scratch: Path) -> list[str]:
    """Command lines of all that works in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with suppress(OSError):
                environment = (entry / "environ").read_bytes()
                command = (entry / "cmdline").read_bytes()
                if os.fsencode(scratch) in environment + command and command:
                    found.append(command.decode().replace("\0", " "))
    return found


@pytest.mark.apptainer
def test_killed_in_the_middle_then_built_whole(base: Path, scratch: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    wanted = recipe(base, "if [ -e /mnt/probprec/wait ]; then echo in the middle; sleep 60; fi")
    killed = start_waiting(wanted, images)
    wait_for(in_the_middle(wanted, images))
    assert processes_of(scratch)

    killed.kill()
    killed.wait()
    assert building.built(wanted, images) is None
    assert Images(images).all() == []
    assert leftovers(images, scratch)
    image = building.build(wanted, images)

    assert not processes_of(scratch)
    assert leftovers(images, scratch) == []
    assert image.sha256 == sha256_of(image.path)
    assert "in the middle" not in image.log_file.read_text()


def start_waiting(wanted: Recipe, images: Path) -> subprocess.Popen[bytes]:
    """A build whose %post finds /mnt/probprec/wait: the recipe, and so its key, stays the same."""
    code = (
        "from pathlib import Path, PosixPath\n"
        "from containers import build, settings\n"
        "from containers.recipe import Base, Recipe\n"
        "bind = settings.bind\n"
        "def and_wait(folder, environment):\n"
        "    words = bind(folder, environment)\n"
        "    (folder / 'probprec' / 'wait').touch()\n"
        "    return words\n"
        "settings.bind = and_wait\n"
        f"build.build({wanted!r}, Path({str(images)!r}))\n"
    )
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)


@pytest.mark.apptainer
def test_killed_before_it_was_published(base: Path, scratch: Path, tmp_path: Path) -> None:
    """Between the image's rename and the file that says that it is one."""
    wanted, images = recipe(base), tmp_path / "images"
    path = Images(images).path("tiny", of_recipe(wanted).key)
    images.mkdir()
    path.write_bytes(b"half of an image")

    assert building.built(wanted, images) is None
    image = building.build(wanted, images)
    assert image.sha256 == sha256_of(path)

    with path.open("r+b") as file:  # as a copy that was torn
        file.truncate(1000)
    assert building.built(wanted, images) is None
    assert building.build(wanted, images).sha256 == sha256_of(path)
    assert leftovers(images, scratch) == []


@pytest.mark.apptainer
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(base: Path, scratch: Path, tmp_path: Path, number: int) -> None:
    """As the command is: nothing is left, nothing runs on, the exit code says so."""
    text = f"base: {{localimage: {base.name}}}\npost: ['{SLOW}']\n"
    (tmp_path / "tiny.yaml").write_text(text)
    images = tmp_path / "images"
    command = [sys.executable, "-m", "cluster.cli", "build", str(tmp_path / "tiny.yaml")]
    process = subprocess.Popen([*command, "--images", str(images)], cwd=ROOT)
    wait_for(lambda: any("in the middle\n" in log.read_text() for log in images.glob("*.log")))

    process.send_signal(number)

    assert process.wait(timeout=LONG) == 130
    wait_for(lambda: not processes_of(scratch), what="nothing runs on")
    assert leftovers(images, scratch) == []
    assert Images(images).all() == []


@pytest.mark.apptainer
@pytest.mark.parametrize("command", ["echo E: it is broken; exit 3", "no-such-command"])
def test_a_failing_post(base: Path, scratch: Path, tmp_path: Path, command: str) -> None:
    wanted = recipe(base, command, "echo too late")

    with pytest.raises(ContainerError) as caught:
        building.build(wanted, tmp_path / "images")

    said = str(caught.value)
    log = next((tmp_path / "images").glob("*.log"))
    assert said.startswith(f"{wanted.file}: the build failed (exit code ")
    assert ("E: it is broken" if "broken" in command else "no-such-command: not found") in said
    assert said.endswith(f"all of it: {log}")
    assert "too late" not in log.read_text()
    assert leftovers(tmp_path / "images", scratch) == []
    assert Images(tmp_path / "images").all() == []


@pytest.mark.apptainer
def test_a_failing_test(base: Path, scratch: Path, tmp_path: Path) -> None:
    """The image's own test decides whether it is one."""
    python = tmp_path / "python3"
    python.write_text('#!/bin/sh\n[ "$1" = -m ] || { echo "python3 is Python 3.5"; exit 1; }\n')
    python.chmod(0o755)
    wanted = recipe(base, python="3.11", files={"python3": "/bin/python3"})

    with pytest.raises(ContainerError, match=r"(?s)python3 is Python 3\.5.*all of it: "):
        building.build(wanted, tmp_path / "images")

    assert leftovers(tmp_path / "images", scratch) == []
    python.write_text("#!/bin/sh\necho numpy==2.4.6\n")
    assert building.build(wanted, tmp_path / "images").meta["packages"] == ["numpy==2.4.6"]


@pytest.mark.apptainer
@pytest.mark.usefixtures("scratch")
def test_a_poisoned_environment_changes_nothing(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "APPTAINER_BIND": f"{tmp_path}:/opt",
        "SINGULARITY_BIND": f"{tmp_path}:/opt",
        "APPTAINER_NOTEST": "1",
        "APPTAINER_SANDBOX": "1",
        "APPTAINERENV_POISON": "1",
        "SINGULARITYENV_POISON": "1",
        "APPTAINER_DEBUG": "1",
        "PYTHONPATH": "/poison",
        "LD_PRELOAD": "/poison.so",
        "LD_LIBRARY_PATH": "/poison",
        "POISON": "1",
    }.items():
        monkeypatch.setenv(name, value)

    image = building.build(recipe(base, "env >/env", "ls -A /opt >>/env"), tmp_path / "images")

    seen = inside(image.path, "cat", "/env")
    assert "POISON=" not in seen
    assert "/poison" not in seen
    assert "LD_PRELOAD" not in seen
    assert ":/opt" not in seen
    assert "\nscratch\n" not in seen
    assert "DEBUG" not in image.log_file.read_text()


@pytest.mark.apptainer
@pytest.mark.usefixtures("scratch")
def test_the_settings_of_whoever_builds_are_there_while_it_is_built(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = tmp_path / "some wheels"
    wheels.mkdir()
    (wheels / "a.whl").write_text("a wheel")
    certificate = tmp_path / "cert.pem"
    certificate.write_text("a certificate")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_FIND_LINKS", wheels.as_uri())
    monkeypatch.setenv("PIP_CERT", str(certificate))
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    wanted = recipe(
        base,
        "cat $PIP_CONFIG_FILE >/pip.conf",
        "cat /mnt/probprec/*/a.whl >/wheel",
        "cat $(sed -n 's/^cert = //p' $PIP_CONFIG_FILE) >/cert",
        "echo $http_proxy >/proxy",
    )

    image = building.build(wanted, tmp_path / "images")

    conf = inside(image.path, "cat", "/pip.conf")
    assert "find-links = file:///mnt/probprec/" in conf
    seen = inside(image.path, "cat", "/wheel", "/cert", "/proxy")
    assert seen == "a wheela certificatehttp://proxy.example:3128\n"
    assert inside(image.path, "ls", "-A", "/mnt") == ""


@pytest.mark.apptainer
@pytest.mark.usefixtures("scratch")
def test_a_dockerfile_that_starts_from_nowhere_fails_with_its_reason(tmp_path: Path) -> None:
    """It is converted, and handed to the runtime, which cannot pull it here."""
    (tmp_path / "Dockerfile").write_text("FROM no-such-registry.invalid/a:b\nRUN true\n")

    with pytest.raises(ContainerError, match=r"(?s)the build failed.*no-such-registry"):
        building.build(of_dockerfile(tmp_path / "Dockerfile"), tmp_path / "images")


@pytest.fixture
def user() -> Iterator[pwd.struct_passwd]:
    """An ordinary user with subordinate ids; ourselves, if we are one."""
    if os.geteuid() != 0:
        yield pwd.getpwuid(os.getuid())
        return
    name = f"prec{os.getpid()}"
    subprocess.run(["useradd", "--create-home", name], check=True)
    subprocess.run(
        ["usermod", "--add-subuids", "300000-365535", "--add-subgids", "300000-365535", name],
        check=True,
    )
    try:
        yield pwd.getpwnam(name)
    finally:
        subprocess.run(["userdel", "--remove", name], check=True, capture_output=True)


def as_user(user: pwd.struct_passwd, code: str) -> subprocess.CompletedProcess[str]:
    """With the system's Python and a copy of the room: the checkout may be closed to others."""
    library = Path(user.pw_dir) / "library"
    for package in (ROOT / "containers", Path(spython.__file__).parent):
        shutil.copytree(package, library / package.name)
    ids = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    return subprocess.run(
        ["/usr/bin/python3", "-c", code],
        cwd=user.pw_dir,
        env={"PATH": os.environ["PATH"], "HOME": user.pw_dir, "PYTHONPATH": str(library)},
        capture_output=True,
        text=True,
        check=False,
        **(ids if os.geteuid() == 0 else {}),
    )


@pytest.mark.apptainer
def test_an_ordinary_user_builds(user: pwd.struct_passwd) -> None:
    """Files of its subordinate ids included, which it cannot remove as itself."""
    home = Path(user.pw_dir)
    base = make_base(home / "base")
    wanted = recipe(
        base, "echo made >/made", "mkdir -m 700 /other", "echo a >/other/a", "chown -R 33:33 /other"
    )
    code = (
        "import os\n"
        "from pathlib import Path, PosixPath\n"
        "from containers import build\n"
        "from containers.recipe import Base, Recipe\n"
        "os.environ['TMPDIR'] = os.getcwd()\n"
        f"image = build.build({wanted!r}, Path('images'))\n"
        "print(image.path)\n"
        "print(*Path().glob('probprec-build-*'))\n"
    )

    done = as_user(user, code)

    assert done.returncode == 0, done.stderr
    path, left = done.stdout.splitlines()
    assert left == ""
    assert Path(path).stat().st_uid == user.pw_uid
    assert inside(Path(path), "cat", "/made") == "made\n"


@pytest.mark.apptainer
def test_what_a_killed_build_left_of_other_ids_is_removed(user: pwd.struct_passwd) -> None:
    code = (
        "import subprocess\n"
        "from pathlib import Path\n"
        "from containers import build\n"
        "folder = Path('left')\n"
        "folder.mkdir()\n"
        "inner = 'mkdir -p left/a && touch left/a/b && chown -R 33:33 left/a && chmod 500 left/a'\n"
        "words = ['unshare', '--map-root-user', '--map-auto', 'sh', '-c', inner]\n"
        "subprocess.run(words, check=True)\n"
        "build.remove(folder)\n"
        "print(folder.exists())\n"
    )

    done = as_user(user, code)

    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


def test_somebody_elses_scratch_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "mine")

    building.remove(tmp_path / "link", quietly=True)
    with pytest.raises(ContainerError, match="belongs to somebody else; set TMPDIR"):
        building.remove(tmp_path / "link")

    assert (tmp_path / "mine").is_dir()
    building.remove(tmp_path / "nothing")


@pytest.mark.apptainer
@pytest.mark.usefixtures("scratch")
def test_an_image_is_the_base_of_another(base: Path, tmp_path: Path) -> None:
    """`localimage:` of a .sif: its files and its variables are there, and the new ones, too."""
    first = building.build(
        recipe(base, "echo first >/first", environment={"FIRST": "1"}), tmp_path / "images"
    )
    wanted = Recipe(
        name="second",
        file=tmp_path / "second.yaml",
        base=Base(kind="localimage", name=str(first.path.relative_to(tmp_path))),
        post=("echo second >/second",),
        environment={"SECOND": "2"},
    )

    second = building.build(wanted, tmp_path / "images")

    assert inside(second.path, "cat", "/first", "/second") == "first\nsecond\n"
    assert inside(second.path, "sh", "-c", "echo $FIRST $SECOND") == "1 2\n"
