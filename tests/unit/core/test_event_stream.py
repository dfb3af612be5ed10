"""Blocks of an event stream as the HTML standard reads them (section 9.2.6), and their batches."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from gateway.core.connect_request import read_stream_request
from gateway.core.connection import Connection
from gateway.core.credentials import NO_SECRETS
from gateway.core.event_stream import COMMENT, block
from gateway.core.frame import Batch, EventStreamBatch, Frame, MarkFrame, MessageFrame
from gateway.core.headers import parse_query
from gateway.core.manager import ConnectionManager
from schemas.codes import ErrorCode
from tests.support.entries import connection, entry


@dataclass
class Reader:
    """The interpretation of a stream by the standard, line by line. `dispatched` are type, data and last event id."""

    last_event_id: str = ""
    reconnection_time: int = 0
    dispatched: list[tuple[str, str, str]] = field(default_factory=list)

    def read(self, stream: bytes) -> "Reader":
        data = event = ""
        for line in stream.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]:
            if line == "":
                if data:
                    self.dispatched.append((event or "message", data.removesuffix("\n"), self.last_event_id))
                data = event = ""
                continue
            if line.startswith(":"):
                continue
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                data += f"{value}\n"
            elif name == "event":
                event = value
            elif name == "id":
                self.last_event_id = value
            elif name == "retry":
                self.reconnection_time = int(value)
        return self


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(st.lists(JSON, min_size=1, max_size=10))
def test_events_are_dispatched_as_they_are(values: list[object]) -> None:
    """Any JSON in one line, whatever line breaks are in its texts, as an event without a name and with its id."""
    frames = [Frame(to_json(value), f"evt_{n}") for n, value in enumerate(values)]
    dispatched = Reader().read(bytes(Batch(frames).event_stream)).dispatched
    assert [(kind, json.loads(data), id) for kind, data, id in dispatched] == [
        ("message", json.loads(frame.payload), f"evt_{n}") for n, frame in enumerate(frames)
    ]
    assert EventStreamBatch(frames).wire == Batch(frames).event_stream


def test_own_frames_have_their_names() -> None:
    """With the id and the reconnection time of those that set them; a mark and a comment dispatch nothing."""
    frames = [
        Frame(b"1", "evt_1"),
        MessageFrame(b"2", "subscribed"),
        MarkFrame(b"3", "evt_3"),
        MessageFrame(b"4", "stream.gap", "evt_4"),
        MessageFrame(b"5", "server.draining", retry=1_500),
    ]
    reader = Reader().read(bytes(Batch(frames).event_stream) + COMMENT)
    assert reader.dispatched == [
        ("message", "1", "evt_1"),
        ("subscribed", "2", "evt_1"),
        ("stream.gap", "4", "evt_4"),
        ("server.draining", "5", "evt_4"),
    ]
    assert (reader.last_event_id, reader.reconnection_time) == ("evt_4", 1_500)
    assert Reader().read(bytes(Batch(frames[:3]).event_stream)).last_event_id == "evt_3"
    assert block(None, retry=7) == b"retry: 7\n\n"


def test_batch_is_encoded_once() -> None:
    """On first use; the rest of a batch is in the encoding that was written."""
    batch = Batch([Frame(b"one", "evt_1"), Frame(b"two", "evt_2")], 1, 2)
    assert batch.event_stream is batch.event_stream
    stream = EventStreamBatch(batch.frames, 1, 2)
    assert stream.wire is stream.event_stream
    rest = stream.rest(5)
    assert (bytes(rest.wire), bytes(rest.event_stream)) == (stream.wire[5:], stream.wire[5:])
    assert (rest.first, rest.last) == (1, 2)


def test_fan_out_writes_each_kind_its_batch() -> None:
    """In the order of arrival within a kind, each connection once; short writes go on in the same encoding."""
    manager = ConnectionManager()
    made = []
    for number in range(6):
        one, transport = connection(manager, id=str(number))
        manager.remove(one)
        transport.kind = "sse" if number % 2 else "websocket"
        transport.fd = 100 + number
        manager.add(one)
        manager.join(one, "circle:1", 0)
        made.append(one)
    written: list[tuple[bytes, list[int]]] = []

    def writer(batch: Batch, by_fd: Mapping[int, Connection]) -> None:
        written.append((bytes(batch.wire), list(by_fd)))

    events = [entry(1, "circle:1"), entry(2, "circle:1")]
    manager.deliver("acme", manager.fan_out("acme", events), 0.0, writer, lambda one, error: None)
    frames = [each.frame for each in events]
    assert written == [
        (Batch(frames).wire, [100, 102, 104]),
        (EventStreamBatch(frames).wire, [101, 103, 105]),
    ]
    for one in made:
        manager.remove(one)
    assert manager.of("acme").streams == {}


def test_without_event_streams_nothing_is_encoded_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(*arguments: object, **options: object) -> bytes:
        raise AssertionError("a block was encoded")

    monkeypatch.setattr("gateway.core.event_stream.block", encode)
    manager = ConnectionManager()
    _, transport = connection(manager, {"circle:1": 0})
    manager.deliver(
        "acme", manager.fan_out("acme", [entry(1, "circle:1")]), 0.0, lambda batch, by_fd: None, lambda one, error: None
    )
    assert transport.payloads == [b"1"]


@pytest.mark.parametrize(
    ("query", "header", "since"),
    [
        ("", None, None),
        ("since=a", None, "a"),
        ("since=a&lastEventId=b", None, "b"),
        ("since=a&lastEventId=b&last_event_id=c", None, "c"),
        ("since=a&lastEventId=b&last_event_id=c", b"d", "d"),
        ("since=a&last_event_id=", b"", "a"),
        ("since=&last_event_id=", b"", None),
        ("since=a&since=b", None, "a"),
        ("", b"\xff", "ÿ"),
    ],
)
def test_first_place_to_resume_from_wins(query: str, header: bytes | None, since: str | None) -> None:
    headers = {} if header is None else {b"last-event-id": [header]}
    request = read_stream_request(parse_query(query.encode()), headers, NO_SECRETS, "10.0.0.1")
    assert request.since == since


@pytest.mark.parametrize("history", ["", "-1", "101", "1e1", "٣", "9" * 500, " 1", "+1"])
def test_history_is_a_small_number(history: str) -> None:
    request = read_stream_request([("history", history)], {}, NO_SECRETS, "10.0.0.1")
    assert getattr(request.failure, "code", None) == ErrorCode.BAD_MESSAGE
