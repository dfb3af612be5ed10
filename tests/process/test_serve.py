"""`gateway serve`: what it refuses to start with, and development mode."""

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.support.commands import invoke, processor_seconds, run, started
from tests.support.pauses import PATIENCE, now
from tests.support.process import Process, answers
from tests.support.settings import SECRET, environment, variables

COMMANDS = {"gateway serve": ("gateway", ["serve"]), "uvicorn": ("uvicorn", ["gateway.app:app", "--port", "0"])}
SECRETS = {"missing": None, "short": "a-short-canary", "plain": "canary" * 10}


def only_line(text: str) -> str:
    """The one line of an error output."""
    lines = text.splitlines()
    assert len(lines) == 1, text
    return lines[0]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("secret", SECRETS)
def test_a_missing_or_weak_secret_stops_it_with_one_line(command: str, secret: str, tmp_path: Path) -> None:
    """Within 2 s, naming the setting and how to make a good one, and showing no secret."""
    module, arguments = COMMANDS[command]
    value = SECRETS[secret]
    with processor_seconds(2):
        done = run(*arguments, cwd=tmp_path, env={"GATEWAY_JWT_SECRET": value} if value else {}, module=module)
    assert done.returncode not in (0, None)
    assert done.stdout == ""
    line = only_line(done.stderr)
    assert "GATEWAY_JWT_SECRET" in line
    assert "canary" not in line
    assert list(tmp_path.iterdir()) == []
    # What it says to type makes a secret that does.
    recipe = re.search(r'python3 -c "(.*)"', line)
    assert recipe is not None
    made = subprocess.run(
        ["sh", "-c", recipe.group()], env=environment(), capture_output=True, text=True, check=True
    ).stdout.strip()
    assert len(made) >= 32


def test_development_mode_is_for_loopback_only(tmp_path: Path) -> None:
    """The mode issues tokens; one line says so for any source of the address, and no key is made."""
    done = run("serve", "--dev", "--host", "0.0.0.0", cwd=tmp_path)  # noqa: S104 - what is refused
    assert done.returncode != 0
    assert "loopback" in only_line(done.stderr)
    for host in ("::", "192.0.2.1", "gateway.example"):
        result = invoke("serve", "--dev", "--host", host, cwd=tmp_path)
        assert result.exit_code != 0
        assert "loopback" in only_line(result.stderr), host
    result = invoke("serve", "--dev", cwd=tmp_path, env={"GATEWAY_HOST": "192.0.2.1"})
    assert "loopback" in only_line(result.stderr)
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """The key may have been read."""
    (tmp_path / ".gateway-dev").mkdir()
    key = tmp_path / ".gateway-dev" / "secret"
    key.write_text(SECRET)
    key.chmod(0o644)
    done = invoke("serve", "--dev", "--port", "0", cwd=tmp_path)
    assert done.exit_code != 0
    assert "chmod 600" in only_line(done.stderr)
    assert SECRET not in done.stderr


