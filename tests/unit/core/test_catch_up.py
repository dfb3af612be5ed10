"""Fan-out, and catching up from the log."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.catch_up import Progress, drop_room, history_start, send_next_batch, skip_gap, start_replay
from gateway.core.connection import Connection
from gateway.core.frame import Batch, DeliveryCount
from gateway.core.manager import ConnectionManager
from gateway.core.subscription import subscribe
from gateway.core.window import Bounds, Window
from tests.support.entries import connection, entry, nowhere, unbroken, window
from tests.support.transports import FakeTransport

A, B = "circle:1", "project:1"
memberships = st.lists(st.lists(st.sampled_from([A, B]), unique=True), min_size=1, max_size=40)


def finish(one: Connection, held: Window, limit: int = 100) -> None:
    for _ in range(limit):
        if send_next_batch(one, held, 0.0, DeliveryCount()) is Progress.LIVE:
            return
    raise AssertionError("it never comes to an end")


@given(memberships, st.lists(st.sets(st.sampled_from([A, B, "tenant"]), min_size=1), min_size=1, max_size=6))
def test_sockets_are_written_to_after_all_offers(rooms: list[list[str]], clients: list[set[str]]) -> None:
    """Connections that get the same entries share one batch, whose offsets are those of the log. It is written to all
    their descriptors at once, and to no transport that has one; to the others by `write`."""
    manager = ConnectionManager()
    made = [connection(manager, dict.fromkeys(joined, 0), id=str(n)) for n, joined in enumerate(clients)]
    for n, (_, sheet) in enumerate(made):
        sheet.fd = 100 + n if n % 3 else None
    written: list[tuple[Batch, list[int]]] = []
    entries = [entry(10 + i, *names) for i, names in enumerate(rooms)]

    def write_all(batch: Batch, direct: Mapping[int, Connection]) -> None:
        assert all(direct[descriptor] is made[descriptor - 100][0] for descriptor in direct)
        written.append((batch, list(direct)))

    manager.deliver("acme", manager.fan_out("acme", entries), 0.0, write_all, unbroken)
    batches = [batch for batch, _ in written]
    assert len({tuple(frame.text for frame in batch.frames) for batch in batches}) == len(batches)
    for n, joined in enumerate(clients):
        expected = [e.offset for e in entries if joined & set(e.rooms)]
        got = [batch for batch, direct in written if 100 + n in direct]
        if n % 3 and expected:
            (batch,) = got
            assert [int(frame.text) for frame in batch.frames] == expected
            assert (batch.first, batch.last) == (expected[0], expected[-1])
        else:
            assert got == []
        assert made[n][1].offsets == ([] if n % 3 else expected)
        assert made[n][0].sent == len(expected)


@given(memberships, st.lists(st.sets(st.sampled_from([A, B, "tenant"])), min_size=1, max_size=6))
def test_each_gets_its_rooms_once_in_order(rooms: list[list[str]], clients: list[set[str]]) -> None:
    """The entries of one iteration reach the members of their rooms, once, in log order, and no other tenant."""
    manager = ConnectionManager()
    sheets = [(joined, connection(manager, dict.fromkeys(joined, 0), id=str(n))[1]) for n, joined in enumerate(clients)]
    foreign = connection(manager, {A: 0, B: 0, "tenant": 0}, tenant="bolt")[1]
    entries = [entry(1 + i, *names) for i, names in enumerate(rooms)]
    manager.deliver("acme", manager.fan_out("acme", entries), 0.0, nowhere, unbroken)
    for joined, sheet in sheets:
        assert sheet.offsets == [e.offset for e in entries if joined & set(e.rooms)]
    assert foreign.offsets == []


def test_a_fault_costs_those_whom_it_befell() -> None:
    """A transport that raises is reported after all others have been written to; where the recipients are unknown, all
    are reported."""
    manager = ConnectionManager()
    made = [connection(manager, {A: 0}, id=str(n)) for n in range(5)]
    for n in (3, 4):
        made[n][1].fd = n
    failed: list[tuple[str, str]] = []

    def broken(batch: Batch, direct: object = None) -> bool:
        raise ValueError("broken")

    def on_failure(one: Connection, error: Exception) -> None:
        assert [sheet.offsets for _, sheet in made[:3]] == [[1], [], [1]]
        failed.append((one.id, str(error)))

    made[1][1].write = broken  # type: ignore[method-assign]
    manager.deliver("acme", manager.fan_out("acme", [entry(1, A)]), 0.0, broken, on_failure)
    assert failed == [(str(n), "broken") for n in (1, 3, 4)]


def test_an_empty_room_has_no_connections() -> None:
    """A connection that leaves is in no index any more."""
    manager = ConnectionManager()
    one, _ = connection(manager, {A: 0, B: 0})
    manager.leave(one, A)
    assert list(manager.of("acme").rooms) == [B]
    assert manager.remove(one)
    assert not manager.remove(one)
    index = manager.of("acme")
    assert (index.rooms, index.users, index.connections) == ({}, {}, {})


def test_plan_owes_what_came_since() -> None:
    """Exactly what lies after the place, in the rooms that are new, and is not brought by others."""
    held = window([[A], [B], [A, B], [], [B], [A, B]])
    manager = ConnectionManager()
    one, sheet = connection(manager, {A: 2})
    assert start_replay(one, held, [B], 1)[0] == 2  # 2 and 5; 3 and 6 came by A
    manager.join(one, B, 1)
    finish(one, held)
    assert sheet.offsets == [2, 5]
    assert one.live


def test_plan_of_who_is_behind_comes_before_the_rest() -> None:
    """A replay ends where the connection is; from there both rooms go on together, in order."""
    held = window([[A], [B], [A], [B], [A, B], [B], [A]])
    manager = ConnectionManager()
    one, sheet = connection(manager, {A: 0})
    one.fall_behind(3)
    assert start_replay(one, held, [B], 1)[0] == 3  # 2, 4, 6; 5 will come by A
    manager.join(one, B, 1)
    finish(one, held)
    assert sheet.offsets == [2, 4, 5, 6, 7]


@given(memberships, st.integers(1, 10), st.integers(0, 40))
def test_latest_finds_the_newest(rooms: list[list[str]], count: int, joined: int) -> None:
    """After its offset lie the newest `count` events that the room would bring, or all."""
    held = window(rooms, Bounds(max_events=25))
    manager = ConnectionManager()
    one, sheet = connection(manager, {A: joined})
    unseen = [
        o for o in range(held.first, held.head + 1) if B in held[o].rooms and not (A in held[o].rooms and o > joined)
    ]
    after, _ = history_start(one, held, [B], count)
    expected = unseen[max(0, len(unseen) - count) :]
    assert start_replay(one, held, [B], after)[0] == len(expected)
    manager.join(one, B, after)
    finish(one, held)
    assert sheet.offsets == expected


def test_advance_stops_where_the_transport_is_full() -> None:
    """Written events count; the connection goes on after them, and is live at the head."""
    held = window([[A]] * 5)
    one, sheet = connection(ConnectionManager(), {A: 0})
    one.fall_behind(0)
    sheet.full = True
    assert send_next_batch(one, held, 0.0, DeliveryCount()) is Progress.FULL
    assert sheet.offsets == [1, 2, 3, 4, 5]
    held.append(entry(6, A))
    sheet.full = False
    assert send_next_batch(one, held, 0.0, DeliveryCount()) is Progress.LIVE
    assert sheet.offsets == [1, 2, 3, 4, 5, 6]
    assert send_next_batch(one, held, 0.0, DeliveryCount()) is Progress.LIVE


def behind_the_window(rooms: dict[str, int], place: int) -> tuple[Connection, FakeTransport, Window]:
    held = window([[A, B]] * 10, Bounds(max_events=4))  # 7 to 10 are there
    one, sheet = connection(ConnectionManager(), rooms)
    one.fall_behind(place)
    return one, sheet, held


def test_gap_gives_up_and_goes_on_at_the_head() -> None:
    """Trimmed entries cannot be had; the rest that is given up is in none of its rooms."""
    one, sheet, held = behind_the_window({A: 2}, 5)
    assert send_next_batch(one, held, 0.0, DeliveryCount()) is Progress.GAP
    assert sheet.offsets == []
    skip_gap(one, held, 0.0)
    assert one.live
    after, _ = history_start(one, held, [B], 3)
    assert start_replay(one, held, [B], after)[0] == 3
    finish(one, held)
    assert sheet.offsets == [8, 9, 10]


def test_place_at_the_very_edge_is_no_gap() -> None:
    """One place further on nothing is missing."""
    one, sheet, held = behind_the_window({A: 2}, 6)
    finish(one, held)
    assert sheet.offsets == [7, 8, 9, 10]


def test_history_of_a_slow_consumer_is_no_gap() -> None:
    """Events that were lost before a room was joined with history are not owed."""
    one, sheet, held = behind_the_window({}, 2)
    manager = ConnectionManager()
    answer, _ = subscribe(manager, held, one, [A], None, history=20)
    assert (answer.recovered, answer.replayed) == (None, 4)
    finish(one, held)
    assert sheet.offsets == [7, 8, 9, 10]


def test_history_that_has_nothing_is_no_gap() -> None:
    """All of the room's events were lost before it was joined."""
    held = window([[A]] * 4 + [[B]] * 4, Bounds(max_events=4))
    one, sheet = connection(ConnectionManager(), {})
    one.fall_behind(2)
    answer, _ = subscribe(ConnectionManager(), held, one, [A], None, history=20)
    assert answer.replayed == 0
    finish(one, held)
    assert sheet.offsets == []


