"""Errors as problem documents (RFC 9457), with the protocol's error codes."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from http import HTTPStatus
from math import ceil
from time import time
from typing import Any, Final

from fastapi import HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic_core import from_json

from auth.errors import AuthError
from gateway.api.client import Scope, address_of, identity_of
from gateway.core.addresses import Proxy
from gateway.core.errors import ConnectionRefused, GatewayError, RateLimited
from gateway.telemetry import log_events
from gateway.telemetry.log_events import Refusal
from schemas.codes import ERROR_RULES, ErrorCode
from schemas.faults import describe
from schemas.problem import MEDIA_TYPE, Problem

_CODES: Final = {400: ErrorCode.BAD_MESSAGE, 404: ErrorCode.NOT_FOUND, 405: ErrorCode.NOT_FOUND}


class RequestMistake(HTTPException):
    """A request that is answered with `status` and a text that says how to correct it: an unknown path, a body that is
    too large, late, or not JSON. An `HTTPException`, since FastAPI lets only those through."""

    holder: tuple[str, str] | None = None

    def __init__(self, status: int, code: ErrorCode, message: str, limit: int | None = None) -> None:
        super().__init__(status, message)
        self.code = code
        self.limit = limit

    def __str__(self) -> str:
        return str(self.detail)


class BodyRefused(HTTPException):
    """A refusal to parse a body now, as an `HTTPException` for the same reason."""

    def __init__(self, refusal: GatewayError) -> None:
        super().__init__(status_of(refusal), str(refusal))
        self.refusal = refusal


def problem(
    status: int,
    code: ErrorCode,
    detail: str,
    *,
    rooms: tuple[str, ...] | None = None,
    retry_after: float | None = None,
    limit: float | None = None,
    **details: Any,
) -> Response:
    """A problem document; `retry_after` (seconds) is also sent as a header. `details` are further members."""
    body = Problem.of(status, code, detail, rooms=rooms or None, retry_after=retry_after, limit=limit, **details)
    headers = {"Cache-Control": "no-store"}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if retry_after is not None:
        headers["Retry-After"] = str(max(1, ceil(retry_after)))
    return JSONResponse(body.model_dump(exclude_none=True), status, headers, MEDIA_TYPE)


def status_of(error: Refusal) -> int:
    """The status of the answer to a refusal."""
    if isinstance(error, RequestMistake):
        return error.status_code
    return error.status if isinstance(error, ConnectionRefused) else ERROR_RULES[error.code].status


def mistake_in(faults: Sequence[Mapping[str, Any]], *, outer: int = 0) -> RequestMistake:
    """The refusal of a request with these errors of pydantic; `outer` is as in `describe`."""
    return RequestMistake(HTTPStatus.UNPROCESSABLE_ENTITY, ErrorCode.BAD_MESSAGE, describe(faults, outer=outer))


def problem_for(error: Exception) -> Response:
    """The problem document of a client error; re-raises any other exception."""
    if isinstance(error, GatewayError):
        return problem(
            status_of(error),
            error.code,
            str(error),
            rooms=error.rooms,
            retry_after=error.retry_after,
            limit=error.limit,
            **error.details,
        )
    if isinstance(error, AuthError):
        return problem(ERROR_RULES[error.code].status, error.code, str(error), rooms=tuple(getattr(error, "rooms", ())))
    if isinstance(error, RequestMistake):
        return problem(error.status_code, error.code, str(error), limit=error.limit)
    if isinstance(error, HTTPException):
        code = _CODES.get(error.status_code, ErrorCode.BAD_MESSAGE)
        answer = problem(error.status_code, code, str(error.detail))
        answer.headers.update(error.headers or {})  # such as `Allow`, required with 405 (RFC 9110 section 15.5.6)
        return answer
    raise error


def log_refusal(scope: Scope, path: str, proxies: Sequence[Proxy], error: Refusal) -> None:
    """Log the refusal of a request to the route `path`, or of one event of its batch."""
    address, identity = address_of(scope, proxies), identity_of(scope)
    log_events.request_refused(address, scope["method"], path, error, status_of(error), identity)


def limit_met(request: Request) -> RateLimited:
    """The slowapi limit that the request exceeded, with the seconds until its window ends."""
    limiter, (limit, keys) = request.state.limiter, request.state.view_rate_limit
    reset, _ = limiter.limiter.get_window_stats(limit, *keys)
    return RateLimited(f"at most {limit}", max(1.0, reset - time()), limit.amount)


_HEADERS: Final = {
    401: {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}},
    429: {"Retry-After": {"required": True, "schema": {"type": "integer"}, "description": "seconds"}},
    503: {"Retry-After": {"required": True, "schema": {"type": "integer"}, "description": "seconds"}},
}


_OF_SOME_ROUTES: Final = frozenset(
    (
        ErrorCode.ROOM_INVALID,
        ErrorCode.ROOM_FORBIDDEN,
        ErrorCode.TOO_MANY_ROOMS,
        ErrorCode.CURSOR_INVALID,
        ErrorCode.IDEMPOTENCY_CONFLICT,
        ErrorCode.CONTRACT_VIOLATION,
    )
)
"""Error codes of the routes that name them; all others may come from any route."""


_SCHEMA: Final = Problem.model_json_schema(mode="serialization")


def problems(*statuses: int, codes: Sequence[ErrorCode] = ()) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, for OpenAPI, by status: of `statuses`, and of `codes` that not every route has. An example
    for each code."""
    named = {status for code in codes for status in ERROR_RULES[code].statuses}
    return {status: _described(status, codes) for status in sorted({*statuses, *named})}


def _described(status: int, codes: Sequence[ErrorCode]) -> dict[str, Any]:
    possible = [
        ErrorCode(code)
        for code, rule in ERROR_RULES.items()
        if status in rule.statuses and (code in codes or code not in _OF_SOME_ROUTES)
    ]
    examples = {code.value: {"value": _example(status, code)} for code in possible}
    # The schema itself, since FastAPI describes a `model` as application/json.
    content = {"schema": deepcopy(_SCHEMA), "examples": examples}
    return {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(f'`{code}`' for code in possible)}",
        "content": {MEDIA_TYPE: content},
        "headers": _HEADERS.get(status, {}),
    }


def _example(status: int, code: ErrorCode) -> dict[str, Any]:
    answer = problem(status, code, ERROR_RULES[code].remedy, **_MEMBERS.get(code, {}))
    example: dict[str, Any] = from_json(bytes(answer.body))
    return example


_MEMBERS: Final[dict[ErrorCode, dict[str, Any]]] = {
    ErrorCode.ROOM_FORBIDDEN: {"rooms": ("circle:9",)},
    ErrorCode.RATE_LIMITED: {"retry_after": 0.5, "limit": 1_000},
    ErrorCode.CONTRACT_VIOLATION: {
        "event_type": "task.completed",
        "version": 1,
        "pointer": "/task_id",
        "expected": "integer",
        "got": '"82"',
    },
}
"""Further members of examples."""


PUBLISHING: Final = problems(
    codes=(
        ErrorCode.ROOM_INVALID,
        ErrorCode.ROOM_FORBIDDEN,
        ErrorCode.IDEMPOTENCY_CONFLICT,
        ErrorCode.CONTRACT_VIOLATION,
    )
)
"""Further errors of a route that publishes one event."""

PROBLEMS: Final = problems(400, 401, 403, 408, 413, 415, 422, 429, 503)
"""The errors of every route."""
