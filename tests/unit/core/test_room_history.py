"""The room history of a connection: bounded, and none for a connection whose rooms never change."""

from gateway.core.room_history import MAX_CHANGES, RoomChange, RoomHistory


def test_history_is_bounded_and_says_what_it_has_forgotten() -> None:
    """The latest changes are kept; about entries up to the head of the newest dropped one nothing is known."""
    history = RoomHistory()
    for n in range(10 * MAX_CHANGES):
        history.add(RoomChange("unsubscribed", "circle:1", float(n), n, n, n))
        assert len(history.changes) == min(n + 1, MAX_CHANGES)
        assert history.forgotten == max(0, n - MAX_CHANGES)
    assert history.changes[-1].head == 10 * MAX_CHANGES - 1
