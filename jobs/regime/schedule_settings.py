"""Schedules as a spec names them: the step size as a function of steps or epochs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self, get_args

from jobs.canonical import Value
from jobs.regime.values import CLASS, SettingError, below, keys_of, number, text

Name = Literal["constant", "linear", "cosine", "step", "polynomial", "wsd"]
NAMES: tuple[Name, ...] = get_args(Name)
Unit = Literal["step", "epoch"]
UNITS: tuple[Unit, ...] = get_args(Unit)
_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "constant": (),
    "linear": ("end",),
    "cosine": ("end",),
    "step": ("at", "factors"),
    "polynomial": ("end", "power"),
    "wsd": ("end", "decay"),
}
EXPECTED = (
    f"one of {', '.join(NAMES)}, a mapping like {{name: cosine, warmup: 0.05}}, or"
    " {class: torch.optim.lr_scheduler.StepLR, step_size: 10, per: epoch}"
)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The factor of the optimizer's own step size, as a function of u = 0, 1, ..., U - 1.

    u counts steps, or epochs if `per` says so; U is their number in the whole training, w the
    warm-up, in which the factor is (u + 1) / w. Then, with x = (u - w) / (U - w) from 0 to below 1
    and e = `end`:

    - constant: 1
    - linear: 1 - (1 - e) x
    - cosine: e + (1 - e) (1 + cos(pi x)) / 2 (Loshchilov & Hutter 2017, without restarts)
    - polynomial: e + (1 - e) (1 - x)^power
    - step: 1 before `at[0]`, from `at[i]` on `factors[i]`, both counted in u: DeepOBS'
      `lr_sched_epochs` and `lr_sched_factors`
    - wsd: 1, and in the last `decay` a line from 1 to e (warm-up, stable, decay: Hu et al. 2024)

    A length is a whole number of steps (or epochs), or a share of U below 1. With `path` a class of
    `torch.optim.lr_scheduler` is stepped after each step (or epoch), and the relative change of its
    step size is the factor.
    """

    name: Name = "constant"
    per: Unit = "step"
    warmup: float = 0
    end: float = 0.0
    at: tuple[float, ...] = ()
    factors: tuple[float, ...] = ()
    power: float = 1.0
    decay: float = 0.1
    path: str | None = None
    settings: Mapping[str, Value] = field(default_factory=dict)  # of the class

    @classmethod
    def of(cls, value: object) -> Self:
        """The schedule that a spec gives: a name, a mapping with `name`, or one with `class`.

        Raises:
            SettingError: the value is none of them.
        """
        if isinstance(value, str):
            value = {CLASS: value} if "." in value or ":" in value else {"name": value}
        if not isinstance(value, Mapping):
            raise SettingError(f"expected {EXPECTED}, found {value!r}")
        if not value:
            return cls()
        if CLASS in value:
            return cls._of_class(value)
        return cls._named(value)

    @classmethod
    def _of_class(cls, value: Mapping[str, Any]) -> Self:
        rest = {str(key): found for key, found in value.items() if key not in (CLASS, "per")}
        path = text(value[CLASS], CLASS).replace(":", ".")
        return cls(path=path, per=_unit(value.get("per", "step")), settings=rest)

    @classmethod
    def _named(cls, value: Mapping[str, Any]) -> Self:
        name = value.get("name", "constant")
        if name not in NAMES:
            message = f"no schedule {name!r} (known: {', '.join(NAMES)}; or class: a dotted path)"
            raise SettingError(message, *(["name"] if "name" in value else []))
        options = ("name", "per", "warmup", *_OPTIONS[name])
        keys_of(value, options, EXPECTED)
        found = cls(
            name=name,
            per=_unit(value.get("per", "epoch" if name == "step" else "step")),
            **{key: _READERS[key](found) for key, found in value.items() if key in _READERS},
        )
        if name == "step":
            _check_steps(found)
        return found

    def to_json(self) -> dict[str, Value]:
        """The schedule as a run keeps it, {} for a constant step size; inverse of `of`."""
        if self.path is not None:
            per: dict[str, Value] = {"per": self.per} if self.per != "step" else {}
            return {CLASS: self.path, **per, **self.settings}
        if self.name == "constant" and not self.warmup:
            return {}
        plain: dict[str, Value] = {"name": self.name}
        for one in fields(self):
            value = getattr(self, one.name)
            default = "epoch" if one.name == "per" and self.name == "step" else one.default
            if one.name not in ("name", "path", "settings") and value != default:
                plain[one.name] = list(value) if isinstance(value, tuple) else value
        return plain


CONSTANT = Schedule()


def _check_steps(schedule: Schedule) -> None:
    at, factors = schedule.at, schedule.factors
    if not at or len(at) != len(factors):
        raise SettingError(
            "step needs at: [...] and factors: [...], as many of one as of the other, as in"
            " {name: step, at: [50, 100], factors: [0.1, 0.01]}"
        )
    if list(at) != sorted(set(at)) or len({value < 1 for value in at}) > 1:
        raise SettingError("expected growing epochs (or steps), or growing shares below 1", "at")


def _length(key: str) -> Callable[[object], float]:
    def read(value: object) -> float:
        """A whole number, or a share below 1."""
        found = below(value, 0, float("inf"), key)
        if found >= 1 and not found.is_integer():
            message = f"expected a whole number, or a share below 1, found {value!r}"
            raise SettingError(message, key)
        return found

    return read


def _list_of(key: str, read: Callable[[object], float]) -> Callable[[object], tuple[float, ...]]:
    def read_all(value: object) -> tuple[float, ...]:
        if not isinstance(value, list | tuple):
            raise SettingError(f"expected a list, found {value!r}", key)
        return tuple(read(one) for one in value)

    return read_all


def _unit(value: object) -> Unit:
    if value in UNITS:
        return value
    raise SettingError(f"expected step or epoch, found {value!r}", "per")


_READERS: Mapping[str, Callable[[object], Any]] = {
    "warmup": _length("warmup"),
    "end": lambda value: below(value, 0, float("inf"), "end"),
    "at": _list_of("at", _length("at")),
    "factors": _list_of("factors", lambda value: below(value, 0, float("inf"), "factors")),
    "power": lambda value: number(value, 0, None, "power"),
    "decay": _length("decay"),
}
