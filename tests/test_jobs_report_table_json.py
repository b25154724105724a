"""Packed tables: each distinct value once, nothing that JSON or a `<script>` cannot hold."""

import json
import math
from datetime import UTC, datetime

import pytest

from jobs.report.table_json import Column, packed, script_json


def read(column):
    """The values of a packed column, as the page reads them."""
    if "same" in column:
        return "same"
    return column["all"] if "all" in column else [column["of"][at] for at in column["at"]]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a"] * 9, "same"),
        (["a", "b", None, "a"] * 3, "of"),
        ([0.1, 0.2, 0.3, 0.4], "all"),
        ([True, 1, 1, True, 1, True], "of"),
        ([{"a": 1}, {"a": 1}, {"a": 2}, {"a": 2}, {"a": 1}], "of"),
    ],
)
def test_each_value_comes_back_and_is_there_once(values, kind):
    found = Column(name="x", values=values).to_json()

    assert kind in found
    assert read(found) == ("same" if kind == "same" else values)


def test_what_json_lacks_is_missing_and_times_are_text():
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    values = [math.nan, math.inf, 1 / 3, moment, [("file", "sha")], ["a", "b"]]
    found = Column(name="x", values=values).to_json()

    assert found["all"] == [
        *(None, None, 0.333333333, "2026-01-02T03:04:05+00:00", {"file": "sha"}, ["a", "b"])
    ]


def test_a_column_that_says_nothing_is_left_out():
    columns = [Column(name="x", values=[None, None]), Column(name="y", values=[None, 1])]

    assert [one["name"] for one in packed(columns, 2)["columns"]] == ["y"]


@pytest.mark.parametrize("text", ["</script>", "<!--", "<script>", "\ud800", "\u2028", "\x00"])
def test_no_text_ends_the_script_that_holds_it(text):
    spelled = script_json({"label": text})

    assert "<" not in spelled
    assert json.loads(spelled) == {"label": text}
    spelled.encode("utf-8")
