"""The examples of docs/embedding.md, run as they stand beside the README's `shop.py`."""

import asyncio
import re
import sys
from pathlib import Path
from typing import Final

from tests.cli.helpers import environment
from tests.support import SECRET

ROOT: Final = Path(__file__).parents[2]

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


def blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


async def test_the_examples_run(tmp_path: Path) -> None:
    """All of them, warnings as errors; a name that no block begins with would be left out."""
    (tmp_path / "shop.py").write_text(next(code for code in blocks("README.md") if code.startswith("# shop.py\n")))
    for code in blocks("docs/embedding.md"):
        (name,) = re.findall(r"\A# (\w+\.py)\n", code)
        (tmp_path / name).write_text(code)
    (tmp_path / "test_ours.py").write_text(OURS)
    plugins = [
        option for name in ("cacheprovider", "xdist", "asyncio", "schemathesis") for option in ("-p", f"no:{name}")
    ]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", *plugins, "-W", "error", "-c", "/dev/null", "--rootdir=."),
        cwd=tmp_path,
        env=environment(GATEWAY_JWT_SECRET=SECRET),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(50):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert b"6 passed" in output, output.decode()
