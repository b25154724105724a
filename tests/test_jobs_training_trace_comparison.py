"""Two traces: equal, or in plain words what differs first."""

from dataclasses import replace

import pytest

from jobs.training.trace_comparison import Line, compare


def line(step, state=0, loss=0.5, attributes=0, *, resumed=False):
    return Line(
        epoch=1,
        index=step,
        step=step,
        resumed=resumed,
        loss=loss,
        state={"weights": state, **dict.fromkeys("abcde", 0)},
        attributes={"buffer": attributes, "other": 0},
    )


STRAIGHT = [line(step, state=step, attributes=step) for step in range(1, 6)]


def test_equal_traces_have_no_finding():
    pieces = [*STRAIGHT[:3], line(3, state=3, resumed=True), *STRAIGHT[3:]]
    assert compare(STRAIGHT, pieces) is None


def test_a_process_that_has_taken_no_step_has_seen_no_loss():
    """As where it was interrupted at an epoch's end."""
    pieces = [
        line(2, 2, loss=None, attributes=2, resumed=True),
        line(2, 2, loss=None),
        *STRAIGHT[2:],
    ]
    assert compare(STRAIGHT, pieces) is None


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ([line(1, state=9)], ["even without an interruption", "after step 1", "weights"]),
        ([line(1, state=1, loss=0.25)], ["even without", "loss of step 1 differs: 0.5 or 0.25"]),
        (
            [line(2, state=9, resumed=True)],
            ["resumed at step 2, but not to what was saved: weights", "load_state_dict()"],
        ),
        (
            [line(2, 2, attributes=2, resumed=True), line(3, 3, loss=0.25)],
            ["resumed at step 2", "the loss of step 3 differs: 0.5 or 0.25", "of the problem"],
        ),
        (
            [line(2, 2, resumed=True), line(3, 9)],
            ["after step 3 there differ weights", "outside state_dict()", "not restored: buffer."],
        ),
        ([line(6)], ["after step 6 only the interrupted training goes on"]),
    ],
)
def test_what_differs_first(pieces, words):
    finding = compare(STRAIGHT, pieces)
    for word in words:
        assert word in finding


def test_many_differences_are_counted():
    state = {"weights": 1, **dict.fromkeys("bcdea", 9)}
    finding = compare(STRAIGHT, [replace(STRAIGHT[0], state=state)])
    assert "a, b, c and 2 more" in finding
