"""A stream against a model of a gateway: connections break, the log is trimmed and reset; nothing is missing without a
gap, nothing comes twice, nothing out of order."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gathering_client.events import Event, Gap, Snapshot
from tests.unit.clients.python.gathering_client.driver import (
    ScriptedDriver,
    control_frame,
    established,
    event_frame,
    subscribed,
)

KEEP = 6


class Gateway:
    """A log of one tenant with the events of two rooms, `KEEP` of them kept, and one connection to it that follows the
    first. An event's number is its place; a cursor names the log's epoch and a place."""

    def __init__(self) -> None:
        self.epoch = 0
        self.log: list[int] = []
        """The circle of each event."""
        self.logs = [self.log]
        """The one of each epoch."""
        self.wire: list[dict[str, Any]] = []
        """Frames that were written and not read."""

    def cursor(self, place: int) -> str:
        return f"evt_{self.epoch}:{place}"

    def frame(self, place: int) -> dict[str, Any]:
        return event_frame(place, circle_id=self.log[place], event_id=self.cursor(place + 1))

    @property
    def head(self) -> str:
        return self.cursor(len(self.log))

    def accept(self, url: str) -> None:
        """A connection with `rooms=circle:1`, and `since`."""
        query = parse_qs(urlsplit(url).query)
        self.wire = [established(self.head)]
        recovered, replay = None, []
        if "since" in query:
            epoch, _, place = query["since"][0].removeprefix("evt_").partition(":")
            after = int(place) if int(epoch) == self.epoch else 0
            kept = max(0, len(self.log) - KEEP)
            lost = [circle for circle in self.log[after:kept] if circle == 1]
            recovered = int(epoch) == self.epoch and not lost
            replay = [n for n in range(max(after, kept), len(self.log)) if self.log[n] == 1]
        self.wire.append(subscribed(recovered, len(replay), self.head))
        self.wire += [self.frame(n) for n in replay]

    def publish(self, circle: int, connected: bool) -> None:
        self.log.append(circle)
        if connected and circle == 1:
            self.wire.append(self.frame(len(self.log) - 1))

    def reset(self, connected: bool) -> None:
        """Begin an epoch; a connected client gets `stream.gap`."""
        self.epoch += 1
        self.log = []
        self.logs.append(self.log)
        if connected:
            self.wire.append(control_frame("stream.gap", reason="log_reset", cursor=self.head))


class Following:
    """A client that follows from the beginning of the log, and what happens to it."""

    def __init__(self, loads: bool) -> None:
        self.gateway = Gateway()
        self.driver = ScriptedDriver(loads=loads)
        self._accepted = 0
        self._settle()
        self.receive(2)  # from which on it follows

    def _settle(self) -> None:
        """Let the stream do what it wants to, up to the next frame that it reads."""
        self.driver.run()
        if len(self.driver.opened) > self._accepted:
            self._accepted = len(self.driver.opened)
            self.gateway.accept(self.driver.opened[-1])

    def publish(self, circle: int) -> None:
        self.gateway.publish(circle, self.driver.connected)

    def receive(self, count: int) -> None:
        while count and self.gateway.wire:  # a new connection has its own
            self.driver.receive(self.gateway.wire.pop(0))
            self._settle()
            count -= 1

    def mark(self, _: int) -> None:
        if not self.gateway.wire:
            mark = control_frame("stream.mark", cursor=self.gateway.head, as_of="2026-01-15T10:30:00Z")
            self.gateway.wire.append(mark)

    def drop(self, code: int) -> None:
        self.driver.close(code or None)
        self._settle()

    def reset(self, _: int) -> None:
        self.gateway.reset(self.driver.connected)

    def end(self) -> None:
        """All comes, up to one event more."""
        self.receive(1_000)
        self.publish(1)
        self.receive(1_000)
        last = self.driver.yielded[-1]
        assert isinstance(last, Event)
        assert place_of(last.id) == (self.gateway.epoch, len(self.gateway.log))

    def check(self) -> None:
        """From the beginning, from a snapshot's cursor, and from the first event after a gap on, the events come in
        order, each once and none left out."""
        after: tuple[int, int] | None = (0, 0)
        for item in self.driver.yielded:
            if isinstance(item, Gap):
                after = None
            elif isinstance(item, Snapshot):
                after = place_of(item.cursor)
            elif isinstance(item, Event):
                epoch, place = place_of(item.id)
                if after is not None:
                    assert epoch == after[0], "the log began anew, and no gap told it"
                    assert after[1] < place
                    between = self.gateway.logs[epoch][after[1] : place - 1]
                    assert 1 not in between, "an event is missing, and no gap told it"
                after = (epoch, place)


def place_of(cursor: str) -> tuple[int, int]:
    epoch, _, place = cursor.removeprefix("evt_").partition(":")
    return int(epoch), int(place)


HAPPENINGS = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from([1, 1, 2])),
    st.tuples(st.just("receive"), st.sampled_from([1, 2, 2, 3, 8])),
    st.tuples(st.just("drop"), st.sampled_from([0, 1012, 1013, 4408])),
    st.tuples(st.just("mark"), st.just(0)),
    st.tuples(st.just("reset"), st.just(0)),
)


@pytest.mark.parametrize("loads", [False, True])
@given(happenings=st.lists(HAPPENINGS, max_size=60))
@example(happenings=[("publish", 1)] * 9 + [("drop", 0), ("receive", 3), ("drop", 0), ("publish", 2), ("receive", 9)])
@example(happenings=[("publish", 1), ("drop", 0), ("receive", 2), ("drop", 0)])
@settings(max_examples=300)
def test_nothing_is_missing_without_a_gap_and_nothing_comes_twice(
    loads: bool, happenings: list[tuple[str, int]]
) -> None:
    """With a loader a snapshot stands for every gap."""
    following = Following(loads)
    for name, argument in happenings:
        getattr(following, name)(argument)
    following.end()
    following.check()
    assert not loads or not any(isinstance(item, Gap) for item in following.driver.yielded)
