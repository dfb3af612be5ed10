"""Checks by pydantic models, or by anything that pydantic has a schema for."""

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError, create_model
from pydantic_core import from_json

from schemas.contract.event_schema import EventSchema, Mismatch, SchemaInvalid


def model_event_schema(type: str, version: int, model: Any) -> EventSchema:
    """The schema of an event type's data from a pydantic model, whose validators are called as well. Strict, since
    readers get what was published and not what a model would make of it: "7" is not an integer. Raises
    `SchemaInvalid`."""
    try:
        schema = TypeAdapter(model).json_schema(mode="validation")
        # The whole event's JSON is validated, which needs no second encoding of the data.
        validate = TypeAdapter(create_model("Event", data=(model, ...))).validator.validate_json
    except (PydanticUserError, PydanticSchemaGenerationError) as error:
        raise SchemaInvalid(f"not a pydantic model: {error.message}") from None
    if schema.get("type", "object") != "object":
        raise SchemaInvalid("the data of an event is an object; pass a model, or a TypedDict")

    def check(body: bytes, partial: bool) -> Mismatch | None:
        try:
            validate(body, strict=True)
        except ValidationError as error:
            for fault in error.errors(include_url=False, include_context=False):
                if not (partial and fault["type"] == "missing" and len(fault["loc"]) == 2):
                    return _mismatch(fault, from_json(body)["data"])
        return None

    return EventSchema(type, version, schema, check)


def _mismatch(fault: Any, data: Any) -> Mismatch:
    kind, place = fault["type"], fault["loc"][1:]
    if kind == "missing":
        return Mismatch.at(_path(place[:-1], data), f"the member {place[-1]}", fault["input"])
    path = _path(place, data)
    if kind == "extra_forbidden":
        return Mismatch.at(path, "no such member", fault["input"])
    expected = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return Mismatch.at(path, expected, fault["input"])


def _path(place: Iterable[str | int], data: Any) -> Iterator[str | int]:
    """The path in `data`: without the names of a union's members, which pydantic puts in."""
    for part in place:
        if part in data if isinstance(data, dict) else isinstance(data, list) and part in range(len(data)):
            data = data[part]
            yield part
