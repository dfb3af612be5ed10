"""An issuer's JWKS endpoint with faults on request."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class JwksServer:
    """A JWKS endpoint on a port of its own; `answer` writes the response, `asked` is when each request came."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.answer: Callable[[BaseHTTPRequestHandler], None] = lambda handler: None
        self.release = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(time.monotonic())
                server.answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}/jwks.json"

    def says(self, body: bytes | object, status: int = 200, **headers: str) -> None:
        """Answer with this body, bytes or JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(data)

        self.answer = answer

    def hangs(self) -> None:
        """Take the request and say nothing, until the server is closed."""

        def wait(handler: BaseHTTPRequestHandler) -> None:
            self.release.wait(30)

        self.answer = wait

    def close(self) -> None:
        """End the server and whatever hangs in it."""
        self.release.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
