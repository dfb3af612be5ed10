"""AG-UI events, made by the protocol's own SDK, as keyed events; what a client makes of these is what was said."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import nullcontext
from typing import Any

import pytest
from ag_ui import core as agui
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from gateway.core.errors import GatewayError
from gateway.embedding.agui import AgentEvent, AguiEventInvalid, AguiStream, publish_agui
from tests.support.clients import http
from tests.support.inprocess import RunningGateway

RUN = agui.RunStartedEvent(thread_id="t1", run_id="r1")


def translate(*events: BaseModel | dict[str, Any]) -> list[AgentEvent]:
    stream = AguiStream()
    return [translated for event in events for translated in stream.translate(event)]


def shown(events: Iterable[AgentEvent]) -> dict[str, dict[str, Any]]:
    """The items of a client that got `events`, by key."""
    items: dict[str, dict[str, Any]] = {}
    for event in events:
        if event.key is None:
            continue
        if event.op == "set":
            items[event.key] = dict(event.data)
            continue
        item = items.setdefault(event.key, {})
        for name, value in event.data.items():
            grows = isinstance(value, str) and isinstance(item.get(name), str)
            item[name] = item[name] + value if grows else value
    return items


def test_a_message_grows_by_its_pieces() -> None:
    """The message is complete in the end."""
    events = translate(
        RUN,
        agui.TextMessageStartEvent(message_id="m1", role="assistant"),
        agui.TextMessageContentEvent(message_id="m1", delta="Good "),
        agui.TextMessageContentEvent(message_id="m1", delta="morning"),
        agui.TextMessageEndEvent(message_id="m1"),
    )
    assert [(event.type, event.key, event.op) for event in events[1:]] == [
        ("agent.message", "message/m1", "set"),
        ("agent.message", "message/m1", "append"),
        ("agent.message", "message/m1", "append"),
        ("agent.message", "message/m1", "append"),
    ]
    whole = {"message_id": "m1", "role": "assistant", "text": "Good morning", "done": True}
    assert shown(events)["message/m1"] == whole


def test_a_tool_call_has_its_arguments_and_its_result() -> None:
    events = translate(
        RUN,
        agui.ToolCallStartEvent(tool_call_id="c1", tool_call_name="search", parent_message_id="m1"),
        agui.ToolCallArgsEvent(tool_call_id="c1", delta='{"q": '),
        agui.ToolCallArgsEvent(tool_call_id="c1", delta='"rooms"}'),
        agui.ToolCallEndEvent(tool_call_id="c1"),
        agui.ToolCallResultEvent(message_id="m2", tool_call_id="c1", content="3 found"),
    )
    assert {event.type for event in events[1:]} == {"agent.tool_call"}
    assert shown(events)["tool_call/c1"] == {
        "tool_call_id": "c1",
        "message_id": "m1",
        "name": "search",
        "arguments": '{"q": "rooms"}',
        "done": True,
        "result": "3 found",
    }


def test_state_is_patched_and_set_as_a_whole() -> None:
    """A client need not know of RFC 6902. A run of another thread begins with a state of its own."""
    stream = AguiStream()
    script: list[BaseModel | dict[str, Any]] = [
        RUN,
        agui.StateSnapshotEvent(snapshot={"cities": ["Rome"], "budget": 10}),
        {"type": "STATE_DELTA", "delta": [{"op": "add", "path": "/cities/-", "value": "Oslo"}]},
        agui.RunStartedEvent(thread_id="t2", run_id="r2"),
        {"type": "STATE_DELTA", "delta": [{"op": "add", "path": "/budget", "value": 1}]},
    ]
    events = [translated for event in script for translated in stream.translate(event)]
    assert {event.op for event in events} == {"set"}
    items = shown(events)
    assert items["state/t1"] == {"state": {"cities": ["Rome", "Oslo"], "budget": 10}}
    assert items["state/t2"] == {"state": {"budget": 1}}


def test_a_run_tells_its_step_and_its_end() -> None:
    stream = AguiStream()
    runs = []
    for event in (
        RUN,
        agui.StepStartedEvent(step_name="plan"),
        agui.StepFinishedEvent(step_name="plan"),
        agui.RunFinishedEvent(thread_id="t1", run_id="r1", result={"ok": True}),
    ):
        runs += [translated.data for translated in stream.translate(event)]
    head = {"run_id": "r1", "thread_id": "t1"}
    assert runs == [
        {**head, "status": "running"},
        {**head, "status": "running", "step": "plan"},
        {**head, "status": "running"},
        {**head, "status": "finished", "result": {"ok": True}},
    ]
    assert not stream.running
    failed = list(stream.translate(agui.RunErrorEvent(message="no credit", code="402")))[-1]
    assert failed.data == {**runs[-1], "status": "failed", "message": "no credit", "code": "402"}


def test_other_events_pass_as_they_are() -> None:
    """Without a key: each of them is one by itself."""
    event = agui.CustomEvent(name="cite", value={"url": "https://example.org"})
    assert translate(RUN, event)[1:] == [
        AgentEvent("agui.custom", {"name": "cite", "value": {"url": "https://example.org"}})
    ]


Pieces = list[tuple[str, str]]


@given(st.lists(st.tuples(st.sampled_from(["m1", "m2"]), st.text(min_size=1, max_size=5)), max_size=20))
def test_chunks_are_starts_pieces_and_ends(pieces: Pieces) -> None:
    """Fields may be named or left out: a chunk that names no item continues the one before."""
    script: list[BaseModel] = [RUN]
    texts: dict[str, str] = {}
    before = None
    for id, text in pieces:
        if id == before:
            script.append(agui.TextMessageChunkEvent(delta=text))
        elif id not in texts:
            script.append(agui.TextMessageChunkEvent(message_id=id, role="assistant", delta=text))
        else:
            continue  # a message that has ended is not begun again
        texts[id] = texts.get(id, "") + text
        before = id
    script.append(agui.RunFinishedEvent(thread_id="t1", run_id="r1"))
    items = shown(translate(*script))
    assert {key: item["text"] for key, item in items.items() if key.startswith("message/")} == {
        f"message/{id}": text for id, text in texts.items()
    }
    assert all(item["done"] for key, item in items.items() if key.startswith("message/"))


def test_raw_and_activity_events_end_no_chunks() -> None:
    """A message goes on after them, in a chunk that names no item."""
    events = translate(
        RUN,
        agui.TextMessageChunkEvent(message_id="m1", role="assistant", delta="Good "),
        agui.RawEvent(event={"tokens": 2}),
        agui.TextMessageChunkEvent(delta="morning"),
        agui.RunFinishedEvent(thread_id="t1", run_id="r1"),
    )
    message = shown(events)["message/m1"]
    assert (message["text"], message["done"]) == ("Good morning", True)
    assert sum(event.op == "set" for event in events if event.key == "message/m1") == 1


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([{"delta": "x"}], "type: must be a string"),
        ([{"type": "STATE_SNAPSHOT", "snapshot": {}}], "send RUN_STARTED first"),
        ([{"type": "TEXT_MESSAGE_CONTENT", "delta": "x"}], "TEXT_MESSAGE_CONTENT: messageId: must be a string"),
        ([{"type": "TEXT_MESSAGE_CHUNK", "delta": "x"}], "TEXT_MESSAGE_CHUNK: messageId: must be a string"),
        ([{"type": "TEXT_MESSAGE_MIDDLE", "messageId": "m"}], "TEXT_MESSAGE_MIDDLE: unknown AG-UI event"),
        ([RUN, {"type": "STATE_DELTA", "delta": [{"op": "remove", "path": "/x"}]}], "the patch does not apply"),
        ([RUN, {"type": "STATE_DELTA"}], "delta: must be a list"),
    ],
)
def test_events_not_of_agui_are_refused(events: list[Any], message: str) -> None:
    with pytest.raises(AguiEventInvalid, match=message):
        translate(*events)


async def test_a_stream_that_breaks_off_is_a_run_that_failed(gate: RunningGateway) -> None:
    """The cause may be an exception of the agent, a cancelled task, or an end without `RUN_FINISHED`: no dashboard
    shows the run as still running."""

    async def agent(error: BaseException | None) -> AsyncIterator[BaseModel]:
        yield RUN
        if error is not None:
            raise error

    gateway = gate.service.gateway
    for error, reason in (
        (RuntimeError("no model"), "RuntimeError"),
        (asyncio.CancelledError(), "CancelledError"),
        (None, "without RUN_FINISHED"),
    ):
        with nullcontext() if error is None else pytest.raises(type(error)):
            await publish_agui(gateway, "acme", agent(error), circle_id=7)
        window = gateway.log.window("acme")
        newest = window[window.head].frame.payload.decode()
        assert '"status":"failed"' in newest
        assert reason in newest


async def test_a_run_that_failed_leaves_nothing_open(gate: RunningGateway) -> None:
    """The message that came in chunks ends, and the run's large members do not keep its end from being published."""

    async def agent() -> AsyncIterator[BaseModel]:
        yield RUN
        yield agui.TextMessageChunkEvent(message_id="m1", role="assistant", delta="Good ")
        yield agui.RunFinishedEvent(thread_id="t1", run_id="r1", result="x" * 1_000_000)

    with pytest.raises(GatewayError, match="at most"):
        await publish_agui(gate.service.gateway, "acme", agent(), circle_id=7)
    items = await items_of(gate)
    assert items["message/m1"]["done"] is True
    assert items["run/r1"] == {
        "run_id": "r1",
        "thread_id": "t1",
        "status": "failed",
        "message": "the stream broke off: GatewayError",
    }


async def test_a_failure_that_cannot_be_published_replaces_no_other(
    gate: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller gets the agent's own exception, and a cancelled task stays cancelled; the operator's log has both."""
    gateway = gate.service.gateway
    for length in range(65_536, 0, -1):
        data = {"run_id": "r1", "thread_id": "t" * length, "status": "running"}
        try:
            await gateway.publish("globex", "agent.run", data, circle_id=7, item_key="run/r1", op="set")
        except GatewayError:
            continue
        break

    async def agent(error: BaseException) -> AsyncIterator[BaseModel]:
        yield agui.RunStartedEvent(thread_id="t" * length, run_id="r1")
        raise error

    for error in (LookupError("no model"), asyncio.CancelledError()):
        with pytest.raises(type(error)):
            await publish_agui(gateway, "acme", agent(error), circle_id=7)
    refused = [record.message for record in caplog.records if "could not be published as failed" in record.message]
    assert len(refused) == 2


async def items_of(gate: RunningGateway) -> dict[str, dict[str, Any]]:
    """The state of circle 7, by key."""
    async with http(gate, gate.token()) as api:
        answer = (await api.get("/rooms/circle:7/state")).json()
    return {item["key"]: item["data"] for item in answer["items"]}
