"""Sizes and times in words."""

import pytest

from jobs import units


@pytest.mark.parametrize(
    ("function", "count", "said"),
    [
        (units.megabytes, 512_400_000, "512 MB"),
        (units.size, 812, "812 B"),
        (units.size, 30_940_000, "30.9 MB"),
        (units.size, 5e12, "5 TB"),
        (units.rough_size, 812, "1 kB"),
        (units.rough_size, 30_940_000, "30.9 MB"),
        (units.rough_size, 1_230_000_000, "1.2 GB"),
        (units.memory, 512 << 20, "512 MiB"),
        (units.memory, 3 << 29, "1.50 GiB"),
        (units.capacity, 5, "5 B"),
        (units.capacity, 64 << 20, "64 MiB"),
        (units.capacity, 3 << 29, "1.5 GiB"),
        (units.capacity, 5000 << 40, "5000 TiB"),
        (units.duration, 5, "5 s"),
        (units.duration, 600, "10 min"),
        (units.duration, 9000, "2.5 h"),
        (units.duration, 300_000, "3.5 days"),
    ],
)
def test_sizes_and_times(function, count, said):
    assert function(count) == said
