"""Summaries of the log's entries for operators: type, rooms, time and size of each event, without its data."""

from gateway.core.window import Entry
from schemas.events import decode_event
from schemas.operations import EventSummary


def summary_of(entry: Entry, payload: bool = False) -> EventSummary:
    """The summary of an entry that is not superseded; with its data where `payload` was asked for."""
    encoded = entry.frame.payload
    event = decode_event(encoded)
    data = event["data"]
    return EventSummary(
        event_id=entry.event_id,
        type=event["type"],
        rooms=entry.rooms,
        timestamp=event["timestamp"],
        bytes=len(encoded),
        members=len(data),
        user_id=event.get("user_id"),
        source_agent_id=event.get("source_agent_id"),
        key=event.get("key"),
        op=event.get("op"),
        data=data if payload else None,
    )
