"""The judgement of a delivery: what is acknowledged, and questions as JSON."""

import json
from dataclasses import replace

import pytest

from gateway.core.connection_record import ConnectionRecord, Span, record_joined, record_of
from gateway.core.delivery_judgement import JudgedEvent, Question, acknowledged_up_to, judge, judge_gone
from gateway.core.manager import ConnectionManager
from gateway.core.room_history import RoomChange
from gateway.core.window import Window
from tests.support.entries import EPOCH, connection, entry, window

ROOM, OTHER = "circle:1", "circle:2"


def written(held: int | None, ended: bool = False, rooms: int = 1) -> tuple[ConnectionRecord, Window]:
    """A live connection that was written ten events of 100 bytes, of which `held` bytes are not acknowledged."""
    log = window()
    for offset in range(1, 11):
        log.append(entry(offset, ROOM if offset % rooms == 0 else OTHER, size=100))
    one, transport = connection(ConnectionManager(), {ROOM: 0})
    transport.unacknowledged = held
    return record_of(one, EPOCH, log.head, ended_at=5.0 if ended else None), log


@pytest.mark.parametrize(("held", "last"), [(0, 10), (1, 9), (100, 9), (101, 8), (450, 5), (1_000, 0), (5_000, 0)])
def test_last_bytes_written_are_of_the_last_events(held: int, last: int) -> None:
    """Events are delivered up to the last bytes that are not acknowledged; the rest is pending while the connection is
    open, and unknown once it has ended."""
    for ended, rest in ((False, ("pending", "behind")), (True, ("unknown", "closed"))):
        record, log = written(held, ended)
        for offset in range(1, 11):
            found = judge(record, JudgedEvent(EPOCH, offset, (ROOM, "tenant")), log)
            assert found[:2] == (("delivered", "delivered") if offset <= last else rest), offset


def test_without_a_report_of_acknowledgements_it_is_unknown() -> None:
    record, log = written(None)
    assert judge(record, JudgedEvent(EPOCH, 1, (ROOM, "tenant")), log)[:2] == ("unknown", "unknown")


def test_events_of_other_rooms_do_not_account_for_bytes() -> None:
    """Every second event was not for the connection: 150 bytes are its last two events."""
    record, log = written(150, rooms=2)
    assert acknowledged_up_to(record, 150, log) == 7


def test_bytes_before_a_replay_are_not_accounted_for() -> None:
    """A room that was joined at offset 8 has brought earlier events after later ones."""
    log = written(0)[1]
    one, _ = connection(ConnectionManager(), {ROOM: 0})
    record_joined(one, (ROOM,), 8, 0.0, False)
    record = record_of(one, EPOCH, log.head)
    assert [acknowledged_up_to(record, held, log) for held in (100, 200, 201)] == [9, 8, 0]
    assert acknowledged_up_to(replace(record, epoch=b"another"), 100, log) == 0


def test_question_is_the_same_after_its_way_as_json() -> None:
    events = [None, JudgedEvent(EPOCH, 7, (ROOM, "tenant"), None, 9), JudgedEvent(EPOCH, 1 << 40, ("tenant",), True)]
    for event in events:
        question = Question("acme", "ada", None, None, event, 3)
        assert Question.unpack(json.loads(json.dumps(question.pack()))) == question


def test_superseded_version_is_not_known_to_be_delivered() -> None:
    """Live it was written; in a catch-up a newer one came instead. Where the connection's round goes beyond the newer
    one, it certainly does not come."""
    record, log = written(0)
    event = JudgedEvent(EPOCH, 5, (ROOM, "tenant"), None, 8)
    assert judge(record, event, log)[:2] == ("unknown", "superseded")
    behind = replace(record, live=False, horizon=7, spans=(Span(ROOM, 0, 4),))
    assert judge(behind, event, log)[:2] == ("pending", "superseded")
    assert judge(replace(behind, horizon=8), event, log)[:2] == ("not_delivered", "superseded")
    assert judge(replace(behind, horizon=8, forgotten=5), event, log)[:2] != ("not_delivered", "superseded")


def test_gone_version_did_not_come_to_a_connection_that_joined_later() -> None:
    record, _ = written(0)
    assert judge_gone(record, 5)[:2] == ("unknown", "superseded")
    assert judge_gone(replace(record, spans=(Span(ROOM, 5, 10),)), 5)[:2] == ("not_delivered", "superseded")
    assert judge_gone(replace(record, spans=(Span(ROOM, 0, 4),)), 5)[:2] == ("not_delivered", "superseded")


@pytest.mark.parametrize(("until", "last"), [(3, 3), (6, 6)])
def test_replay_of_state_that_was_cut_brought_items_up_to_there(until: int, last: int) -> None:
    """Items, and no other events; whole, it brought all items of before."""
    record, log = written(0)
    joined = RoomChange("state", ROOM, 1.0, 6, 6, 6)
    cut = RoomChange("gap", ROOM, 2.0, 0, until, 6, items=True)
    for changes, brought in (((joined,), 6), ((joined, cut), last)):
        left = replace(record, spans=(Span(ROOM, 6, 10),), changes=changes)
        for offset in range(1, 7):
            item = judge(left, JudgedEvent(EPOCH, offset, (ROOM, "tenant"), True), log)
            assert (item.verdict == "delivered") == (offset <= brought), (offset, item)
            assert judge(left, JudgedEvent(EPOCH, offset, (ROOM, "tenant")), log).verdict == "not_delivered"
