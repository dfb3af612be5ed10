"""The complete application: the routes, the pages, and problem documents for unknown paths."""

from http import HTTPStatus

from fastapi import FastAPI, HTTPException, Request, Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from gateway.api.authentication import SecretsMiddleware
from gateway.api.fast_path import FastPath, FastPathMiddleware
from gateway.api.pages import pages_router
from gateway.api.problems import RequestMistake, log_refusal, problem, problem_for
from gateway.api.publisher import EVENTS_PATH
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
    if (mistake := _wrong_address(request, error)) is None:
        return problem_for(HTTPException(error.status_code, error.detail, dict(error.headers or {})))
    service: Service = request.app.state.service
    log_refusal(request.scope, request.scope["path"], service.settings.proxies, mistake)
    answer = problem_for(mistake)
    answer.headers.update(error.headers or {})  # `Allow`, which 405 requires
    return answer


def _wrong_address(request: Request, error: StarletteHTTPException) -> RequestMistake | None:
    """The mistake in the path or the method of a request, with what is served; None for other errors."""
    if error.status_code == HTTPStatus.NOT_FOUND and error.detail == HTTPStatus.NOT_FOUND.phrase:
        service: Service = request.app.state.service
        prefix = request.scope.get("root_path", "")
        events, websocket = f"{prefix}{EVENTS_PATH}", f"{prefix}{service.settings.websocket_paths[0]}"
        served = f"nothing is here; publish to {events}, connect a WebSocket to {websocket}, see {prefix}/docs"
        return RequestMistake(error.status_code, ErrorCode.NOT_FOUND, served)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return RequestMistake(error.status_code, ErrorCode.NOT_FOUND, str(error.detail))
    return None


async def _internal_problem(request: Request, error: Exception) -> Response:
    return problem(500, ErrorCode.INTERNAL_ERROR, "internal error; the server's log has the details")
