"""The context is shared by all steps from a typed spec to its runs: tree, folders, mistakes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jobs import places
from jobs.spec.model import Spec
from jobs.spec.signature import NoSuchClassError, Signature, signature_of
from jobs.spec.sources import real_path
from jobs.yaml.mistakes import Mistake, Place, did_you_mean, listed
from jobs.yaml.tree import ListNode, MapNode, Node, ScalarNode


@dataclass(frozen=True)
class Context:
    """The context of one spec while it is being read."""

    root: MapNode
    spec: Spec
    sources: Mapping[str, str]  # in the order in which a person reads them
    narrowed: bool  # by --set: `when` and `exclude` may still name what it has removed
    folders: tuple[str, ...]  # absolute; searched first for the classes of dotted paths
    mistakes: list[Mistake] = field(default_factory=list)

    def add(self, place: Place, path: str, message: str) -> None:
        """Note one mistake."""
        self.mistakes.append(Mistake.at(place, path, message))

    def add_once(self, place: Place, path: str, message: str) -> None:
        """Note a mistake that many runs have, but only the first time."""
        mistake = Mistake.at(place, path, message)
        if mistake not in self.mistakes:
            self.mistakes.append(mistake)

    def entries(self, section: str) -> Iterator[tuple[str, Place, MapNode]]:
        """Label, place and settings of each problem or optimizer, whichever way they are listed."""
        found = self.root.entries.get(section)
        node = found.node if found else None
        if isinstance(node, MapNode):
            for label, entry in node.entries.items():
                inner = entry.node if isinstance(entry.node, MapNode) else MapNode({}, entry.key)
                yield label, entry.key, inner
        elif isinstance(node, ListNode):
            seen: set[object] = set()
            for item in node.items:
                name = item.value if isinstance(item, ScalarNode) else None
                if name in seen:
                    self.add(item.place, section, f"{name!r} is listed twice")
                elif isinstance(name, str):
                    seen.add(name)
                    yield name, item.place, MapNode({}, item.place)

    def labels(self, section: str) -> list[str]:
        """The labels of all problems or optimizers, even of those with a mistake."""
        entry = self.root.entries.get(section)
        if entry is None or isinstance(entry.node, ScalarNode):
            return []
        if isinstance(entry.node, MapNode):
            return list(entry.node.entries)
        return [str(item.value) for item in entry.node.items if isinstance(item, ScalarNode)]

    def look_up(self, name: str, known: list[str], place: Place, path: str) -> tuple[str, bool]:
        """The dotted path of a class that is not `known`, and whether `name` is a dotted path.

        `a.b:C` means `a.b.C`.
        """
        dotted = name.replace(":", ".")
        parts = dotted.split(".")
        if len(parts) > 1 and all(part.isidentifier() for part in parts):
            return dotted, True
        what = path.partition(".")[0].removesuffix("s")
        near = did_you_mean(name, known)
        message = f"no {what} {name!r}{near} (known: {listed(known)}; or a dotted path like my_pkg.mod:Name)"
        self.add(place, path, message)
        return dotted, False

    def signature(self, dotted: str, place: Place, path: str) -> tuple[Signature | None, bool]:
        """The signature of a class (None: unknown), and whether the class may exist."""
        try:
            return signature_of(dotted, self.folders), True
        except NoSuchClassError as error:
            self.add(place, path, str(error))
            return None, False


def folder_of(place: Place) -> Path:
    """The folder to which a relative path written at `place` is relative."""
    return Path(place.file).parent if place.line else Path()


def absolute(node: Node, place: Place) -> str:
    """The absolute path of the file or folder that a scalar names, see `jobs.places`.

    A path that cannot be expanded is returned as it is: validation reports it (`PathText`).
    """
    named = str(node.value if isinstance(node, ScalarNode) else "")
    try:
        return real_path(folder_of(place) / places.expanded(named))
    except ValueError:
        return named
