"""The server process: a gateway under uvicorn."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from types import FrameType
from typing import Any, Final

import uvicorn
from fastapi import FastAPI

from gateway.api import create_app
from gateway.server.acceptor import Acceptor
from gateway.server.background_logging import start_background_logging
from gateway.server.demo import demo_traffic
from gateway.server.development import banner, development_router
from gateway.server.tuning import tune_gc
from gateway.service.config import ConfigError, Settings
from gateway.service.factory import Service, create_service
from gateway.telemetry.log_events import report_suppressed
from gateway.transports.uvicorn import HttpProtocol, SocketTransport
from gateway.transports.uvicorn.sockets import UNSENT_BYTES, limit_unsent, write_batch_to_fds

GRACEFUL_SHUTDOWN_SECONDS: Final = 3
"""The graceful shutdown timeout of uvicorn: for running requests, and for clients to read their close codes."""

FORCED_SHUTDOWN_SECONDS: Final = 1.0
"""The timeout of the lifespan's shutdown after a second signal."""

POLL_INTERVAL: Final = 0.1
"""Seconds between two checks for the end of the drain, or for a second signal."""

logger = logging.getLogger("gateway.server")


class Server(uvicorn.Server):
    """uvicorn's server, which also reports its port, and runs `drain` before its shutdown, in which it would close all
    WebSockets at once. A second signal ends the drain and all waiting."""

    def __init__(
        self,
        config: uvicorn.Config,
        on_listening: Callable[[int], None],
        drain: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        super().__init__(config)
        self._on_listening = on_listening
        self._drain = drain

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Not recorded: uvicorn would raise the signal again at the end, and the exit status would not be 0.
        self.force_exit = self.should_exit
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            self.config.http_protocol_class = Acceptor(sockets[0], self.config.http_protocol_class)  # type: ignore[assignment]
        if self.started and self.servers:
            self._on_listening(self.servers[0].sockets[0].getsockname()[1])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._drain is not None:
            draining = asyncio.create_task(self._drain())
            while not draining.done() and not self.force_exit:
                await asyncio.wait((draining,), timeout=POLL_INTERVAL)
                await self.on_tick(0)  # as in its main loop, which updates the Date header
            draining.cancel()
            (failure,) = await asyncio.gather(draining, return_exceptions=True)
            if isinstance(failure, Exception):
                logger.error("the drain failed; closing all connections", exc_info=failure)
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn then skips the lifespan's shutdown
            with suppress(TimeoutError):
                await asyncio.wait_for(self.lifespan.shutdown(), FORCED_SHUTDOWN_SECONDS)


def serve(settings: Settings, *, development: bool = False, demo: bool = False) -> bool:
    """Serve until a signal stops it; False where it could not start. Raises `ConfigError`."""
    # No other thread is CPU-bound.
    service = create_service(settings, batch_writer=write_batch_to_fds)
    app = create_app(service)
    if development:
        app.include_router(development_router(service, demo))
    if demo:
        _with_demo(app, service)

    def listening(port: int) -> None:
        if development:
            print(banner(service, settings.host, port, demo), flush=True)
        else:  # uvicorn does not report sockets that were passed to it
            name = f"[{settings.host}]" if ":" in settings.host else settings.host
            logger.info("Listening on http://%s:%d", name, port)

    async def drain() -> None:
        service.gateway.drain.announce()
        if settings.shutdown_delay_seconds:
            logger.info("Not ready from now on; serving for %g s more", settings.shutdown_delay_seconds)
            await asyncio.sleep(settings.shutdown_delay_seconds)
        if settings.drain_seconds and (count := len(list(service.gateway.drain.clients()))):
            logger.info("Draining %d clients over %g s; a second signal ends the drain", count, settings.drain_seconds)
        await service.gateway.drain.run(settings.drain_seconds)

    listener = listen(settings)
    writer = start_background_logging(settings.log_level, settings.log_format)
    server = Server(server_config(app, settings), listening, drain)
    tune_gc()
    with suppress(KeyboardInterrupt):  # before uvicorn has installed its handler
        server.run(sockets=[listener])
    report_suppressed(0.0)
    if writer is not None:
        writer.flush(0.5)
    return server.started


def server_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=HttpProtocol,
        ws=SocketTransport,
        ws_max_size=settings.max_message_bytes,
        ws_ping_interval=settings.ping_interval,
        ws_ping_timeout=settings.ping_interval,
        ws_per_message_deflate=False,  # uvicorn's implementation takes 44 kB a connection
        workers=1,  # else uvicorn reads WEB_CONCURRENCY
        access_log=False,
        server_header=False,
        timeout_keep_alive=settings.keep_alive_seconds,
        proxy_headers=False,  # the gateway has its own, with a list of trusted proxies
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_SECONDS,
        log_config=None,
        log_level=settings.log_level,
    )


def listen(settings: Settings) -> socket.socket:
    """The listening socket, bound before the start, so that a port in use is reported in one line."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # With an explicit protocol: else asyncio leaves Nagle's algorithm on, and a second write waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    limit_unsent(listener, UNSENT_BYTES)
    try:
        listener.bind((settings.host, settings.port))
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"cannot listen on {settings.host} port {settings.port}: {reason}; try --port") from None
    return listener


def _with_demo(app: FastAPI, service: Service) -> None:
    """Publish demo traffic during the application's lifespan."""
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        async with inner(app) as state, demo_traffic(service):
            yield state

    app.router.lifespan_context = lifespan
