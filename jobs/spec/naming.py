"""The name of a sweep is that of its spec, with the overrides of `--set` added.

`quickstart` with `--set epochs=1 --set seeds=42` is `quickstart@epochs=1+seeds=42`: a sweep of its
own, so that a smoke test touches no other sweep. The name does not depend on the order of overrides
or the spelling of values. Its characters (letters, digits and `._-@+=`) have no special meaning to
a shell, sbatch, PYTHONPATH or a bind.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence

from jobs.canonical import canonical
from jobs.spec.sources import OVERRIDDEN_BELOW, RESOURCES
from jobs.yaml.mistakes import Place
from jobs.yaml.tree import parse_yaml, to_data

LONGEST = 48
"""Number of characters that overrides may add to a name; a longer text is cut and gets a hash."""

_KEYS_WITHOUT_RUNS = ("name", "description")  # overrides of these change no run
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")
_HASH_DIGITS = 6


def named_with(base: str, overrides: Sequence[str]) -> str:
    """The name of the sweep `base` with the valid `key.path=value` overrides.

    The name stays `base` if an override gives a name, or if none changes a run (`resources`,
    `description`).
    """
    effective = _effective(overrides)
    said = {
        key: _written(text) for key, text in sorted(effective.items()) if not _changes_no_run(key)
    }
    if "name" in effective or not said:
        return base
    plain = {_plain(key): _plain(value) for key, value in said.items()}
    suffix = "+".join(f"{key}={value}" for key, value in plain.items())
    if plain == said and len(suffix) <= LONGEST:
        return f"{base}@{suffix}"
    found = hashlib.sha256(json.dumps(said).encode()).hexdigest()[:_HASH_DIGITS]
    return f"{base}@{suffix[: LONGEST - _HASH_DIGITS - 1].rstrip('+=-.')}+{found}"


def _effective(overrides: Sequence[str]) -> Mapping[str, str]:
    """The last value of each key; a later override of a whole mapping removes those of its keys."""
    found: dict[str, str] = {}
    for override in overrides:
        path, _, text = override.partition("=")
        key = path.strip()
        found = {known: value for known, value in found.items() if not _takes_away(key, known)}
        found[key] = text
    return found


def _takes_away(key: str, earlier: str) -> bool:
    if key == earlier or earlier.startswith(f"{key}."):
        return True
    section = OVERRIDDEN_BELOW.get(key)
    return section is not None and earlier.startswith(f"{section}.") and earlier.endswith(f".{key}")


def _changes_no_run(key: str) -> bool:
    """Whether a key is the name, the description, or resources at any level."""
    parts = key.split(".")
    section = parts[0] in {"problems", "optimizers"}
    return parts[0] in (*_KEYS_WITHOUT_RUNS, RESOURCES) or (section and RESOURCES in parts[2:])


def _plain(text: str) -> str:
    return _NOT_PLAIN.sub("-", text).strip("-") if _NOT_PLAIN.search(text) else text


def _written(text: str) -> str:
    """A value in its canonical spelling."""
    value = canonical(to_data(parse_yaml(text, Place("--set")))) if text.strip() else None
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
