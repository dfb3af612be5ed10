"""AG-UI event streams as keyed events: each message, tool call, state and run of an agent is an item of a room.

AG-UI is the agent-user interaction protocol (docs.ag-ui.com, version 1.0). A client that comes late, or is a slow
consumer, gets each item whole; the others get the pieces as they come.
"""

import asyncio
import logging
from collections.abc import AsyncIterable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

from jsonpatch import JsonPatchException, apply_patch
from jsonpointer import JsonPointerException

from gateway.core.errors import GatewayError
from gateway.engine.gateway import Gateway
from schemas.events import Op

logger = logging.getLogger("gateway.agui")


class _Kind(NamedTuple):
    """A kind of item that comes in pieces: its events' type, the first part of its keys, the member of AG-UI with its
    id, and the member of its data that grows."""

    type: str
    prefix: str
    id: str
    growing: str


_KINDS: Final = {
    "TEXT_MESSAGE": _Kind("agent.message", "message", "messageId", "text"),
    "REASONING_MESSAGE": _Kind("agent.reasoning", "reasoning", "messageId", "text"),
    "TOOL_CALL": _Kind("agent.tool_call", "tool_call", "toolCallId", "arguments"),
}


_BETWEEN_CHUNKS: Final = frozenset(("RAW", "ACTIVITY_SNAPSHOT", "ACTIVITY_DELTA", "REASONING_ENCRYPTED_VALUE"))
"""Events that end no sequence of chunks."""


class AguiObject(Protocol):
    """An event of AG-UI's Python SDK."""

    def model_dump(self, *, mode: str, by_alias: bool, exclude_none: bool) -> dict[str, Any]: ...


class AguiEventInvalid(ValueError):
    """An event that is not of AG-UI, or that does not apply to what came before it."""


@dataclass(frozen=True, slots=True)
class AgentEvent:
    """An event to publish; `key` and `op` are those of a keyed event."""

    type: str
    data: dict[str, Any]
    key: str | None = None
    op: Op | None = None


class AguiStream:
    """The AG-UI events of one thread, translated one by one; its runs may follow each other.

    | AG-UI | event | key | data |
    | --- | --- | --- | --- |
    | `RUN_*`, `STEP_*` | `agent.run` | `run/<runId>` | `run_id`, `thread_id`, `status`, `step`, `result`, `message` |
    | `TEXT_MESSAGE_*` | `agent.message` | `message/<messageId>` | `message_id`, `role`, `text`, `done` |
    | `REASONING_MESSAGE_*` | `agent.reasoning` | `reasoning/<messageId>` | the same |
    | `TOOL_CALL_*` | `agent.tool_call` | `tool_call/<toolCallId>` | `name`, `arguments`, `done`, `result` |
    | `STATE_*` | `agent.state` | `state/<threadId>` | `state`, patched here (RFC 6902) |
    | any other | `agui.<its name>` | | its members |
    """

    def __init__(self) -> None:
        self._run: dict[str, Any] = {}
        self._state: Any = {}
        self._open_chunk: tuple[_Kind, str] | None = None

    @property
    def running(self) -> bool:
        """Whether a run has started and not ended."""
        return self._run.get("status") == "running"

    def translate(self, event: Mapping[str, Any] | AguiObject) -> Iterator[AgentEvent]:
        """The events to publish for one of AG-UI: an object of its Python SDK, or the JSON object of the wire. Raises
        `AguiEventInvalid`."""
        if not isinstance(event, Mapping):
            event = event.model_dump(mode="json", by_alias=True, exclude_none=True)
        name = _text(event, "type")
        prefix, _, part = name.rpartition("_")
        kind = _KINDS.get(prefix)
        if kind is None or part == "RESULT":
            if name not in _BETWEEN_CHUNKS:
                yield from self._end_chunk()
            yield self._whole(name, event)
        elif part == "CHUNK":
            yield from self._chunk(kind, event)
        else:
            yield from self._end_chunk()
            yield _piece(kind, part, event)

    def fail(self, message: str) -> Iterator[AgentEvent]:
        """The events that end a run whose stream broke off, whatever members it has had."""
        yield from self._end_chunk()
        self._run = {name: self._run[name] for name in ("run_id", "thread_id")}
        yield self._of_run(status="failed", message=message)

    def _whole(self, name: str, event: Mapping[str, Any]) -> AgentEvent:
        match name:
            case "RUN_STARTED":
                before, self._run = self._run, {"run_id": _text(event, "runId"), "thread_id": _text(event, "threadId")}
                if before.get("thread_id") != self._run["thread_id"]:
                    self._state = {}
                return self._of_run(status="running")
            case "RUN_FINISHED":
                return self._of_run(status="finished", **_some(event, "result", "outcome", "usage"))
            case "RUN_ERROR":
                return self._of_run(status="failed", message=_text(event, "message"), **_some(event, "code"))
            case "STEP_STARTED":
                return self._of_run(step=_text(event, "stepName"))
            case "STEP_FINISHED":
                return self._of_run(step=None)
            case "STATE_SNAPSHOT":
                self._state = event.get("snapshot")
                return self._of_state()
            case "STATE_DELTA":
                return self._patch(event.get("delta"))
            case "TOOL_CALL_RESULT":
                return _change(_KINDS["TOOL_CALL"], event, {"result": _text(event, "content")})
        return AgentEvent(
            f"agui.{name.lower()}", {member: value for member, value in event.items() if member != "type"}
        )

    # ---- runs and state

    def _of_run(self, **changes: Any) -> AgentEvent:
        self._require_run()
        self._run = {name: value for name, value in {**self._run, **changes}.items() if value is not None}
        return AgentEvent("agent.run", dict(self._run), f"run/{self._run['run_id']}", "set")

    def _patch(self, delta: Any) -> AgentEvent:
        if not isinstance(delta, list):
            raise AguiEventInvalid("STATE_DELTA: delta: must be a list of operations (RFC 6902)")
        try:
            self._state = apply_patch(self._state, delta)
        except (JsonPatchException, JsonPointerException, TypeError) as error:
            raise AguiEventInvalid(f"STATE_DELTA: the patch does not apply: {error}") from None
        return self._of_state()

    def _of_state(self) -> AgentEvent:
        self._require_run()
        return AgentEvent("agent.state", {"state": self._state}, f"state/{self._run['thread_id']}", "set")

    def _require_run(self) -> None:
        if not self._run:
            raise AguiEventInvalid("send RUN_STARTED first: it names the run and its thread")

    # ---- chunks: a start, a piece and the end in one, of which only the first need name the item

    def _chunk(self, kind: _Kind, event: Mapping[str, Any]) -> Iterator[AgentEvent]:
        id, open_chunk = event.get(kind.id), self._open_chunk
        if open_chunk is None or open_chunk[0] is not kind or id not in (None, open_chunk[1]):
            yield from self._end_chunk()
            yield _piece(kind, "START", event)
            self._open_chunk = open_chunk = (kind, _text(event, kind.id))
        if event.get("delta") is not None:
            yield _piece(kind, "CONTENT", {**event, kind.id: open_chunk[1]})

    def _end_chunk(self) -> Iterator[AgentEvent]:
        if self._open_chunk is not None:
            kind, id = self._open_chunk
            self._open_chunk = None
            yield _piece(kind, "END", {kind.id: id})


