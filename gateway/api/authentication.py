"""Authentication of requests: credentials are removed from the scope, and verified."""

from typing import Any, Final, TypeVar

from fastapi import Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from auth.errors import ScopeMissing, TokenMissing
from auth.identity import Identity
from gateway.api.client import Scope, address_of, identity_of, set_identity
from gateway.api.routes import ProblemRoute
from gateway.core.client_request import client_request
from gateway.core.credentials import Secrets, bearer_tokens, redact_query, require_single_token, tickets_from
from gateway.core.headers import Headers, Query, group_headers, parse_query
from gateway.service.factory import Service

R = TypeVar("R", bound=ProblemRoute)

_TAKEN: Final = "gateway.tokens"
_TICKETS: Final = "gateway.tickets"
_QUERY: Final = "gateway.query"


def headers_of(scope: Scope) -> Headers:
    """The headers of a request, subprotocols included, which uvicorn with wsproto removes from them."""
    headers = group_headers(scope["headers"])
    if (offered := scope.get("subprotocols")) and b"sec-websocket-protocol" not in headers:
        return {**headers, b"sec-websocket-protocol": [word.encode("latin-1") for word in offered]}
    return headers


def extract_tokens(scope: Scope) -> Secrets:
    """The tokens of a request; removes them from its query string, so that no later code, access logs included, sees
    them.

    The scope itself is changed, not a copy: the server logs its URL later, with the response.
    """
    if _TAKEN not in scope:
        query = scope[_QUERY] = parse_query(scope["query_string"])
        scope[_TAKEN] = bearer_tokens(query, headers_of(scope))
        scope[_TICKETS] = tickets_from(query)
        scope["query_string"] = redact_query(scope["query_string"])
    tokens: Secrets = scope[_TAKEN]
    return tokens


def is_redacted(scope: Scope) -> bool:
    """Whether the credentials were removed from the scope of the request."""
    return _TAKEN in scope


def extract_tickets(scope: Scope) -> Secrets:
    """The tickets of a request; removes them likewise."""
    extract_tokens(scope)
    tickets: Secrets = scope[_TICKETS]
    return tickets


def query_of(scope: Scope) -> Query:
    """The parameters of a request, with the removed tokens and tickets."""
    extract_tokens(scope)
    query: Query = scope[_QUERY]
    return query


class SecretsMiddleware:
    """The outermost middleware: removes the tokens of every request from its scope."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket"):
            extract_tokens(scope)
        await self.app(scope, receive, send)


async def identify(service: Service, request: Request) -> Identity:
    """Authenticate a request; the identity is kept in its scope. Raises `AuthError`, `ApplicationFailed`."""
    gateway = service.gateway
    authentication = gateway.authentication
    identity = await _ask_application(service, request.scope) if authentication.asks_application else None
    if identity is None:
        identity = authentication.verify(require_single_token(extract_tokens(request.scope)))
    set_identity(request.scope, identity)
    return identity


async def identify_if_any(service: Service, request: Request) -> Identity | None:
    """Authenticate a request to a route that needs no token, and answers more with one; None without a token. Raises as
    `identify`."""
    try:
        return await identify(service, request)
    except TokenMissing:
        return None


async def _ask_application(service: Service, scope: Scope) -> Identity | None:
    """The identity from the application's `authenticate`. Not called for a page of another origin, with which a browser
    sends the user's cookies too (cross-site request forgery): such a page needs a token."""
    headers = headers_of(scope)
    if not service.origins.allows(headers):
        return None
    gateway = service.gateway
    authentication = gateway.authentication
    address = address_of(scope, service.settings.proxies)
    return await authentication.identify(client_request(headers, query_of(scope), address))


def authenticated_route(service: Service, route: type[R], *scopes: str) -> type[R]:
    """The route class with authentication before the body is read; a caller without any of `scopes` is refused."""

    async def guard(request: Request) -> None:
        identity = await identify(service, request)
        if not any(identity.has_scope(scope) for scope in scopes):
            raise ScopeMissing(scopes[0])

    return type(route.__name__, (route.of(service),), {"guard": staticmethod(guard)})


class Principal(SecurityBase):
    """The dependency for the caller's identity. Raises `AuthError`. OpenAPI lists its routes as needing a token."""

    def __init__(self, service: Service) -> None:
        self.scheme_name = "token"
        self.model = HTTPBearer(bearerFormat="JWT")
        self._service = service
        gateway = service.gateway
        self._connections = gateway.connections

    async def __call__(self, request: Request) -> Identity:
        identity = identity_of(request.scope)
        if identity is None:
            return await identify(self._service, request)
        # Checked again: a body may take half a minute, in which the token may expire or be revoked.
        return self._connections.revalidate(identity)
