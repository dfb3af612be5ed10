"""Medians, spreads and ratios."""

import pytest

from benchmarks.stats import Spread, percentile, ratios


def test_a_spread_is_the_median_and_the_extremes() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)


def test_ratios_are_taken_round_by_round() -> None:
    """A machine twice as slow in one round leaves the ratio as it is."""
    assert ratios([10.0, 20.0, 30.0], [5.0, 10.0, 15.0]) == Spread(2.0, 2.0, 2.0)


def test_there_is_no_ratio_to_nothing() -> None:
    assert ratios([1.0], [0.0]) is None
    assert ratios([], []) is None


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100)])
def test_a_percentile_is_the_nearest_rank(share: float, value: int) -> None:
    assert percentile(list(range(1, 101)), share) == value
