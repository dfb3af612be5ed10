"""The schedule of marks: no silence is longer than the interval, and few marks come that are not needed for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.connection import Connection
from gateway.core.frame import Batch, Frame
from gateway.core.manager import ConnectionManager
from gateway.core.mark_schedule import MarkSchedule
from tests.support.entries import connection

INTERVAL = 15.0


class Line:
    """A connection at the ticks of a schedule: when marks came to it, and its silences."""

    def __init__(self) -> None:
        self.schedule = MarkSchedule(INTERVAL)
        self.connection: Connection
        self.connection, self.sheet = connection(ConnectionManager(), {})
        self.connection.established = True
        self.marks: list[float] = []
        self.spoke_at = 0.0
        self.silences: list[float] = []

    def tick(self, now: float) -> bool:
        before = self.schedule.tick(now)
        due = self.schedule.take_due([self.connection], now, before)
        if due:
            self.connection.count_reply()
            self.marks.append(now)
            self._speak(now)
        return bool(due)

    def event(self, now: float) -> None:
        self.connection.offer(Batch([Frame(b"1")], 1, 1), now)
        self._speak(now)

    def _speak(self, now: float) -> None:
        self.silences.append(now - self.spoke_at)
        self.spoke_at = now


steps = st.lists(st.tuples(st.floats(0.0, 4.0), st.integers(0, 3)), min_size=100, max_size=200)


@given(steps, st.lists(st.floats(0.0, 0.5), min_size=10, max_size=10))
def test_no_silence_is_longer_than_the_interval(steps: list[tuple[float, int]], late: list[float]) -> None:
    """Whenever events come, replies among them, and though the ticks come late: an event or a mark within the
    interval."""
    line = Line()
    pending = []
    now = 0.0
    for wait, kind in steps:
        now += wait
        pending.append((now, kind))
    ticks = iter(range(1, 10_000))
    at = line.schedule.tick_seconds
    for when, kind in pending:
        while at <= when:
            line.tick(at)
            at += line.schedule.tick_seconds + late[next(ticks) % len(late)]
        if kind == 0:
            line.event(when)
        elif kind == 1:
            line.connection.count_reply()
    assert max(line.silences, default=0.0) <= INTERVAL
    assert at - line.spoke_at <= INTERVAL + line.schedule.tick_seconds + 0.5


def test_idle_connection_gets_five_marks_a_minute() -> None:
    """Not many more than the interval asks for."""
    line = Line()
    for n in range(1, 1_001):
        line.tick(n * line.schedule.tick_seconds)
    seconds = 1_000 * line.schedule.tick_seconds
    assert seconds / INTERVAL <= len(line.marks) <= seconds / INTERVAL * 1.3


@pytest.mark.parametrize("period", [0.5, 2.9, 5.0, 6.7])
def test_busy_connection_gets_none(period: float) -> None:
    """One to which something comes all the time needs no mark."""
    line = Line()
    now, at = 0.0, line.schedule.tick_seconds
    while now < 600:
        now += period
        while at <= now:
            assert not line.tick(at)
            at += line.schedule.tick_seconds
        line.event(now)


def test_connection_that_is_owed_events_gets_none_and_then_one_at_once() -> None:
    """None while it is behind, has no first frame yet or has commands pending; one as soon as a catch-up has ended,
    though it is busy."""
    line = Line()
    line.connection.fall_behind(3)
    assert not any(line.tick(3.0 * n) for n in range(1, 20))
    line.connection.reach_head()
    line.event(60.0)
    assert line.tick(60.1)
    line.event(60.2)
    assert not line.tick(63.0)
    line.connection.owe_mark()
    line.connection.established = False
    assert not line.tick(66.0)
    line.connection.established = True
    assert line.tick(69.0)
