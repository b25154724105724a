"""Values as people see them."""

import pytest

from jobs.text import spelled


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.11288378916846883, "0.1129"),
        (3e-4, "0.0003"),
        (10, "10"),
        (True, "true"),
        (None, "null"),
        ("${steps}", "${steps}"),
        ([0.9, 0.99], "[0.9, 0.99]"),
        ({"name": "cosine"}, "cosine"),
        ({"name": "cosine", "warmup": 0.1, "end": 0}, "cosine(warmup=0.1, end=0)"),
        ({"class": "torch.optim.lr_scheduler.StepLR", "step_size": 3}, "StepLR(step_size=3)"),
        ([{"dims": [0, 1], "class": "torch.optim.AdamW"}], "[AdamW(dims=[0, 1])]"),
        ({"ema": 0.999}, "{ema=0.999}"),
    ],
)
def test_a_value_for_a_person(value, said):
    assert spelled(value) == said


def test_two_classes_of_a_name_are_told_apart():
    """Only torch's own go without their modules."""
    assert spelled({"class": "mine.AdamW", "lr": 1}) == "mine.AdamW(lr=1)"
    assert spelled({"class": "torch.optim.AdamW", "lr": 1}) == "AdamW(lr=1)"


def test_with_all_digits():
    assert spelled({"class": "a.B", "lr": [0.11288378916846883]}, exact=True) == (
        "a.B(lr=[0.11288378916846883])"
    )
