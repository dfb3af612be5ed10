"""The index of a window by room, and what looking into a long window for a quiet room costs."""

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.catch_up import Progress, history_start, send_next_batch, start_replay
from gateway.core.connection import Connection
from gateway.core.frame import DeliveryCount
from gateway.core.manager import ConnectionManager
from gateway.core.room_index import RoomIndex, SparseRoomIndex
from gateway.core.window import Bounds, Entry, Window
from tests.support.entries import EPOCH, connection, entry, window
from tests.support.transports import FakeTransport

LONG = 10_000
BUSY, QUIET, MINE = "circle:1", "circle:2", "circle:3"


class CountingWindow(Window):
    """A window that counts how many entries were looked at."""

    looked_at = 0

    def __getitem__(self, offset: int) -> Entry:
        self.looked_at += 1
        return super().__getitem__(offset)


def long_window(quiet: int = 3) -> CountingWindow:
    """`LONG` entries of a busy room, the first `quiet` of them of a quiet one besides."""
    held = CountingWindow(EPOCH, window().cursors, Bounds(max_events=LONG))
    for offset in range(1, LONG + 1):
        held.append(entry(offset, BUSY, *([QUIET] if offset <= quiet else [])))
    return held


def in_rooms(**rooms: int) -> tuple[ConnectionManager, Connection, FakeTransport]:
    manager = ConnectionManager()
    return (manager, *connection(manager, {room.replace("_", ":"): after for room, after in rooms.items()}))


rooms_of_entries = st.lists(st.lists(st.sampled_from(["a:1", "a:2", "a:3"]), unique=True), max_size=250)
spans = st.dictionaries(
    st.sampled_from(["a:1", "a:2", "a:3", "a:4", "tenant"]), st.tuples(st.integers(0, 260), st.integers(0, 260))
)


@given(rooms_of_entries, spans, st.integers(1, 200), st.booleans())
def test_candidates_are_the_entries_in_the_spans_and_few_others(
    rooms: list[list[str]], asked: dict[str, tuple[int, int]], max_events: int, newest_first: bool
) -> None:
    """Each candidate once and in order, also after trimming. A span of the whole tenant ends where the longest does."""
    if "tenant" in asked:
        asked["tenant"] = (asked["tenant"][0], max(until for _, until in asked.values()))
    held = window(rooms, Bounds(max_events))
    found = list(held.candidates(asked, newest_first))[:: -1 if newest_first else 1]
    assert found == sorted(set(found))
    assert all(held.first <= offset <= held.head for offset in found)
    expected = {
        offset
        for offset in range(held.first, held.head + 1)
        if any(after < offset <= until for room, (after, until) in asked.items() if room in held[offset].rooms)
    }
    assert expected <= set(found)
    assert len(found) <= 3 * sum(len(set(asked) & set(held[offset].rooms)) for offset in expected)


def test_trimmed_entries_take_no_memory() -> None:
    """Rooms without an entry are forgotten, and of the others there is what the window holds, and little more."""
    held, index = window(bounds=Bounds(max_events=100)), RoomIndex()
    for offset in range(1, 5_001):
        held.append(entry(offset, BUSY, f"project:{offset}"))
        kept = range(max(1, offset - 99), offset + 1)
        index.add((BUSY, f"project:{offset}"), offset, kept)
        if offset > 100:
            index.remove((BUSY, f"project:{offset - 100}"), kept)
    assert len(index.rooms) == 101
    assert len(index.rooms[BUSY].items) <= 2 * 100 + 64
    assert list(islice(held.candidates({BUSY: (0, 5_000)}), 2)) == [4_901, 4_902]


def test_superseded_entries_take_no_memory() -> None:
    """However often the items of a room change, it has about as many offsets as items; in a lookup they are once, each
    at its newest version, and a room whose entries are removed is forgotten."""
    index, items = SparseRoomIndex(), 100
    kept: dict[int, None] = {}
    for offset in range(1, 10_001):
        kept[offset] = None
        index.add((BUSY, "tenant"), offset, kept)
        if offset % 5 == 0:
            index.add((QUIET,), offset, kept)
        kept.pop(offset - items, None)
        assert len(index.rooms[BUSY].items) <= 2 * items + 64
    assert len(index.rooms[QUIET].items) <= 2 * items // 5 + 64
    assert list(index.candidates({BUSY: (0, 10_000)}, kept)) == list(range(9_901, 10_001))
    assert list(index.candidates({QUIET: (0, 9_950)}, kept, True)) == list(range(9_950, 9_900, -5))
    kept.clear()
    index.remove((BUSY, QUIET, "tenant"), kept)
    assert not index.rooms


@pytest.mark.parametrize("rooms", [[QUIET], [BUSY, QUIET, "project:1"], ["tenant"]])
def test_history_of_rooms_that_it_follows_costs_nothing(rooms: list[str]) -> None:
    """There is nothing in them that it was not given."""
    held = long_window()
    _, one, _ = in_rooms(tenant=0) if rooms == ["tenant"] else in_rooms(circle_1=0, circle_2=0, project_1=0)
    assert history_start(one, held, rooms, 100) == (0, 0)
    assert start_replay(one, held, rooms, 0) == (0, 0, 0)
    assert held.looked_at == 0


def test_history_costs_what_it_finds() -> None:
    """The cost is the number of events found, for any length of the window."""
    held = long_window()
    _, one, _ = in_rooms(circle_3=0)
    assert history_start(one, held, [BUSY], 100) == (LONG - 100, 100)
    assert history_start(one, held, [QUIET], 100) == (0, 3)
    assert history_start(one, held, [QUIET, BUSY, "tenant"], 5) == (LONG - 5, 5)
    assert held.looked_at == 108


def test_resume_costs_what_is_owed() -> None:
    """From the oldest place on, of a room with three events, until it is live again."""
    held = long_window()
    manager, one, sheet = in_rooms(circle_3=0)
    assert start_replay(one, held, [QUIET], 0) == (3, 0, 3)
    manager.join(one, QUIET, 0)
    assert send_next_batch(one, held, 0.0, DeliveryCount()) is Progress.LIVE
    assert sheet.offsets == [1, 2, 3]
    assert held.looked_at == 6


def test_a_late_joiner_costs_a_lookup_of_earlier_entries_only() -> None:
    """A room that it is in already owes it what came before it joined."""
    held = long_window()
    _, one, _ = in_rooms(circle_1=50)
    assert start_replay(one, held, [BUSY], 0) == (50, 0, 50)
    assert history_start(one, held, [BUSY], 10) == (40, 10)


def test_catching_up_a_quiet_room_does_not_cost_the_window() -> None:
    """A connection that is behind by the whole window is live in one step, for the events that are its own."""
    held = long_window()
    _, one, sheet = in_rooms(circle_2=0, circle_3=0)
    one.fall_behind(0)
    assert send_next_batch(one, held, 0.0, DeliveryCount()) is Progress.LIVE
    assert sheet.offsets == [1, 2, 3]
    assert held.looked_at == 3


def test_entries_brought_by_other_rooms_count_as_examined() -> None:
    """Looking for what is not there, since another room brought it, costs; the answer says how much."""
    held = long_window()
    manager = ConnectionManager()
    one, _ = connection(manager, {BUSY: 0})
    assert start_replay(one, held, [QUIET], 0) == (0, 0, 3)
    assert history_start(one, held, [QUIET], 100) == (0, 3)
