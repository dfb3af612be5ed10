"""The line to a client: what its rate and round-trip time make of the limits."""

import pytest

from gateway.transports.uvicorn.line import (
    MAX_OUTSTANDING,
    MAX_UNSENT,
    MIN_OUTSTANDING,
    MIN_UNSENT,
    NEW_LINE,
    Line,
)

INITIAL_WINDOW = 14_480
"""Bytes that TCP sends in the first round trip, of a burst too."""


def after_bursts(rtt: float, count: int) -> Line:
    """The line of a client to which bursts of 100 kB go, each from the initial window on."""
    line = NEW_LINE
    for _ in range(count):
        line = line.measured(3 * INITIAL_WINDOW, 2 * rtt, rtt)
    return line


@pytest.mark.parametrize("rtt", [0.0005, 0.02, 0.08, 0.2, 0.6])
def test_bursts_over_the_congestion_window_make_no_line_slow(rtt: float) -> None:
    line = after_bursts(rtt, 20)
    assert line.outstanding is None
    assert line.unsent > MIN_UNSENT
    assert not line.slow


@pytest.mark.parametrize("rtt", [0.02, 0.08, 0.2])
def test_a_burst_may_take_the_round_trips_of_slow_start(rtt: float) -> None:
    """56 kB of 100 wait until the third round trip."""
    line = after_bursts(rtt, 1)
    assert not line.too_late(2 * rtt, 56_000)
    assert line.too_late(0.06 + 3 * rtt, 1)
    assert line.too_late(0.06, 1_000_000)


def test_a_line_that_is_not_known_yet_has_no_patience() -> None:
    assert not NEW_LINE.too_late(0.04, 100_000)
    assert NEW_LINE.too_late(0.05, 1)


@pytest.mark.parametrize("rtt", [0.02, 0.08, 0.2])
def test_a_slow_line_keeps_about_a_second_of_bytes(rtt: float) -> None:
    line = NEW_LINE.measured(5_000, 0.5, rtt)
    assert line.slow
    assert line.outstanding is not None
    assert MIN_OUTSTANDING <= line.outstanding <= 10_000


def test_the_limits_fall_at_once_and_rise_by_steps() -> None:
    """A line that became fast is unlimited again after a few measurements; one burst of acknowledgments does little."""
    line = NEW_LINE.measured(500, 0.5, 0.05)
    assert line.outstanding == MIN_OUTSTANDING
    risen = line.measured(50_000, 0.001, 0.05)
    assert (risen.unsent, risen.outstanding) == (2 * MIN_UNSENT, 2 * MIN_OUTSTANDING)
    steps = 0
    while line.unsent < MAX_UNSENT:
        line, steps = line.measured(1_000_000, 0.05, 0.05), steps + 1
        assert line.outstanding is None or line.outstanding < MAX_OUTSTANDING
    assert line.outstanding is None
    assert steps < 10
    assert line.measured(500, 0.5, 0.05).slow


@pytest.mark.parametrize("rtt", [0.02, 0.2, 0.6, 2.0])
def test_no_limit_holds_itself_down(rtt: float) -> None:
    """In a round trip two thirds of the limit are carried, since the kernel tells of room only then.
    On a line that carries more the limit rises all the same."""
    line = NEW_LINE.measured(100, 1.0, rtt)
    for _ in range(20):
        line = line.measured((line.outstanding or MAX_OUTSTANDING) * 2 // 3, rtt, rtt)
    assert line.outstanding is None


def test_a_client_that_falls_behind_has_a_slow_line_until_it_is_measured() -> None:
    assert NEW_LINE.narrowed().slow
    assert not NEW_LINE.narrowed().measured(100_000, 0.1, 0.02).slow
