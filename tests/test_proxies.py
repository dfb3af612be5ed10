"""The documents' configurations of nginx: a real one in front of a real gateway, where there is an nginx."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from gateway.testing import until
from tests.redis.server import free_port
from tests.support import Gate, running, settings_for

ROOT = Path(__file__).parents[1]
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

pytestmark = pytest.mark.skipif(NGINX is None, reason="needs nginx")


def block_of(document: str) -> str:
    """The example's directives for the level `http`."""
    text = (ROOT / document).read_text()
    if document == "README.md":
        (found,) = re.findall(r"^```nginx\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        return str(found)
    return text[text.index("    upstream ") : text.index("\nand `GATEWAY_TRUSTED_PROXIES`")]


@asynccontextmanager
async def proxied(document: str, folder: Path, upstream: int) -> AsyncIterator[int]:
    """nginx as the document configures it; yields its port. Addresses and the folder of its logs are put in."""
    port = free_port()
    block = re.sub(r"listen [^;]+;", f"listen 127.0.0.1:{port};", block_of(document))
    block = re.sub(r"127\.0\.0\.1:8000|one\.internal:8000", f"127.0.0.1:{upstream}", block)
    block = block.replace("server two.internal:8000;", "").replace("/var/log/nginx/", f"{folder}/")
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/main.log; events {{}} http {{ {paths}\n{block}\n}}"
    )
    process = await asyncio.create_subprocess_exec(
        str(NGINX), "-p", str(folder), "-e", f"{folder}/start.log", "-c", f"{folder}/nginx.conf",
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(20):
            while True:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                assert process.returncode is None, process.stderr and await process.stderr.read()
                await asyncio.sleep(0.05)
        yield port
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


@pytest.mark.parametrize("document", ["README.md", "docs/scaling.md"])
async def test_nginx_passes_what_the_gateway_needs_and_logs_no_token(document: str, tmp_path: Path) -> None:
    """WebSockets, the client's address and its `Host` with the port; and a URL's query is in none of its files."""
    async with running(settings_for(trusted_proxies=("127.0.0.1",))) as gate:
        async with proxied(document, tmp_path, gate.port) as port:
            through = Gate(gate.service, port)
            token = gate.token()
            origin = {"origin": f"http://127.0.0.1:{port}", "additional_headers": {"X-Forwarded-For": "192.0.2.7"}}
            async with through.client(token, "&rooms=circle:7", **origin) as client:
                await client.next("subscribed")
                await gate.service.gateway.publish("acme", "task.created", {}, circle_id=7)
                await client.next("task.created")
            with pytest.raises(InvalidStatus):
                async with connect(f"{through.ws_url}?token={token}", origin="http://127.0.0.1:1"):  # type: ignore[arg-type]
                    pass
        async with proxied(document, tmp_path, free_port()) as port:  # where no gateway answers
            with pytest.raises(InvalidStatus):
                async with connect(f"ws://127.0.0.1:{port}/ws/dashboard?token={token}"):
                    pass
            await until(lambda: " 502" in (tmp_path / "gateway.log").read_text())
    written = {path.name: path.read_text() for path in tmp_path.iterdir() if path.suffix == ".log"}  # noqa: ASYNC240 - a moment
    assert "/ws/dashboard" in written["gateway.log"]
    assert {name: text for name, text in written.items() if "token" in text or "eyJ" in text} == {}