def _piece(kind: _Kind, part: str, event: Mapping[str, Any]) -> AgentEvent:
    match part:
        case "START":
            begun = _change(kind, event, {**_head(kind, event), kind.growing: "", "done": False})
            return replace(begun, op="set")
        case "CONTENT" | "ARGS":
            return _change(kind, event, {kind.growing: _text(event, "delta")})
        case "END":
            return _change(kind, event, {"done": True})
    raise AguiEventInvalid(f"{event.get('type')}: unknown AG-UI event")


def _head(kind: _Kind, event: Mapping[str, Any]) -> dict[str, Any]:
    if kind.id == "toolCallId":
        call = {"tool_call_id": _text(event, kind.id), "name": _text(event, "toolCallName")}
        return call if event.get("parentMessageId") is None else {**call, "message_id": event["parentMessageId"]}
    role = "reasoning" if kind.prefix == "reasoning" else "assistant"
    return {"message_id": _text(event, kind.id), "role": event.get("role") or role}


def _change(kind: _Kind, event: Mapping[str, Any], data: dict[str, Any]) -> AgentEvent:
    """A change of an item. Its data repeats no text that the item has, since that would grow by it."""
    return AgentEvent(kind.type, data, f"{kind.prefix}/{_text(event, kind.id)}", "append")


async def publish_agui(
    gateway: Gateway,
    tenant: str,
    events: AsyncIterable[Mapping[str, Any] | AguiObject],
    *,
    source_agent_id: int | str | UUID | None = None,
    user_id: int | str | UUID | None = None,
    **ids: int | str | UUID | None,
) -> None:
    """Publish the AG-UI events of an agent to the rooms of `ids`, such as `circle_id=7`, as they come. Where the stream
    breaks off or ends without the end of its run, the run is published as failed; where that is refused too, a warning
    is logged. Raises `AguiEventInvalid`, what `events` raises, and what `Gateway.publish` raises."""
    stream = AguiStream()
    rooms: dict[str, Any] = {"source_agent_id": source_agent_id, "user_id": user_id, **ids}
    published_running = False

    async def publish(translated: Iterable[AgentEvent]) -> None:
        nonlocal published_running
        for event in translated:
            await gateway.publish(tenant, event.type, event.data, item_key=event.key, op=event.op, **rooms)
            published_running = stream.running

    try:
        async for event in events:
            await publish(stream.translate(event))
    except BaseException as error:
        # A publish that was cancelled may have appended its event; one that raised has not.
        if stream.running if isinstance(error, asyncio.CancelledError) else published_running:
            try:
                await publish(stream.fail(f"the stream broke off: {type(error).__name__}"))
            except (GatewayError, ValueError) as refusal:
                logger.warning("the run of an AG-UI stream of %r could not be published as failed: %s", tenant, refusal)
        raise
    if stream.running:
        await publish(stream.fail("the stream ended without RUN_FINISHED"))


def _text(event: Mapping[str, Any], member: str) -> str:
    value = event.get(member)
    if not isinstance(value, str):
        raise AguiEventInvalid(f"{event.get('type', 'an event of AG-UI')}: {member}: must be a string")
    return value


def _some(event: Mapping[str, Any], *members: str) -> dict[str, Any]:
    return {member: event[member] for member in members if event.get(member) is not None}
