"""The AsyncAPI 3 document of the WebSocket: commands and their replies, events, notices and close codes."""

from collections.abc import Iterable, Mapping
from inspect import cleandoc
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from schemas import examples, messages
from schemas.codes import CLOSE_RULES, ERROR_RULES
from schemas.commands import command_models
from schemas.contract.document import opened
from schemas.contract.event_schema import EventSchema
from schemas.contract.subschemas import moved
from schemas.events import KEY_PATTERN, MAX_TYPE_LENGTH, OPS, TYPE_PATTERN
from schemas.rooms import RoomKinds, documented
from schemas.trace_context import TRACEPARENT_PATTERN

Json = dict[str, Any]

_REPLIES: Final[Mapping[str, type[messages.Message]]] = {
    "ping": messages.Pong,
    "subscribe": messages.Subscribed,
    "unsubscribe": messages.Unsubscribed,
    "auth": messages.Authenticated,
    "publish": messages.Published,
    "presence": messages.Presence,
}
"""By command; each may be answered with an `error` instead."""

_VARIANTS: Final[Mapping[type[messages.Message], type[messages.Message]]] = {
    messages.Established: messages.EstablishedWithContract,
    messages.Subscribed: messages.SubscribedWithState,
}
"""Frames with further members in some cases."""

_QUERY: Final[Mapping[str, str]] = {
    "token": "a token; better sent in `Authorization` or a subprotocol, `gateway.v1, gateway.bearer.<token>`",
    "ticket": "a ticket of `POST /tickets` in place of a token, for one connection",
    "client_id": "a label for people, at most 64 printable characters",
    "rooms": "rooms to subscribe to at once, joined by commas; `*` for those that the token names outright",
    "since": "the cursor to resume from: the newest `event_id` or `cursor` that came",
    "state": "`1` for the newest value of each item of the rooms",
}


def asyncapi_document(
    *, version: str, path: str, kinds: RoomKinds, contract: Iterable[EventSchema] = (), digest: str | None = None
) -> Json:
    """The document of a gateway whose WebSocket is at `path`. `contract` has the schemas of its event types, `digest`
    is their hash. Without servers, since the address is the reader's to know."""
    builder = _Builder(kinds)
    commands = {command.removeprefix("command."): command for command in builder.commands()}
    frames = builder.frames()
    events = builder.events(contract)
    replies = {frames[reply] for reply in _REPLIES.values()}
    notices = [frame for frame in frames.values() if frame not in replies]
    operations = {
        name: {
            "action": "receive",
            "channel": {"$ref": "#/channels/socket"},
            "summary": builder.messages[key]["summary"],
            "messages": [_in_channel(key)],
            "reply": {
                "channel": {"$ref": "#/channels/socket"},
                "messages": [_in_channel(frames[_REPLIES[name]]), _in_channel(frames[messages.Error])],
            },
        }
        for name, key in commands.items()
    }
    for name, sent, summary in (
        ("events", events, "Events of the rooms that the connection is subscribed to, each once, in log order"),
        ("notices", notices, "The gateway's own frames that are not replies"),
    ):
        operations[name] = {
            "action": "send",
            "channel": {"$ref": "#/channels/socket"},
            "summary": summary,
            "messages": [_in_channel(key) for key in sent],
        }
    query = {name: {"type": "string", "description": about} for name, about in _QUERY.items()}
    return {
        "asyncapi": "3.1.0",
        "info": {
            "title": "The gathering gateway",
            "version": version,
            "description": "One tenant, one log; one client, one cursor. The WebSocket; HTTP is in /openapi.json.",
            **({} if digest is None else {"x-contract": digest}),
        },
        "defaultContentType": "application/json",
        "channels": {
            "socket": {
                "address": path,
                "title": "The WebSocket",
                "description": "Every frame is a text frame with one JSON object. A command with an `id` is answered "
                "by a frame with the same `id`.",
                "messages": {key: {"$ref": f"#/components/messages/{key}"} for key in builder.messages},
                "bindings": {
                    "ws": {"method": "GET", "query": {"type": "object", "properties": query}, "bindingVersion": "0.1.0"}
                },
                "x-close-codes": {
                    str(int(code)): {"when": rule.when, "retry": rule.retry, "note": rule.note}
                    for code, rule in CLOSE_RULES.items()
                },
                "x-error-codes": {
                    str(code): {"retry": rule.retry, "remedy": rule.remedy} for code, rule in ERROR_RULES.items()
                },
            }
        },
        "operations": operations,
        "components": {
            "messages": builder.messages,
            "schemas": builder.schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "A token"}
            },
        },
    }


