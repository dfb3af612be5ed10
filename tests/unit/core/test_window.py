"""The window: bounded at one end, growing at the other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.cursor import Position
from gateway.core.window import Bounds
from schemas.rooms import TENANT_ROOM
from tests.support.entries import EPOCH, entry, window


@given(st.lists(st.integers(1, 400), max_size=60), st.integers(1, 10), st.integers(200, 1_500))
def test_bounds_hold_after_every_append(sizes: list[int], max_events: int, max_bytes: int) -> None:
    """Count and bytes hold, the newest stay, and no more goes than must."""
    held = window(bounds=Bounds(max_events, max_bytes, 1e9))
    model: list[int] = []
    for offset, size in enumerate(sizes, 1):
        made = entry(offset, size=size)
        held.append(made)
        model.append(len(made.frame))
        while len(model) > max_events or (sum(model) > max_bytes and len(model) > 1):
            del model[0]
        assert (held.head, len(held), held.bytes) == (offset, len(model), sum(model))
        assert held.first == offset - len(model) + 1
        assert [held[o].offset for o in range(held.first, held.head + 1)] == list(range(held.first, offset + 1))


@given(st.lists(st.floats(0, 10), max_size=30), st.lists(st.floats(0, 40), max_size=5))
def test_sweep_lets_go_of_the_old(steps: list[float], looks: list[float]) -> None:
    """Entries older than the bound are trimmed, from the oldest on."""
    held = window(bounds=Bounds(1_000, 1 << 30, 20.0))
    now, ats = 0.0, []
    for offset, step in enumerate(steps, 1):
        now += step
        ats.append(now)
        held.append(entry(offset, at=now))
    for look in looks:
        now += look
        held.sweep(now)
        assert len(held) == sum(at >= now - 20.0 for at in ats)


def test_a_hole_is_refused() -> None:
    """An entry that does not follow the head would be a silent gap."""
    held = window([[], []])
    for offset in (1, 2, 4):
        with pytest.raises(ValueError, match="does not follow"):
            held.append(entry(offset))


@given(st.integers(0, 20), st.integers(1, 8), st.integers(0, 25))
def test_gap_says_what_is_not_all_here(count: int, max_events: int, offset: int) -> None:
    """A position is good if and only if every later entry is there."""
    held = window([[]] * count, Bounds(max_events))
    gone = max(0, count - max_events)
    expected = "log_reset" if offset > count else "history_trimmed" if offset < gone else None
    assert held.gap(Position(EPOCH, offset), [TENANT_ROOM]) == expected
    assert held.gap(Position(b"\x06" * 7, offset), [TENANT_ROOM]) == "log_reset"
