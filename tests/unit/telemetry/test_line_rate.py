"""The rate limit of log lines."""

from gateway.core.rate_limit import RateLimiter
from gateway.telemetry.line_rate import LineLimiter
from gateway.testing import Clock


def test_a_flood_of_one_kind_leaves_room_for_the_others() -> None:
    """Twenty at once and one a second, for each kind; what is over is counted by kind."""
    clock = Clock()
    limiter: LineLimiter[str] = LineLimiter(RateLimiter(1.0, 20), clock)
    assert [limiter.acquire("flood") for _ in range(1_000)].count(True) == 20
    assert limiter.acquire("other")
    clock.now += 5
    assert [limiter.acquire("flood") for _ in range(100)].count(True) == 5
    assert limiter.take_suppressed() == {"flood": 980 + 95}
    assert limiter.take_suppressed() == {}


def test_reports_keep_their_distance() -> None:
    """The first comes at once, the next one after the interval; nothing is lost between them."""
    clock = Clock()
    limiter: LineLimiter[str] = LineLimiter(RateLimiter(1.0, 1), clock)
    for _ in range(3):
        limiter.acquire("a")
    assert limiter.take_suppressed(10) == {"a": 2}
    limiter.acquire("a")
    clock.now += 9
    assert limiter.take_suppressed(10) == {}
    clock.now += 1
    assert limiter.take_suppressed(10) == {"a": 1}
