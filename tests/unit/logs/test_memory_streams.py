"""Texts that grow by many small pieces, beside a quiet room, in the embedded log."""

from gateway.core.cursor import Position
from gateway.core.window import Bounds
from gateway.logs.memory import MemoryLog
from gateway.testing import CURSOR_KEY, Clock, draft
from gateway.testing.log_items_contract import kept_of, keyed_draft

RUNS = 50
SECONDS = 120
PIECES = 15
"""A second and run: a tenth of what an agent streams, so that the test takes a second or two."""


async def test_quiet_room_resumes_after_two_minutes_beside_streams() -> None:
    """90,000 pieces of 50 texts push nothing out of a window of 1,000 events: one who follows the quiet room and comes
    back after 120 s misses nothing, and one who follows a run gets its whole text."""
    clock = Clock()
    log = MemoryLog((CURSOR_KEY,), Bounds(max_events=1_000), clock, clock)
    window = log.window("acme")
    await log.append("acme", draft(0, circle=999))
    away = window.head
    for second in range(SECONDS):
        await log.append("acme", draft(second, circle=999))
        for piece in range(PIECES):
            for run in range(RUNS):
                data = {"text": f"{second * PIECES + piece},"}
                await log.append("acme", keyed_draft(f"run:{run}", "append", data, circle=run))
        await clock.advance(1.0)
        log.sweep()
    assert window.head > RUNS * SECONDS * PIECES
    assert window.gap(Position(window.epoch, away), ["circle:999"]) is None
    assert window.gap(Position(window.epoch, away), ["tenant"]) is None
    kept = kept_of(window)
    assert len(kept) == RUNS + 1 + SECONDS
    text = "".join(f"{n}," for n in range(SECONDS * PIECES))
    assert sorted(key for _, key, data in kept.values() if data.get("text") == text and key) == sorted(
        f"run:{run}" for run in range(RUNS)
    )
