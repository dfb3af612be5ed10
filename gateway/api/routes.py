"""Route classes with HTTP semantics: problem documents, HEAD, 405 with `Allow`, 415, bounded bodies."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from inspect import getdoc
from typing import Any, ClassVar, Final, Self, cast

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic_core import from_json
from slowapi.errors import RateLimitExceeded
from starlette.routing import Match
from starlette.types import Message, Receive, Scope, Send

from auth.errors import AuthError
from gateway.api.batch_body import parse_batch
from gateway.api.body import Body
from gateway.api.client import identity_of
from gateway.api.cors import CrossOriginRoute
from gateway.api.problems import BodyRefused, RequestMistake, limit_met, log_refusal, mistake_in, problem_for
from gateway.core.addresses import Proxy
from gateway.core.errors import GatewayError
from gateway.engine.ingest import IngestBatch, IngestScheduler
from gateway.engine.lifecycle import Lifecycle
from gateway.service.factory import Service
from gateway.transports.uvicorn.endpoint import BODY_DEADLINE_KEY
from schemas.codes import ErrorCode

BODY_SECONDS: Final = 30
MAX_BODY: Final = 1024 * 1024
MAX_BATCH_BODY: Final = 16 * 1024 * 1024
"""Less than a thousand events of maximum size, which would be 64 MiB."""

HEAD: Final = "gateway.head"
"""The key in the scope of a request that is answered as GET, without the body."""

_INGEST_BATCH: Final = "gateway.ingest_batch"

_DIGITS: Final = 18
"""Digits of a length that are looked at as a number, which takes time."""


def require_length(scope: Scope, limit: int) -> None:
    """Raise `RequestMistake` for a body whose announced length is over the limit: none of it is read, nor asked for
    (RFC 9110 section 10.1.1, `Expect: 100-continue`)."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and (len(value) > _DIGITS or int(value) > limit):
            raise _too_large(limit)


def _too_large(limit: int) -> RequestMistake:
    return RequestMistake(413, ErrorCode.MESSAGE_TOO_LARGE, f"a body has at most {limit} bytes", limit)


async def read_body(scope: Scope, receive: Receive, limit: int, ingest: IngestScheduler, tenant: str) -> bytes | Body:
    """The body of a request of a tenant, of at most `limit` bytes and within `BODY_SECONDS` of its client's time; a
    large one piece by piece, in turns of the tenant. Raises `RequestMistake`, `GatewayError`."""
    require_length(scope, limit)
    if BODY_DEADLINE_KEY in scope.get("state", ()):
        # Without a timer for each request, which takes as long as reading it.
        return await _read(receive, limit, ingest, tenant)
    left = float(BODY_SECONDS)

    async def in_time() -> Message:
        nonlocal left
        begun = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(left):
                message = await receive()
        except TimeoutError:
            raise RequestMistake(408, ErrorCode.BAD_MESSAGE, f"the body took more than {BODY_SECONDS} s") from None
        left -= asyncio.get_running_loop().time() - begun  # not the time in which it waits for its turns
        return message

    return await _read(in_time, limit, ingest, tenant)


async def _read(receive: Receive, limit: int, ingest: IngestScheduler, tenant: str) -> bytes | Body:
    body = Body()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise RequestMistake(400, ErrorCode.BAD_MESSAGE, "the connection was closed before the end of the body")
        chunk: bytes = message.get("body", b"")
        if len(body) + len(chunk) > limit:
            raise _too_large(limit)
        more = message.get("more_body", False)
        if not (body or more):
            return chunk  # the usual case, without a copy
        if more:  # the last one waits for its parsing alone, whose refusal comes in time
            await ingest.piece(tenant, len(chunk))
        body.append(chunk)
        if not more:
            return body


class BoundedRequest(Request):
    """A request whose body has a size limit and a deadline, and whose JSON is strict (RFC 8259: no NaN) and parsed in a
    turn of the caller's tenant: bodies of the maximum size take milliseconds, and many may come at once."""

    def __init__(self, request: Request, route: "ProblemRoute") -> None:
        super().__init__(request.scope, request.receive)
        self._route = route

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            ingest = self._route.ingest
            try:
                body = await read_body(self.scope, self.receive, self._route.max_body, ingest, self._tenant)
            except GatewayError as error:
                raise BodyRefused(error) from None
            self._body = cast(bytes, body)  # not joined, which takes 5 ms of 16 MiB: FastAPI asks whether it is empty
        return self._body

    @property
    def _tenant(self) -> str:
        identity = identity_of(self.scope)
        return "" if identity is None else identity.tenant

    async def json(self) -> Any:
        body = await self.body()
        try:
            return await self._parse(self._tenant, body)
        except GatewayError as error:
            raise BodyRefused(error) from None
        except ValueError:
            raise RequestMistake(400, ErrorCode.BAD_MESSAGE, "the body is not valid JSON (RFC 8259)") from None

    async def _parse(self, tenant: str, body: bytes | Body) -> Any:
        """Parse the body, once it may be. Raises `GatewayError`, `ValueError`."""
        await self._route.ingest.request(tenant, len(body), urgent=self._route.urgent)
        return from_json(bytes(body), allow_inf_nan=False)


class BatchRequest(BoundedRequest):
    """The request of a batch, whose body is parsed in pieces."""

    async def _parse(self, tenant: str, body: bytes | Body) -> Any:
        return await parse_batch(ingest_batch_of(self), tenant, body)


