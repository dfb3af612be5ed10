"""The configurations of docs/reverse-proxy.md: a real proxy in front of a real gateway, where one is installed."""

import asyncio
import re
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.documentation.pages import example
from tests.support.event_streams import streaming
from tests.support.inprocess import RunningGateway, running
from tests.support.pauses import until
from tests.support.ports import ReservedPort
from tests.support.process import Process
from tests.support.settings import environment, settings_for


@dataclass(frozen=True)
class Proxy:
    """How to run a proxy: its configuration from the page, with our addresses and folder put in, and its arguments."""

    program: str
    configuration: Callable[[Path, int, int], str]
    arguments: Callable[[Path], list[str]]

    @property
    def path(self) -> str | None:
        return shutil.which(self.program) or shutil.which(self.program, path="/usr/sbin")


def nginx(folder: Path, port: int, upstream: int) -> str:
    block = re.sub(r"listen [^;]+;", f"listen 127.0.0.1:{port};", example("nginx"))
    block = re.sub(r" *ssl_certificate.*\n", "", block).replace("server two.internal:8000;", "")
    block = block.replace("one.internal:8000", f"127.0.0.1:{upstream}").replace("/var/log/nginx/", f"{folder}/")
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"daemon off; pid {folder}/pid; error_log {folder}/main.log; events {{}} http {{ {paths}\n{block}\n}}"


def caddy(folder: Path, port: int, upstream: int) -> str:
    text = example("caddy").replace("one.internal:8000 two.internal:8000", f"127.0.0.1:{upstream}")
    text = text.replace("gateway.example.com {", f"http://127.0.0.1:{port} {{")
    return text.replace("{\n\tlog {", f"{{\n\tadmin off\n\tstorage file_system {folder}\n\tlog {{", 1)


def haproxy(folder: Path, port: int, upstream: int) -> str:
    text = re.sub(r"bind .*", f"bind 127.0.0.1:{port}", example("haproxy"))
    text = re.sub(r" *server two .*", "", text)
    return text.replace("one.internal:8000", f"127.0.0.1:{upstream}")


PROXIES = [
    Proxy("nginx", nginx, lambda folder: ["-p", f"{folder}", "-e", f"{folder}/start.log", "-c", f"{folder}/conf"]),
    Proxy("caddy", caddy, lambda folder: ["run", "--config", f"{folder}/conf", "--adapter", "caddyfile"]),
    Proxy("haproxy", haproxy, lambda folder: ["-db", "-f", f"{folder}/conf"]),
]


@asynccontextmanager
async def proxied(proxy: Proxy, folder: Path, upstream: int) -> AsyncIterator[int]:
    """The proxy as the page configures it; yields its port."""
    with ReservedPort() as port:
        (folder / "conf").write_text(proxy.configuration(folder, port, upstream) + "\n")
        with Process([str(proxy.path), *proxy.arguments(folder)], folder, environment(), proxy.program) as process:
            await asyncio.to_thread(process.wait_for, lambda: listens(port))
            yield port
            # Its lines are written a moment after the answers.
            await until(lambda: "/ws/dashboard" in process.output + process.log + logged(folder))
        written = process.output + process.log + logged(folder)
        assert "a-secret" not in written
        assert "eyJ" not in written


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def logged(folder: Path) -> str:
    """The log files that the proxy has written."""
    return "".join(path.read_text() for path in folder.rglob("*.log"))


@pytest.mark.parametrize("proxy", PROXIES, ids=lambda proxy: proxy.program)
async def test_a_proxy_passes_what_the_gateway_needs_and_logs_no_token(proxy: Proxy, tmp_path: Path) -> None:
    """WebSockets, event streams without delay, the client's address and its `Host` with the port; and a URL's token is
    in none of its files."""
    if proxy.path is None:
        pytest.skip(f"needs {proxy.program}")
    async with running(settings_for(trusted_proxies=("127.0.0.1",))) as gate:
        token = gate.token()
        async with proxied(proxy, tmp_path, gate.port) as port:
            through = RunningGateway(gate.service, port)
            origin = {"origin": f"http://127.0.0.1:{port}", "local_addr": ("127.0.0.2", 0)}
            async with through.client(token, "&rooms=circle:7", **origin) as client:
                await client.next("subscribed")
                (connection,) = gate.service.gateway.manager.connections()
                assert connection.address == "127.0.0.2"
                await gate.service.gateway.publish("acme", "task.created", {}, circle_id=7)
                await client.next("task.created")
            async with streaming(through, "?rooms=circle:7", token) as stream:
                assert stream.client.headers["content-type"] == "text/event-stream; charset=utf-8"
                await stream.next("subscribed")
                for n in range(3):  # each at once, not once a buffer is full
                    await gate.publish(circle_id=7, data={"n": n})
                    assert (await stream.next())["data"] == {"n": n}
            with pytest.raises(InvalidStatus):
                async with connect(f"{through.ws_url}?token={token}", origin="http://127.0.0.1:1"):  # type: ignore[arg-type]
                    pass
        with ReservedPort() as nothing:  # where no gateway answers
            upstream = nothing
        async with proxied(proxy, tmp_path, upstream) as port:
            with pytest.raises(InvalidStatus):
                async with connect(f"ws://127.0.0.1:{port}/ws/dashboard?ticket=a-secret&token={token}"):
                    pass
    written = logged(tmp_path)
    assert "a-secret" not in written
    assert "eyJ" not in written
