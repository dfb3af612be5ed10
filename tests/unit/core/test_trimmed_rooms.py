"""The record of a window's trimmed entries."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.cursor import Position
from gateway.core.trimmed_rooms import TrimmedRooms
from gateway.core.window import Bounds, Window
from tests.support.entries import EPOCH, entry, window

ROOMS = ("circle:1", "circle:2", "project:1", "user:ada")
some_rooms = st.lists(st.sampled_from(ROOMS), max_size=3, unique=True)


class Logged:
    """A window, and all of its entries that ever were: offset and rooms."""

    def __init__(self, limit: int) -> None:
        self.window: Window = window(bounds=Bounds(6, 2_000, 20.0, limit))
        self.events: list[list[str]] = []
        self.now = 0.0

    def append(self, rooms: list[str], size: int) -> None:
        self.window.append(entry(len(self.events) + 1, *rooms, size=size, at=self.now))
        self.events.append([*rooms, "tenant"])

    def last_gone(self, rooms: list[str]) -> int:
        gone = range(1, self.window.first)
        return max((offset for offset in gone if set(rooms) & set(self.events[offset - 1])), default=0)


steps = st.lists(
    st.one_of(
        st.tuples(some_rooms, st.sampled_from((0, 50, 900))),
        st.sampled_from((1.0, 8.0, 30.0)),
    ),
    max_size=40,
)


@given(steps, st.lists(st.sampled_from((*ROOMS, "tenant")), min_size=1, max_size=3, unique=True))
def test_gap_equals_a_model(steps: list[tuple[list[str], int] | float], asked: list[str]) -> None:
    """For any trimming, by count, bytes and age: a position has a gap if and only if an entry of the rooms is gone
    after it."""
    log = Logged(limit=100)
    for step in steps:
        if isinstance(step, float):
            log.now += step
            log.window.sweep(log.now)
        else:
            log.append(*step)
        last = log.last_gone(asked)
        for offset in range(log.window.head + 1):
            expected = "history_trimmed" if offset < last else None
            assert log.window.gap(Position(EPOCH, offset), asked) == expected
        assert log.window.gap(Position(EPOCH, log.window.head + 1), asked) == "log_reset"
        assert log.window.gap(Position(b"\x06" * 7, 0), asked) == "log_reset"


@given(st.lists(some_rooms, max_size=40), st.integers(1, 3), some_rooms.filter(bool))
def test_a_forgotten_room_is_never_reported_complete(events: list[list[str]], limit: int, asked: list[str]) -> None:
    """With too many rooms the answer may be a gap where none is, never none where one is; and right for the rooms that
    have lost an entry most lately."""
    log = Logged(limit)
    for rooms in events:
        log.append(rooms, 0)
    gone = [
        (offset, room) for offset in range(1, log.window.first) for room in log.events[offset - 1] if room != "tenant"
    ]
    lately = list(dict.fromkeys(room for _, room in reversed(gone)))[: max(limit - 2, 0)]
    for offset in range(log.window.head + 1):
        position = Position(EPOCH, offset)
        missing = offset < log.last_gone(asked)
        judged = log.window.gap(position, asked)
        assert judged is not None or not missing
        if set(asked) <= set(lately):
            assert (judged is not None) == missing
        assert (log.window.gap(position, ["tenant"]) is None) == (offset >= log.window.first - 1)


@given(st.lists(some_rooms, max_size=12), st.lists(some_rooms, max_size=12), some_rooms.filter(bool))
def test_window_that_begins_later_goes_on_with_what_is_known(
    before: list[list[str]], after: list[list[str]], asked: list[str]
) -> None:
    """A window that is given what is known of the entries before it answers as one that had them all."""
    log = Logged(limit=100)
    known: dict[str, int] = {}
    for rooms in before:
        log.append(rooms, 0)
        for room in rooms:
            known.pop(room, None)
            known[room] = log.window.head
    head = log.window.head
    later = Window(EPOCH, log.window.cursors, Bounds(6), head, TrimmedRooms(100, 0, known))
    blind = Window(EPOCH, log.window.cursors, Bounds(6), head)
    for rooms in after:
        log.append(rooms, 0)
        later.append(entry(later.head + 1, *rooms))
        blind.append(entry(blind.head + 1, *rooms))
    for offset in range(log.window.head + 1):
        gone = range(1, later.first)
        last = max((o for o in gone if set(asked) & set(log.events[o - 1])), default=0)
        assert (later.gap(Position(EPOCH, offset), asked) is not None) == (offset < last)
        assert (blind.gap(Position(EPOCH, offset), asked) is not None) == (offset < max(last, head))


def test_memory_does_not_grow_with_rooms() -> None:
    """However many rooms there were, so many are remembered."""
    trimmed = TrimmedRooms(100)
    for offset in range(1, 100_001):
        trimmed.record((f"circle:{offset}", "tenant"), offset)
    assert (len(trimmed), trimmed.floor) == (100, 99_900)
    assert (trimmed.of("circle:99900"), trimmed.of("circle:100000"), trimmed.of("circle:1")) == (
        99_900,
        100_000,
        99_900,
    )