@pytest.mark.parametrize("setting", [{"GATEWAY_PORT": "eighty"}, {"GATEWAY_LOG_URL": "nonsense://"}])
def test_a_wrong_setting_stops_it_with_one_line(setting: dict[str, str], tmp_path: Path) -> None:
    """Naming it."""
    done = invoke("serve", cwd=tmp_path, env={"GATEWAY_JWT_SECRET": SECRET, **setting})
    assert done.exit_code != 0
    assert only_line(done.stderr).startswith(f"gateway: {next(iter(setting))}")


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    """With the address, and what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("serve", "--port", str(port), cwd=tmp_path, env={"GATEWAY_JWT_SECRET": SECRET})
    assert done.returncode != 0
    line = only_line(done.stderr)
    assert str(port) in line
    assert "--port" in line


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGTERM])
def test_port_0_takes_a_free_one_and_a_signal_ends_it(tmp_path: Path, with_signal: int) -> None:
    """Cleanly, with no traceback."""
    env = variables(jwt_secret=SECRET, shutdown_delay_seconds=0)
    with started("serve", "--port", "0", cwd=tmp_path, env=env) as process:
        port = int(process.line(r"Listening on http://\S+:(\d+)"))
        assert port > 0
        assert answers(port, "/readyz")
        assert process.stop(with_signal) == 0
        assert "Traceback" not in process.log
    assert list(tmp_path.iterdir()) == []


def banner_of(process: Process) -> str:
    process.line("Development mode")
    return "\n".join(process.out)


def commands_of(banner: str) -> tuple[list[str], list[str]]:
    """The commands of the banner: the first one for another terminal, and then those to choose from."""
    lines = [line.strip() for line in banner.splitlines() if line.startswith("    ")]
    return [line for line in lines if line.startswith((". ", "export "))], [
        line for line in lines if not line.startswith((". ", "export "))
    ]


def typed(*lines: str, cwd: Path) -> subprocess.Popen[str]:
    """These lines in a terminal of their own: nothing of the first one's environment or folder."""
    env = {"PATH": os.defpath, "HOME": str(cwd)}
    return subprocess.Popen(
        ["sh", "-ec", "\n".join(lines)], cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_the_banner_works_as_printed(tmp_path: Path) -> None:
    """Its WebSocket address shows events of all rooms, its commands do what they say; and the token is there once."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    with started("serve", "--dev", "--demo", "--port", "0", cwd=folder) as process:
        banner = banner_of(process)
        setup, commands = commands_of(banner)
        assert len(re.findall(r"eyJ[\w-]+\.[\w-]+\.[\w-]+", banner)) == 1
        url = process.line(r"WebSocket +(ws://\S+)")
        with connect(url, compression=None) as client:
            established = json.loads(client.recv(PATIENCE))["data"]
            assert set(established["subscribed"]) == {"user:ada", *established["rooms"]}
            while "event_id" not in json.loads(client.recv(PATIENCE)):
                pass
        assert [command.split()[:2] for command in commands] == [
            ["gateway", "subscribe"],
            ["gateway", "publish"],
            ["curl", "-sS"],
        ]
        subscribe, publish, curl = commands
        follower = typed(*setup, f"exec {subscribe}", cwd=tmp_path)
        try:
            assert follower.stdout is not None
            assert json.loads(follower.stdout.readline())["circle_id"] == 1
            with typed(*setup, publish, cwd=tmp_path) as done:
                out, err = done.communicate()
            assert out.startswith("evt_"), err
            if shutil.which("curl"):
                with typed(*setup, curl, cwd=tmp_path) as done:
                    out, err = done.communicate()
                assert json.loads(out)["rooms"] == ["circle:1", "tenant"], err
            published = 1 + bool(shutil.which("curl"))
            while published:
                published -= json.loads(follower.stdout.readline())["data"].get("title") == "hello"
        finally:
            follower.kill()
            follower.communicate()
        assert "eyJ" not in "\n".join(process.err)


def test_development_mode_keeps_its_key_and_so_its_tokens(tmp_path: Path) -> None:
    """A random key in a file of mode 0600, so that a restart keeps tokens good; and a token of the newest start."""
    tokens = []
    for _ in range(2):
        with started("serve", "--dev", "--port", "0", cwd=tmp_path) as process:
            port = process.line(r"Dashboard +http://127\.0\.0\.1:(\d+)/")
            tokens.append(process.line(r"WebSocket +ws://\S+token=(\S+)"))
            for token in tokens:
                answer = httpx.post(
                    f"http://127.0.0.1:{port}/events",
                    headers={"Authorization": f"Bearer {token}"},
                    json={"type": "task.completed", "data": {}, "circle_id": 1},
                    timeout=PATIENCE,
                    trust_env=False,
                )
                assert answer.status_code == 202
            banner = banner_of(process)
            assert not any(token in line for token in tokens for line in process.err)
    assert len(tokens) == 2
    key, token_file = tmp_path / ".gateway-dev" / "secret", tmp_path / ".gateway-dev" / "token"
    assert stat.S_IMODE(key.stat().st_mode) == stat.S_IMODE(token_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert {path.name for path in key.parent.iterdir()} == {"secret", "token"}
    assert len(key.read_text()) >= 43
    assert key.read_text() not in banner
    assert token_file.read_text() == tokens[-1]


def test_demo_traffic_flows_for_two_tenants(tmp_path: Path) -> None:
    """Plausible events within moments, without a publisher."""
    env = variables(admin_requests_per_minute=0)
    with started("serve", "--dev", "--demo", "--port", "0", cwd=tmp_path, env=env) as process:
        port = process.line(r"Dashboard +http://127\.0\.0\.1:(\d+)/")
        url = f"http://127.0.0.1:{port}"
        answer = httpx.post(f"{url}/dev/session", json={}, timeout=PATIENCE, trust_env=False)
        tenants = answer.json()["tenants"]
        assert len({tenant["tenant"] for tenant in tenants}) == 2
        token = process.line(r"token=(\S+)")
        head = {"Authorization": f"Bearer {token}"}
        end = time.monotonic() + PATIENCE
        while not httpx.get(f"{url}/admin/stats", headers=head, timeout=PATIENCE, trust_env=False).json()["log_events"]:
            assert time.monotonic() < end


def test_the_session_of_the_page_is_for_this_machine_only(tmp_path: Path) -> None:
    """Neither another page's script nor a name that an attacker's DNS points here gets it."""
    with started("serve", "--dev", "--port", "0", cwd=tmp_path) as process:
        port = process.line(r"Dashboard +http://127\.0\.0\.1:(\d+)/")
        url = f"http://127.0.0.1:{port}/dev/session"
        good = httpx.post(url, json={}, timeout=PATIENCE, trust_env=False)
        assert good.status_code == 200
        assert good.headers["cache-control"] == "no-store"
        for headers in (
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Host": "evil.example"},
            {"Host": f"evil.example:{port}", "Origin": f"http://evil.example:{port}"},
        ):
            answer = httpx.post(url, json={}, headers=headers, timeout=PATIENCE, trust_env=False)
            assert answer.status_code == 403, headers
            assert "token" not in answer.text


@pytest.mark.timing
def test_development_mode_ends_at_once(tmp_path: Path) -> None:
    """Ctrl-C waits for no balancer and no drain; a delay that was asked for counts all the same."""
    took = []
    for settings in ({}, {"GATEWAY_SHUTDOWN_DELAY_SECONDS": "2"}):
        with started("serve", "--dev", "--port", "0", cwd=tmp_path, env=settings) as process:
            url = process.line(r"WebSocket +(ws://\S+)")
            with connect(url, compression=None) as client:
                client.recv(PATIENCE)
                begun = now()
                assert process.stop(signal.SIGINT) == 0
                took.append(now() - begun)
                with pytest.raises(ConnectionClosed, match="1012"):
                    list(client)
    assert took[0] < 1.5
    assert 2 <= took[1] < 4
