"""The examples of docs/embedding.md, run as they stand beside the README's `shop.py`."""

import asyncio
import sys
from pathlib import Path
from typing import Final

from tests.documentation.pages import example
from tests.support.pauses import PATIENCE
from tests.support.settings import SECRET, environment

OURS: Final = """
from fastapi.testclient import TestClient
from test_shop import token

import ending
import mounted
import plain


def test_mounted(caplog):
    with TestClient(mounted.app) as client:
        assert client.get("/realtime/readyz").status_code == 200
    assert not mounted.service.gateway.ready
    assert [record for record in caplog.records if record.name == "gateway"] == []


def test_plain():
    with TestClient(plain.app) as client:
        with client.websocket_connect(f"/ws/dashboard?rooms=circle:7&token={token('circle:7')}") as socket:
            socket.receive_json(), socket.receive_json()
            event_id = client.post("/orders/81/paid").json()["event_id"]
            assert socket.receive_json()["event_id"] == event_id


def test_ending():
    with TestClient(ending.app) as client:
        assert client.get("/readyz").status_code == 200
        assert client.post("/before-the-signal?delay=0.1").status_code == 200
        assert client.get("/readyz").status_code == 503
"""


FILES: Final = {
    "shop.py": example("shop.py"),
    "mounted.py": example("mounted.py"),
    "plain.py": example("plain.py"),
    "ending.py": example("ending.py"),
    "conftest.py": example("conftest.py"),
    "test_shop.py": example("test_shop.py"),
    "test_shop_async.py": example("test_shop_async.py"),
}


async def test_the_examples_run(tmp_path: Path) -> None:
    """Warnings are errors."""
    for name, code in FILES.items():
        (tmp_path / name).write_text(f"{code}\n")
    (tmp_path / "test_ours.py").write_text(OURS)
    plugins = [
        option for name in ("cacheprovider", "xdist", "asyncio", "schemathesis") for option in ("-p", f"no:{name}")
    ]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", *plugins, "-W", "error", "-c", "/dev/null", "--rootdir=."),
        cwd=tmp_path,
        env=environment(jwt_secret=SECRET),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(4 * PATIENCE):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert b"6 passed" in output, output.decode()
