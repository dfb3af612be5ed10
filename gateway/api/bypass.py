"""Middleware and dependencies of the host application that the transport under uvicorn would bypass.

It answers before ASGI does, so where there are any it must not be used. What cannot be told counts as one.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import BaseRoute, Match, Route

from gateway.api.authentication import SecretsMiddleware

_HTTP_ONLY: Final = (CORSMiddleware, GZipMiddleware, SecretsMiddleware)
"""Middleware that does nothing to a WebSocket, or nothing that the transport does not do itself."""


def bypassed(application: Any, endpoint: Callable[..., Any]) -> tuple[str, str | None]:
    """The path at which `application` routes WebSockets to `endpoint`, and what stands before it there: None where
    nothing does."""
    route = _route_to(application, endpoint)
    if route is None or route.param_convertors:
        return "", "another route"
    before = [_name(kind) for kind, *_ in application.user_middleware if _sees_websockets(kind)]
    before += [f"the dependency {_name(each.call)}" for each in route.dependant.dependencies]
    return route.path, ", ".join(before) or None


def serves_others(application: Any, endpoint: Callable[..., Any]) -> bool:
    """Whether a WebSocket may lead to anything in `application` but `endpoint`."""
    routes = _flat(getattr(application, "routes", ()))
    return not all(isinstance(route, Route) or getattr(route, "endpoint", None) is endpoint for route in routes)


def _route_to(application: Any, endpoint: Callable[..., Any]) -> APIWebSocketRoute | None:
    """The route to `endpoint`, unless another one comes first at its path."""
    passed: list[BaseRoute] = []
    for route in _flat(getattr(application, "routes", ())):
        if isinstance(route, APIWebSocketRoute) and route.endpoint is endpoint:
            scope = {"type": "websocket", "path": route.path, "root_path": "", "headers": []}
            taken = any(other.matches(scope)[0] is Match.FULL for other in passed)
            return None if taken else route
        if not isinstance(route, APIRoute):
            passed.append(route)
    return None


def _flat(routes: Any) -> Iterator[BaseRoute]:
    """Routes in the order in which they are tried. Newer releases of FastAPI leave an included router as it is, and
    tell of its routes, with their whole paths and all dependencies, as contexts."""
    for route in routes:
        contexts = getattr(route, "effective_route_contexts", None)
        if contexts is None:
            yield route
        else:
            for context in contexts():
                yield context.starlette_route or context.original_route


def _sees_websockets(kind: Any) -> bool:
    if kind in _HTTP_ONLY:
        return False
    # `@app.middleware("http")` and its like, unless they have a `__call__` of their own.
    of_requests = isinstance(kind, type) and issubclass(kind, BaseHTTPMiddleware)
    return not (of_requests and kind.__call__ is BaseHTTPMiddleware.__call__)


def _name(thing: Any) -> str:
    return str(getattr(thing, "__name__", None) or type(thing).__name__)
