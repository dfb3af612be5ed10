"""The static pages, read once from this package; no external resources."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from mimetypes import guess_type
from typing import Final

from fastapi import APIRouter, HTTPException, Response

from gateway.api.routes import MethodRoute
from gateway.core.connect_request import WEBSOCKET_PATH

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def pages_router(websocket_path: str) -> APIRouter:
    """The routes of the pages: the dashboard at `/`, which connects to `websocket_path`, the operators' console at
    `/console`, the API reference at `/docs`, and their assets at `/web/…`."""
    router = APIRouter(include_in_schema=False, route_class=MethodRoute)
    contents = dict(_read(files("gateway") / "web", ""))
    path, configured = f'"{WEBSOCKET_PATH}"'.encode(), f'"{websocket_path}"'.encode()
    contents["index.html"] = contents["index.html"].replace(path, configured)
    pages = {path: _page(path, content) for path, content in contents.items()}

    @router.get("/web/{path:path}")
    async def asset(path: str) -> Response:
        if path not in pages:
            raise HTTPException(404, "no such page")
        return pages[path]

    @router.get("/")
    async def dashboard() -> Response:
        return pages["index.html"]

    @router.get("/console")
    async def console() -> Response:
        return pages["console.html"]

    @router.get("/docs")
    async def docs() -> Response:
        return pages["docs.html"]

    return router


def _read(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found = []
    for item in folder.iterdir():
        if item.is_dir():
            found += _read(item, f"{prefix}{item.name}/")
        else:
            found.append((prefix + item.name, item.read_bytes()))
    return found


def _page(path: str, content: bytes) -> Response:
    kind = "text/javascript" if path.endswith(".js") else guess_type(path)[0] or "application/octet-stream"
    return Response(content, media_type=kind, headers=HEADERS)
