"""A contract as one JSON document, as `GET /contract` serves it and `gateway contract check --against` reads it."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from schemas.contract.event_schema import EventSchema, SchemaInvalid, parse_name
from schemas.contract.subschemas import rewritten

View = Literal["write", "read"]
"""The schemas as publishers must write events, or as clients must read them: with members that they do not know."""

_CLOSING: Final = ("additionalProperties", "unevaluatedProperties")


def types_of(schemas: Iterable[EventSchema], view: View = "write") -> dict[str, Any]:
    """`{type: {"newest": N, "versions": {"1": schema, …}}}`."""
    types: dict[str, Any] = {}
    for each in schemas:
        entry = types.setdefault(each.type, {"newest": 0, "versions": {}})
        entry["newest"] = max(entry["newest"], each.version)
        entry["versions"][str(each.version)] = each.schema if view == "write" else opened(each.schema)
    return types


def opened(schema: Any) -> Any:
    """The schema for readers: objects may have further members, so that a later one breaks no client."""
    return rewritten(schema, _open)


def _open(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in schema.items() if name not in _CLOSING or value is not False}


def schemas_in(document: Any) -> dict[str, Any]:
    """The schemas of a document by name, `<type>.v<N>`. Raises `SchemaInvalid`."""
    try:
        found = {
            f"{type}.v{version}": schema
            for type, entry in document["types"].items()
            for version, schema in entry["versions"].items()
        }
    except (TypeError, KeyError, AttributeError):
        raise SchemaInvalid("is not a contract as GET /contract returns it") from None
    for name in found:
        parse_name(name)
    return found
