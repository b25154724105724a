"""Strict YAML: what scalars mean, where everything stands, and that no bytes can break it."""

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs.spec import Place, SpecError, load, load_yaml
from jobs.yaml.tree import (
    MAX_BYTES,
    MAX_DEPTH,
    ListNode,
    MapNode,
    Node,
    ScalarNode,
    parse_yaml,
    to_data,
)

START = Place("f.yaml", 1, 1)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("-1.5e+2", -150.0),
        ("+3", 3),
        ("007", 7),
        ("0o17", 15),
        ("0x1F", 31),
        (".inf", float("inf")),
        ("-.INF", float("-inf")),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("off", "off"),
        ("Yes", "Yes"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("1e", "1e"),
        ("e5", "e5"),
        ("2001-01-01", "2001-01-01"),
        ("3:30", "3:30"),
        ("=", "="),
        ("42..51", "42..51"),
        ("'1'", "1"),
        ('"true"', "true"),
        ("03:30:00", timedelta(hours=3, minutes=30)),
        ("3:30:00", timedelta(hours=3, minutes=30)),
        ("1-03:30:05", timedelta(days=1, hours=3, minutes=30, seconds=5)),
        ("100:00:00", timedelta(hours=100)),
        ("03:75:00", "03:75:00"),
    ],
)
def test_scalars_mean_what_yaml_1_2_says_and_durations(text: str, value: object) -> None:
    found = to_data(parse_yaml(f"a: {text}\n", START))["a"]

    assert found == value
    assert type(found) is type(value)


def test_every_key_and_value_has_its_position() -> None:
    root = parse_yaml("a: 1\nb:\n  - x\n  - {c: y}\n", START)

    assert isinstance(root, MapNode)
    assert root.entries["b"].key == Place("f.yaml", 2, 1)
    items = root.entries["b"].node
    assert isinstance(items, ListNode)
    assert items.items[0].place == Place("f.yaml", 3, 5)
    inner = items.items[1]
    assert isinstance(inner, MapNode)
    assert inner.entries["c"].node == ScalarNode("y", Place("f.yaml", 4, 9))


def test_a_value_of_the_command_line_has_one_place() -> None:
    place = Place("--set a")

    root = parse_yaml("[1, {b: 2}]", place)

    assert isinstance(root, ListNode)
    assert {item.place for item in root.items} == {place}
    assert str(place) == "--set a"


def test_aliases_are_expanded() -> None:
    assert to_data(parse_yaml("a: &x [1, 2]\nb: *x\n", START)) == {"a": [1, 2], "b": [1, 2]}


def _bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_bomb(12), "more than 100,000 values after expanding the aliases"),
        ("[x, " * 5000, f"nested more than {MAX_DEPTH} levels deep"),
        ("a: " * 50, "unexpected ':'"),
        ("- " * 5000 + "a", f"nested more than {MAX_DEPTH} levels deep"),
        ("{a: " * 5000, f"nested more than {MAX_DEPTH} levels deep"),
        ("a: &x {b: *x}", "an anchor that contains itself"),
        ("a: &x [{b: &y [*x]}, *y]", "an anchor that contains itself"),
        ("a: &x 1\nb: &x 2", "f.yaml:2:4: an anchor of this name was given before"),
        ("a: *z", "f.yaml:1:4: found undefined alias 'z'"),
        ("a: " + "9" * 5000, "an integer of more than 40 digits"),
        ("a: !!python/object/apply:os.system [ls]", "is not allowed"),
        ("a: ! x", "is not allowed"),
        ("a:\tb", "a tab"),
        ("a:\n\t- b", "a tab"),
        ("a: b\t\nc: d", "a tab"),
        ("a: \x01", "character U+0001 is not allowed"),
        ("a: 1\nb: \x00", "character U+0000 is not allowed"),
        ("%YAML 3.0\n---\na: 1", "incompatible YAML document"),
    ],
)
def test_hostile_texts(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_yaml(text, START)
    assert message in str(caught.value)
    assert caught.value.mistakes[0].line >= 1


def test_a_tab_inside_quotes_is_text() -> None:
    assert to_data(parse_yaml('a: "b\tc"  # a\ttab', START)) == {"a": "b\tc"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: \xff", "f.yaml:1:4: byte 0xff is not UTF-8 text"),
        ("a: ä\nb: ö".encode("latin-1"), "f.yaml:1:4: byte 0xe4 is not UTF-8 text"),
        ("a: 1".encode("utf-16"), "f.yaml:1:1: byte 0xff is not UTF-8 text"),
        (b"\x7fELF" + bytes(range(256)), "is not UTF-8 text"),
        (b"a: 1\n\x00", "f.yaml:2:1: character U+0000 is not allowed"),
        (b"# ten megabytes\n" * 700_000, f"larger than {MAX_BYTES:,} bytes"),
    ],
)
def test_hostile_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(content)

    with pytest.raises(SpecError) as caught:
        load_yaml(path)

    assert message in str(caught.value)


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes("\ufeffa: ü".encode())

    assert to_data(load_yaml(path)) == {"a": "ü"}


TOKENS = (
    "a:|b: |- |? |: |[|]|{|}|, |&x |*x |!|!!str |||+2|>|'|\"|\\x|\\u12|#|\n|\n  |\n    |\t|---\n"
)
TOKENS += (
    "|...\n|<<: |1e3|~|\x85|\u2028|\ufeff|\x00|é|@|`|%|\r|seeds: |problems: |optimizers: |42.."
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(TOKENS.split("|")), max_size=30).map("".join) | st.text())
@example('"\\UFFFFFFFF"')
@example("%YAML " + "9" * 5000 + ".1")
def test_any_text_is_a_tree_or_a_mistake(text: str) -> None:
    try:
        tree: Node = parse_yaml(text, START)
    except SpecError as error:
        str(error).encode()
    else:
        to_data(tree)


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200))
def test_any_bytes_are_a_sweep_or_a_mistake(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(content)

    with pytest.raises(SpecError):
        load(path)