class _Builder:
    """The parts of the document: `messages` by key, and the `schemas` that they refer to."""

    def __init__(self, kinds: RoomKinds) -> None:
        self.messages: dict[str, Json] = {}
        self._kinds = kinds
        self._commands = command_models(kinds)
        self._frames = messages.Message.__subclasses__()
        models: list[Any] = [(model, "validation") for model in self._commands]
        models += [(model, "serialization") for model in (*self._frames, *_VARIANTS.values())]
        _, definitions = models_json_schema(models, ref_template="#/components/schemas/{model}")
        self.schemas: dict[str, Json] = definitions["$defs"]

    def commands(self) -> list[str]:
        """Add the commands; their keys."""
        for model in self._commands:
            type = model.model_fields["type"].annotation.__args__[0]  # type: ignore[union-attr]
            self._add(f"command.{type}", type, _summary(model), _model(model), examples.COMMANDS[type])
        return list(self.messages)

    def frames(self) -> dict[type[messages.Message], str]:
        """Add the gateway's own frames; their keys by model."""
        found = {}
        answers = {reply: command for command, reply in _REPLIES.items()}
        for model in self._frames:
            variant = _VARIANTS.get(model)
            data = _model(model) if variant is None else {"anyOf": [_model(variant), _model(model)]}
            command = answers.get(model)
            id = {} if command is None and model is not messages.Error else {"id": {"type": ["string", "integer"]}}
            members = {"type": {"const": model.name}, **id, "data": data, "timestamp": _TIMESTAMP}
            payload = {"type": "object", "properties": members, "required": ["type", "data", "timestamp"]}
            example = examples.frame(model.name, None if command is None else examples.COMMANDS[command]["id"])
            found[model] = f"frame.{model.name}"
            self._add(found[model], model.name, _summary(model), payload, example)
        return found

    def events(self, contract: Iterable[EventSchema]) -> list[str]:
        """Add the events of the contract, and the event of any other type; their keys."""
        found = []
        for each in contract:
            key = f"event.{each.name}"
            self.schemas[each.name] = moved(opened(each.schema), f"#/components/schemas/{each.name}")
            summary = each.schema.get("description") or f"An event {each.type}, version {each.version}"
            data = {"$ref": f"#/components/schemas/{each.name}"}
            payload = self._event({"const": each.type}, data, version={"const": each.version})
            given = [one for one in each.schema.get("examples", ()) if isinstance(one, dict)]
            example = (
                {**examples.EVENT, "type": each.type, "version": each.version, "data": given[0]} if given else None
            )
            self._add(key, each.type, str(summary), payload, example)
            found.append(key)
        grammar = {"type": "string", "maxLength": MAX_TYPE_LENGTH, **documented(TYPE_PATTERN)}
        payload = self._event(grammar, {"type": "object"}, version={"type": "integer"})
        self._add("event", "event", "An event of a type without a schema here", payload, examples.EVENT)
        return [*found, "event"]

    def _event(self, type: Json, data: Json, version: Json) -> Json:
        id: Json = {"type": ["integer", "string"]}
        members = {
            "type": type,
            "data": data,
            **dict.fromkeys((*self._kinds.fields, "source_agent_id"), id),
            "user_id": {"type": "string"},
            "version": version,
            "key": {"type": "string", "description": "the item that the event changes", **documented(KEY_PATTERN)},
            "op": {"enum": list(OPS)},
            "traceparent": {"type": "string", "description": "W3C Trace Context", **documented(TRACEPARENT_PATTERN)},
            "event_id": {"type": "string", "description": "the event's id, and the cursor to resume from"},
            "timestamp": _TIMESTAMP,
        }
        return {"type": "object", "properties": members, "required": ["type", "data", "event_id", "timestamp"]}

    def _add(self, key: str, name: str, summary: str, payload: Json, example: Mapping[str, Any] | None) -> None:
        payloads = [] if example is None else [examples.with_kinds(example, self._kinds)]
        shown = {"examples": [{"name": "example", "payload": one} for one in payloads]} if payloads else {}
        self.messages[key] = {"name": name, "title": name, "summary": summary, "payload": payload, **shown}


_TIMESTAMP: Final = {"type": "string", "format": "date-time", "description": "RFC 3339, in UTC"}


def _in_channel(key: str) -> Json:
    return {"$ref": f"#/channels/socket/messages/{key}"}


def _model(model: type) -> Json:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _summary(model: type) -> str:
    return cleandoc(model.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