def merge_routers(*routers: APIRouter, **options: Any) -> APIRouter:
    """A router with the routes of several. With `include_router` FastAPI would build each of them again, which takes
    about a millisecond a route, for each router that it is below."""
    return APIRouter(routes=[route for router in routers for route in router.routes], **options)


class MethodRoute(APIRoute):
    """A route that takes HEAD where it takes GET (RFC 9110 section 9.3.2; omitted from OpenAPI), and answers other
    methods with a problem document with a complete `Allow`."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child_scope = super().matches(scope)
        return (Match.FULL if match is Match.PARTIAL and self._is_head(scope) else match), child_scope

    def _is_head(self, scope: Scope) -> bool:
        return scope["method"] == "HEAD" and "GET" in (self.methods or ())

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        methods = self.methods or set()
        if scope["method"] in methods:
            await self.serve(scope, receive, send)
        elif self._is_head(scope):
            # The server omits the body, by its own scope.
            await self.serve({**scope, "method": "GET", HEAD: True}, receive, send)
        else:
            allowed = sorted(methods | ({"HEAD"} if "GET" in methods else set()))
            mistake = RequestMistake(405, ErrorCode.NOT_FOUND, f"this path takes {', '.join(allowed)}")
            answer = self.answer_to_method(scope, mistake)
            answer.headers["Allow"] = ", ".join(allowed)
            await answer(scope, receive, send)

    def answer_to_method(self, scope: Scope, mistake: RequestMistake) -> Response:
        """The answer to a request with another method."""
        return problem_for(mistake)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request with one of the route's methods."""
        await super().handle(scope, receive, send)


class ProblemRoute(CrossOriginRoute, MethodRoute):
    """A route that answers errors with problem documents, also within another application with its own exception
    handlers.

    The `Content-Type` of a body must be JSON: pages of any origin may send other types without a CORS preflight.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], *, summary: str | None = None, **options: Any) -> None:
        super().__init__(path, endpoint, summary=summary or _summary(endpoint), **options)

    lifecycle: Lifecycle
    ingest: IngestScheduler
    max_body: ClassVar = MAX_BODY
    urgent: ClassVar = True
    """Whether bodies are parsed before what the same tenant publishes: an administrator can end a flood."""
    proxies: Sequence[Proxy]
    guard: Callable[[Request], Awaitable[None]] | None = None
    """The check before the body is read, so that the body of a refused request takes no memory."""

    @classmethod
    def of(cls, service: Service) -> type[Self]:
        """The route class for a gateway: starts it at the first request where no lifespan ran, and sends CORS headers
        for its origins."""
        gateway = service.gateway
        publishing = gateway.publishing
        members = {
            "lifecycle": gateway.lifecycle,
            "ingest": publishing.ingest,
            "origins": service.origins,
            "proxies": service.settings.proxies,
        }
        return type(cls.__name__, (cls,), members)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                await self.lifecycle.ensure_running()
                if self.guard is not None:
                    await self.guard(request)
                require_length(request.scope, self.max_body)
                if self.body_field is not None:
                    _require_json(request)
                return await handle(self._bounded(request))
            except RateLimitExceeded:
                return self._refuse(request, limit_met(request))
            except (AuthError, GatewayError, RequestMistake) as error:
                return self._refuse(request, error)
            except RequestValidationError as error:
                return self._refuse(request, mistake_in(error.errors(), outer=1))
            except BodyRefused as error:
                return self._refuse(request, error.refusal)
            except Exception as error:
                return problem_for(error)

        return answer

    def answer_to_method(self, scope: Scope, mistake: RequestMistake) -> Response:
        log_refusal(scope, self.path_format, self.proxies, mistake)
        return super().answer_to_method(scope, mistake)

    def _bounded(self, request: Request) -> BoundedRequest:
        return BoundedRequest(request, self)

    def _refuse(self, request: Request, error: AuthError | GatewayError | RequestMistake) -> Response:
        log_refusal(request.scope, self.path_format, self.proxies, error)
        return problem_for(error)


class BatchRoute(ProblemRoute):
    """A route for batches, of callers that its guard has authenticated."""

    max_body = MAX_BATCH_BODY

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            with self.ingest.batch() as batch:
                request.scope[_INGEST_BATCH] = batch
                return await handle(request)

        return answer

    def _bounded(self, request: Request) -> BatchRequest:
        return BatchRequest(request, self)


def ingest_batch_of(request: Request) -> IngestBatch:
    """The batch that a request of a `BatchRoute` has in progress."""
    batch: IngestBatch = request.scope[_INGEST_BATCH]
    return batch


def _summary(endpoint: Callable[..., Any]) -> str | None:
    """The first clause of the description, for OpenAPI."""
    words = " ".join((getdoc(endpoint) or "").split())
    clause = re.split(r"[.:;](?: |$)", words, maxsplit=1)[0]
    return (clause if len(clause) <= _SUMMARY else clause.partition(",")[0]) or None


_SUMMARY: Final = 70
"""Characters of a summary that is more than the first part of a sentence."""


def _require_json(request: Request) -> None:
    headers = request.headers
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return  # no body: the validation names the missing members
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise RequestMistake(415, ErrorCode.BAD_MESSAGE, "Content-Type: send the body as application/json")
