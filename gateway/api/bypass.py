"""Detection of middleware and dependencies of the host application that the uvicorn transport would bypass.

The transport answers before ASGI does, so with any of them it must not be used. Unknown ones count too.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import BaseRoute, Match, Route

from gateway.api.authentication import SecretsMiddleware
from gateway.api.fast_path import FastPathMiddleware

_HTTP_ONLY: Final = (CORSMiddleware, GZipMiddleware, SecretsMiddleware, FastPathMiddleware)
"""Middleware that ignores WebSockets, or does only what the transport does itself."""


def bypassed(application: Any, endpoint: Callable[..., Any]) -> tuple[tuple[str, ...], str | None]:
    """The paths at which `application` routes WebSockets to `endpoint`, and the middleware and dependencies before it
    there: None if there are none."""
    routes = _routes_to(application, endpoint)
    if not routes or any(route.param_convertors for route in routes):
        return (), "another route"
    before = [_name(kind) for kind, *_ in application.user_middleware if _sees_websockets(kind)]
    before += [f"the dependency {_name(each.call)}" for each in routes[0].dependant.dependencies]
    return tuple(route.path for route in routes), ", ".join(before) or None


def serves_others(application: Any, endpoint: Callable[..., Any]) -> bool:
    """Whether a WebSocket may reach anything in `application` but `endpoint`."""
    routes = _flat(getattr(application, "routes", ()))
    return not all(isinstance(route, Route) or getattr(route, "endpoint", None) is endpoint for route in routes)


def _routes_to(application: Any, endpoint: Callable[..., Any]) -> list[APIWebSocketRoute]:
    """The routes to `endpoint`; none where another route comes first at one of their paths."""
    passed: list[BaseRoute] = []
    found: list[APIWebSocketRoute] = []
    for route in _flat(getattr(application, "routes", ())):
        if isinstance(route, APIWebSocketRoute) and route.endpoint is endpoint:
            scope = {"type": "websocket", "path": route.path, "root_path": "", "headers": []}
            if any(other.matches(scope)[0] is Match.FULL for other in passed):
                return []
            found.append(route)
        elif not isinstance(route, APIRoute):
            passed.append(route)
    return found


def _flat(routes: Any) -> Iterator[BaseRoute]:
    """Routes in the order of matching. Newer releases of FastAPI keep an included router as one route, and list its
    routes, with full paths and all dependencies, as contexts."""
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
    # `@app.middleware("http")` and similar, unless they override `__call__`.
    of_requests = isinstance(kind, type) and issubclass(kind, BaseHTTPMiddleware)
    return not (of_requests and kind.__call__ is BaseHTTPMiddleware.__call__)


def _name(thing: Any) -> str:
    return str(getattr(thing, "__name__", None) or type(thing).__name__)
