"""The complete application: the routes, the pages, and problem documents for unknown paths."""

from fastapi import FastAPI, HTTPException, Request, Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from gateway.api.authentication import SecretsMiddleware
from gateway.api.fast_path import FastPath, FastPathMiddleware
from gateway.api.pages import pages_router
from gateway.api.problems import problem, problem_for
from gateway.api.router import create_router
from gateway.api.routes import merge_routers
from gateway.core.version import VERSION
from gateway.service.factory import Service, create_service
from schemas.codes import ErrorCode


def create_app(service: Service | None = None) -> FastAPI:
    """An ASGI application that is only a gateway. Raises `ConfigError` for unusable settings."""
    service = service or create_service()
    router = create_router(service)
    app = FastAPI(
        title="The gathering gateway",
        version=VERSION,
        summary="One tenant, one log; one client, one cursor.",
        docs_url=None,  # FastAPI's page loads scripts from a CDN
        redoc_url=None,
        redirect_slashes=False,  # a redirect has the wrong scheme behind a proxy
        routes=merge_routers(router, pages_router(service.settings.websocket_paths[0])).routes,
        lifespan=router.lifespan_context,
    )
    app.add_middleware(SecretsMiddleware)
    app.add_middleware(FastPathMiddleware, fast_path=FastPath(service))
    app.add_exception_handler(StarletteHTTPException, _http_problem)
    app.add_exception_handler(Exception, _internal_problem)
    app.state.service = service
    return app


async def _http_problem(request: Request, error: Exception) -> Response:
    if not isinstance(error, StarletteHTTPException):
        raise error
    return problem_for(HTTPException(error.status_code, error.detail, dict(error.headers or {})))


async def _internal_problem(request: Request, error: Exception) -> Response:
    return problem(500, ErrorCode.INTERNAL_ERROR, "internal error; the server's log has the details")
