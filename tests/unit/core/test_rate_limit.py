"""Rates, counts, and what counts as one address."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import RateLimited
from gateway.core.rate_limit import ConnectionCounter, KeyedRateLimiter, RateLimiter, address_key


@given(st.sampled_from([0.3, 1, 2, 20, 1e3]), st.integers(1, 60), st.floats(0, 1e7))
def test_burst_is_granted_whole(per_second: float, burst: int, now: float) -> None:
    """After a pause the whole burst is granted at once and not one more, at any time since the machine's start."""
    rate, due = RateLimiter(per_second, burst), 0.0
    for _ in range(burst):
        due, wait = rate.acquire(due, now)
        assert wait == 0
    unchanged, wait = rate.acquire(due, now)
    assert wait == pytest.approx(1 / per_second, abs=1e-5)
    assert unchanged == due


@given(st.sampled_from([1, 5, 20]), st.integers(1, 40), st.lists(st.floats(0, 0.2), max_size=300), st.floats(0, 1e7))
def test_never_more_than_the_average_and_the_burst(
    per_second: int, burst: int, steps: list[float], start: float
) -> None:
    """In any span at most its length times the rate and one burst are granted; refusals cost nothing."""
    rate, due, now, granted = RateLimiter(per_second, burst), 0.0, start, 0
    for step in steps:
        now += step
        due, wait = rate.acquire(due, now)
        granted += not wait
        assert granted <= (now - start) * per_second + burst + 1e-3


@given(st.sampled_from([0.7, 3, 20, 333]), st.integers(1, 10), st.floats(1, 1e6))
def test_a_request_after_retry_after_is_granted(per_second: float, burst: int, now: float) -> None:
    """The `retry_after` of a refusal is long enough."""
    rate, due = RateLimiter(per_second, burst), 0.0
    wait = 0.0
    while not wait:
        due, wait = rate.acquire(due, now)
    retry_after = RateLimited("", wait, 1).retry_after
    assert retry_after is not None
    assert rate.acquire(due, now + retry_after)[1] == 0


def test_no_limit() -> None:
    """A rate of 0 grants everything and keeps nothing."""
    assert RateLimiter(0, 0).acquire(0.0, 5.0) == (0.0, 0.0)
    keyed: KeyedRateLimiter[str] = KeyedRateLimiter(RateLimiter(0, 0))
    assert all(keyed.acquire("k", 1.0) == 0 for _ in range(100))


def test_keyed_rate_is_one_for_each_and_forgets() -> None:
    """Keys do not spend each other's; after the sweep a full bucket takes no memory."""
    keyed: KeyedRateLimiter[str] = KeyedRateLimiter(RateLimiter(1, 2))
    assert [keyed.acquire("a", 10.0) > 0 for _ in range(3)] == [False, False, True]
    assert keyed.acquire("b", 10.0) == 0
    keyed.sweep(11.5)
    assert keyed.acquire("a", 11.5) == 0
    assert keyed.acquire("a", 11.5) > 0
    keyed.sweep(13.5)
    assert len(keyed) == 0


def test_sweeping_keyed_rates_costs_the_same_for_many() -> None:
    """A flood from ever new addresses is forgotten within twice the time of a burst, without a look at each of them;
    who is limited stays so."""
    keyed: KeyedRateLimiter[int] = KeyedRateLimiter(RateLimiter(1, 10))
    looks = 0

    class Watched(dict[int, float]):
        def items(self) -> Any:
            nonlocal looks
            looks += len(self)
            return super().items()

        def __iter__(self) -> Iterator[int]:
            nonlocal looks
            looks += len(self)
            return super().__iter__()

    now, due = 100.0, 0.0
    for n in range(20_000):
        now += 0.01
        assert keyed.acquire(n, now) == 0
        due, wait = keyed.rate.acquire(due, now)
        assert keyed.acquire(-1, now) == wait
        if n % 50 == 0:
            keyed._full_at = Watched(keyed._full_at)
            looks = 0
            keyed.sweep(now)
            assert looks == 0
        assert len(keyed) <= 2_200


def test_population_counts_who_is_there() -> None:
    """Absent keys are not counted, and take no memory."""
    population: ConnectionCounter[str] = ConnectionCounter()
    for key in "aab":
        population.add(key)
    assert (population["a"], population["b"], population["c"], len(population)) == (2, 1, 0, 2)
    for key in "aab":
        population.remove(key)
    assert (population["a"], len(population)) == (0, 0)


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:DB8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("unknown", "unknown"),
        ("", ""),
    ],
)
def test_address_key(host: str, key: str) -> None:
    """An IPv4 address is one, mapped or not; an IPv6 client moves within its /64."""
    assert address_key(host) == key
