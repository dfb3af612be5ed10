"""Errors as RFC 9457 problem documents, with the protocol's words."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from http import HTTPStatus
from math import ceil
from time import time
from typing import Any, Final

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic_core import from_json
from slowapi.errors import RateLimitExceeded

from auth.errors import AuthError
from gateway.api.cors import CrossOriginRoute
from gateway.core.errors import GatewayError
from gateway.engine.lifecycle import Lifecycle
from gateway.service.factory import Service
from schemas.admin import Problem
from schemas.codes import ERROR_RULES, ErrorCode

MEDIA_TYPE: Final = "application/problem+json"

_CODES: Final = {400: ErrorCode.BAD_MESSAGE, 404: ErrorCode.NOT_FOUND, 405: ErrorCode.NOT_FOUND}


BODY_SECONDS: Final = 30


class BodyError(HTTPException):
    """A body that cannot be read: too large, or no JSON. An `HTTPException`, since FastAPI lets only those through."""

    def __init__(self, status: int, code: ErrorCode, message: str, limit: int | None = None) -> None:
        super().__init__(status, message)
        self.code = code
        self.limit = limit


def problem(
    status: int,
    code: ErrorCode,
    detail: str,
    *,
    rooms: tuple[str, ...] | None = None,
    retry_after: float | None = None,
    limit: float | None = None,
) -> Response:
    """A problem document; `retry_after` in seconds becomes a header too."""
    body = Problem(
        type=f"urn:gathering-gateway:problem:{code}",
        title=code.replace("_", " ").capitalize(),
        status=status,
        detail=detail,
        code=code,
        rooms=rooms or None,
        retry_after=retry_after,
        limit=limit,
    )
    headers = {"Cache-Control": "no-store"}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if retry_after is not None:
        headers["Retry-After"] = str(max(1, ceil(retry_after)))
    return JSONResponse(body.model_dump(exclude_none=True), status, headers, MEDIA_TYPE)


def problem_for(error: Exception) -> Response:
    """The answer to an error; raises what is none that a caller caused."""
    if isinstance(error, GatewayError):
        return problem(
            ERROR_RULES[error.code].status,
            error.code,
            str(error),
            rooms=error.rooms,
            retry_after=error.retry_after,
            limit=error.limit,
        )
    if isinstance(error, AuthError):
        return problem(ERROR_RULES[error.code].status, error.code, str(error), rooms=tuple(getattr(error, "rooms", ())))
    if isinstance(error, RequestValidationError):
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, ErrorCode.BAD_MESSAGE, describe(error.errors()))
    if isinstance(error, BodyError):
        return problem(error.status_code, error.code, str(error.detail), limit=error.limit)
    if isinstance(error, HTTPException):
        code = _CODES.get(error.status_code, ErrorCode.BAD_MESSAGE)
        answer = problem(error.status_code, code, str(error.detail))
        answer.headers.update(error.headers or {})  # `Allow`, which a 405 must have (RFC 9110 section 15.5.6)
        return answer
    raise error


def describe(faults: Any) -> str:
    """The first three faults of a request by field; what was sent is not repeated."""
    lines = []
    for fault in list(faults)[:3]:
        # A field's name may be the sender's own words where it is an unknown one: keep it short and printable.
        words = [word if word.isprintable() else "?" for word in (str(part)[:40] for part in fault["loc"][1:])]
        lines.append(f"{'.'.join(words) or 'body'}: {fault['msg'].removeprefix('Value error, ')}")
    return "; ".join(lines)


def too_many_requests(request: Request, error: RateLimitExceeded) -> Response:
    """The answer where slowapi refused, with the seconds until its window ends."""
    limiter, (limit, keys) = request.state.limiter, request.state.view_rate_limit
    reset, _ = limiter.limiter.get_window_stats(limit, *keys)
    return problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        ErrorCode.RATE_LIMITED,
        f"at most {limit}",
        retry_after=max(1.0, round(reset - time(), 3)),
        limit=limit.amount,
    )


class BoundedRequest(Request):
    """A request whose body is read up to a limit, and whose JSON is strict (RFC 8259: no NaN)."""

    max_body = 1024 * 1024

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    self._body = b"".join([chunk async for chunk in self._bounded()])
            except TimeoutError:
                raise BodyError(408, ErrorCode.BAD_MESSAGE, f"a body comes within {BODY_SECONDS} s") from None
        return self._body

    async def _bounded(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self.stream():
            size += len(chunk)
            if size > self.max_body:
                message = f"a body has at most {self.max_body} bytes"
                raise BodyError(413, ErrorCode.MESSAGE_TOO_LARGE, message, self.max_body)
            yield chunk

    async def json(self) -> Any:
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError:
            raise BodyError(400, ErrorCode.BAD_MESSAGE, "the body is no JSON (RFC 8259)") from None


class BatchRequest(BoundedRequest):
    """The body of a batch: a thousand events, each as large as it may be, would be 64 MiB; this is what is taken."""

    max_body = 16 * 1024 * 1024


class ProblemRoute(CrossOriginRoute):
    """A route that answers errors with problem documents, also within somebody else's application, whose exception
    handlers are not ours to set."""

    request_class: type[BoundedRequest] = BoundedRequest
    lifecycle: Lifecycle | None = None
    guard: Callable[[Request], object] | None = None
    """Called before the body is read, so that what nobody may send takes no memory."""

    @classmethod
    def of(cls, service: Service) -> "type[ProblemRoute]":
        """The class for routes of a gateway, which starts at the first request where no lifespan has started it, and
        whose answers the pages of its origins may read."""
        gateway = service.gateway
        return type(cls.__name__, (cls,), {"lifecycle": gateway.lifecycle, "origins": service.origins})

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                if self.lifecycle is not None:
                    await self.lifecycle.join()
                if self.guard is not None:
                    self.guard(request)
                return await handle(self.request_class(request.scope, request.receive))
            except RateLimitExceeded as error:
                return too_many_requests(request, error)
            except Exception as error:
                return problem_for(error)

        return answer


class BatchRoute(ProblemRoute):
    request_class = BatchRequest


_HEADERS: Final = {
    401: {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}},
    429: {"Retry-After": {"required": True, "schema": {"type": "integer"}, "description": "seconds"}},
    503: {"Retry-After": {"required": True, "schema": {"type": "integer"}, "description": "seconds"}},
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Errors that a route can answer, for OpenAPI."""
    # The schema itself: what is given as a `model` FastAPI describes as application/json.
    content = {MEDIA_TYPE: {"schema": Problem.model_json_schema(mode="serialization")}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content, "headers": _HEADERS.get(status, {})}
        for status in statuses
    }


PROBLEMS: Final = problems(400, 401, 403, 408, 413, 422, 429, 503)
"""Those that any route can answer."""
