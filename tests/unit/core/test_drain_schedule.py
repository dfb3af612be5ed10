"""The order and times of a drain's slots."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.drain_schedule import MIN_RECONNECT_SECONDS, milliseconds, reconnect_delay, slots


@given(st.integers(1, 3_000), st.floats(0.1, 600), st.integers())
def test_slots_are_spread_evenly_over_the_time(count: int, seconds: float, seed: int) -> None:
    """One in each share of it, whatever chance says; the last one leaves before the time is over."""
    found = slots(count, seconds, random.Random(seed).random)
    share = seconds / count
    assert len(found) == count
    for number, slot in enumerate(found):
        assert number * share <= slot <= (number + 0.5) * share + 1e-9


@pytest.mark.parametrize(("count", "seconds"), [(1, 10.0), (20, 1.0), (5_000, 10.0)])
def test_no_two_fall_together(count: int, seconds: float) -> None:
    """Distinct in milliseconds, as clients get them, up to 500 clients a second."""
    for seed in range(5):
        reported = [milliseconds(slot) for slot in slots(count, seconds, random.Random(seed).random)]
        assert len(set(reported)) == count


def test_chance_moves_them() -> None:
    """Two nodes that end at once do not send their clients to a third one in step."""
    assert slots(5, 1.0, lambda: 0.0) == [0.0, 0.2, 0.4, 0.6000000000000001, 0.8]
    assert slots(5, 1.0, lambda: 0.5)[0] == 0.05


def test_no_clients_need_no_slots() -> None:
    assert slots(0, 10.0, random.random) == []


def test_late_comers_are_spread_over_the_remaining_time() -> None:
    """A late client does not reconnect before a restart can be over."""
    found = [reconnect_delay(8.0, random.Random(seed).random) for seed in range(200)]
    assert min(found) >= MIN_RECONNECT_SECONDS
    assert max(found) <= MIN_RECONNECT_SECONDS + 8.0
    assert max(found) - min(found) > 6.0
    assert reconnect_delay(-3.0, lambda: 0.9) == MIN_RECONNECT_SECONDS


def test_milliseconds_are_rounded_up_and_never_negative() -> None:
    assert [milliseconds(seconds) for seconds in (0.0001, 0.5, -1.0)] == [1, 500, 0]