def test_an_earlier_start_in_a_room_reports_its_losses_once() -> None:
    """`recovered` reports them, for a room that was joined while the connection was behind as for a new one."""
    one, sheet, held = behind_the_window({A: 7}, 2)
    answer, _ = subscribe(ConnectionManager(), held, one, [A], held.cursors.encode(held.epoch, 3))
    assert (answer.recovered, answer.replayed) == (False, 1)
    finish(one, held)
    assert sheet.offsets == [7, 8, 9, 10]


def test_gap_of_a_replay_costs_the_replay_alone() -> None:
    """Where the connection itself is not too far behind, its other rooms lose nothing."""
    held = window([[A, B]] * 4, Bounds(max_events=4))
    manager = ConnectionManager()
    one, sheet = connection(manager, {A: 3})
    one.fall_behind(3)
    assert start_replay(one, held, [B], 0)[0] == 3  # 1 to 3; 4 will come by A
    manager.join(one, B, 0)
    for offset in (5, 6):
        held.append(entry(offset, A, B))
    assert send_next_batch(one, held, 0.0, DeliveryCount()) is Progress.GAP
    skip_gap(one, held, 0.0)
    assert (one.offset, one.replay, one.rooms) == (3, None, {A: 3, B: 3})
    finish(one, held)
    assert sheet.offsets == [4, 5, 6]


def test_room_that_was_left_is_owed_nothing() -> None:
    """Leaving in the middle of a replay ends it for that room, and for that alone."""
    held = window([[A], [B], [A], [B]])
    manager = ConnectionManager()
    one, sheet = connection(manager)
    assert start_replay(one, held, [A, B], 0)[0] == 4
    for room in (A, B):
        manager.join(one, room, 0)
    manager.leave(one, A)
    drop_room(one, A)
    finish(one, held)
    assert sheet.offsets == [2, 4]
