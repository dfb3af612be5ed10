"""The OpenAPI document: a summary for each route, an example for each body and error, the error codes by status."""

from functools import cache
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from gateway.api import create_app
from gateway.service.factory import create_service
from schemas.codes import ERROR_RULES, ErrorCode
from tests.support.settings import settings_for

PROBLEM = "application/problem+json"


@cache
def document(*kinds: str) -> dict[str, Any]:
    return create_app(create_service(settings_for(**({"room_kinds": kinds} if kinds else {})))).openapi()


def operations() -> list[tuple[str, dict[str, Any]]]:
    paths = document()["paths"]
    return [(f"{method.upper()} {path}", one) for path, item in paths.items() for method, one in item.items()]


@pytest.mark.parametrize(("name", "operation"), operations(), ids=[name for name, _ in operations()])
def test_operation_has_words_and_error_codes(name: str, operation: dict[str, Any]) -> None:
    """The summary is the first part of the description; each error lists its codes, with an example of each."""
    assert 5 < len(operation["summary"]) <= 90
    assert "`" not in operation["summary"]  # which is shown as plain text
    assert operation["summary"] in " ".join(operation["description"].split())
    for status, answer in operation["responses"].items():
        content = answer.get("content", {}).get(PROBLEM)
        if content is None:
            continue
        assert content["examples"], (name, status)
        for code, example in content["examples"].items():
            assert int(status) in ERROR_RULES[code].statuses
            assert f"`{code}`" in answer["description"]
            assert (example["value"]["code"], example["value"]["status"]) == (code, int(status))
            Draft202012Validator(content["schema"]).validate(example["value"])


def test_errors_of_publishing_are_its_own() -> None:
    def codes(path: str, method: str, status: str) -> set[str]:
        answer = document()["paths"][path][method]["responses"][status]
        return set(answer["content"][PROBLEM]["examples"])

    assert ErrorCode.CONTRACT_VIOLATION in codes("/events", "post", "422")
    assert codes("/events", "post", "409") == {"idempotency_conflict"}
    assert codes("/tickets", "post", "422") == {"bad_message"}
    assert "cursor_invalid" in codes("/rooms/{room}/events", "get", "422")


@pytest.mark.parametrize("kinds", [(), ("team", "board")])
def test_examples_fit_their_schemas(kinds: tuple[str, ...]) -> None:
    """Also where there are other kinds of room."""
    schemas = document(*kinds)["components"]["schemas"]
    shown = {name: schema["examples"] for name, schema in schemas.items() if "examples" in schema}
    assert {"PublishedEvent", "EventResponse", "TokenRequest", "RevocationRequest", "EventBatch"} <= shown.keys()
    for name, examples in shown.items():
        schema = {**schemas[name], "components": {"schemas": schemas}}
        for example in examples:
            Draft202012Validator(schema).validate(example)
