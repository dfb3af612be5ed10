"""Keys: remembered for as long as was promised, and not much longer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import IdempotencyConflict, RateLimited
from gateway.core.idempotency import IdempotencyWindow


@given(st.lists(st.tuples(st.floats(0, 70), st.sampled_from("abc"), st.sampled_from([b"1", b"2"])), max_size=60))
def test_keys_against_a_dictionary(steps: list[tuple[float, str, bytes]]) -> None:
    """Within 120 s a key answers with its first offset or a conflict; after 160 s it is forgotten; between, either."""
    keys, now = IdempotencyWindow(), 1_000.0
    known: dict[str, tuple[bytes, int, float]] = {}
    for offset, (step, key, body) in enumerate(steps, 1):
        now += step
        if offset % 3 == 0:
            keys.sweep(now)
        first = known.get(key)
        try:
            found = keys.claim(key, body, offset, now + 0.5, now)
        except IdempotencyConflict:
            assert first is not None
            assert first[0] != body
            assert now - first[2] < 161
            continue
        if found is None:
            assert first is None or now - first[2] >= 120
            known[key] = (body, offset, now)
        else:
            assert first is not None
            assert (body, found.offset) == first[:2]
            assert found.at == pytest.approx(first[2] + 0.5, abs=0.001)
            assert now - first[2] < 161


def test_no_key_is_forgotten_early() -> None:
    """Just before its time it holds, whenever in a generation it was used and however the clock was looked at."""
    for used in range(0, 40, 3):
        keys = IdempotencyWindow()
        keys.claim("first", b"", 1, 0.0, 500.0)
        assert keys.claim("k", b"body", 2, 0.0, 500.0 + used) is None
        for second in range(120):
            assert keys.claim("k", b"body", 99, 0.0, 500.0 + used + second) == (2, 0.0)
        assert keys.claim("k", b"body", 3, 0.0, 500.0 + used + 161) is None


def test_too_many_keys_are_refused_rather_than_forgotten() -> None:
    """At the limit further keys are refused, known ones still answered, and there is room again in time."""
    keys = IdempotencyWindow(max_keys=3)
    for n in range(3):
        assert keys.claim(str(n), b"", n + 1, 0.0, 0.0) is None
    with pytest.raises(RateLimited) as refused:
        keys.claim("one more", b"", 9, 0.0, 1.0)
    assert refused.value.retry_after is not None
    assert refused.value.retry_after > 0
    assert keys.claim("0", b"", 9, 0.0, 1.0) == (1, 0.0)
    assert keys.claim("one more", b"", 9, 0.0, 200.0) is None


def test_an_idle_clock_jumps() -> None:
    """After any time without use there is nothing to remember and nothing to catch up on."""
    keys = IdempotencyWindow()
    keys.claim("k", b"", 1, 0.0, 1e6)
    assert keys.claim("k", b"", 2, 0.0, 1e9) is None
