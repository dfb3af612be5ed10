"""The environment: which variables are read, and messages about unknown ones."""

import logging
import os
import signal
import socket
from pathlib import Path

import pytest

from gateway.service.config import ConfigError, load_settings
from gateway.service.environment import requested_processes
from tests.support.clients import http
from tests.support.commands import invoke, run, started
from tests.support.inprocess import running
from tests.support.process import GatewayProcess
from tests.support.redis import redis_server as redis
from tests.support.settings import SECRET, settings_for

KEY = {"GATEWAY_JWT_SECRET": SECRET}
ADDRESS = "tcp://10.96.12.3:8000"
LINKS = {
    "GATEWAY_SERVICE_HOST": "10.96.12.3",
    "GATEWAY_SERVICE_PORT": "8000",
    "GATEWAY_SERVICE_PORT_HTTP": "8000",
    "GATEWAY_PORT_8000_TCP": ADDRESS,
    "GATEWAY_PORT_8000_TCP_PROTO": "tcp",
    "GATEWAY_PORT_8000_TCP_PORT": "8000",
    "GATEWAY_PORT_8000_TCP_ADDR": "10.96.12.3",
    "GATEWAY_REDIS_SERVICE_HOST": "10.96.12.4",
    "GATEWAY_REDIS_SERVICE_PORT": "6379",
    "GATEWAY_REDIS_PORT": "tcp://10.96.12.4:6379",
    "GATEWAY_REDIS_PORT_6379_TCP": "tcp://10.96.12.4:6379",
}
"""The variables that Kubernetes sets beside Services called `gateway` and `gateway-redis`, without the first's own
GATEWAY_PORT."""


@pytest.fixture(autouse=True)
def _nothing_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variables and no `.env` of the developer who runs the tests."""
    for name in [name for name in os.environ if name.startswith("GATEWAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


# ---- empty variables


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every setting, in the environment and in `.env`: containers pass on unset variables as empty ones."""
    unset = load_settings()
    for name in type(unset).model_fields:
        monkeypatch.setenv(f"GATEWAY_{name.upper()}", "")
    assert load_settings() == unset
    (tmp_path / ".env").write_text("GATEWAY_PORT=8001\nGATEWAY_HOST=\n")
    assert (load_settings().port, load_settings().host) == (8001, "127.0.0.1")


def test_an_empty_host_does_not_open_the_gateway_to_the_network(tmp_path: Path) -> None:
    """The server listens where it does without the variable, and not on every interface."""
    with GatewayProcess(tmp_path, host="", port="") as process:
        assert process.line(r"Listening on http://(\S+):\d+") == "127.0.0.1"


def test_an_empty_option_is_refused() -> None:
    """An address that is empty would be every interface: it has to be said as 0.0.0.0."""
    with pytest.raises(ConfigError, match=r"GATEWAY_HOST: .*0\.0\.0\.0"):
        load_settings(host="")


def test_the_commands_take_an_empty_url_for_none(tmp_path: Path) -> None:
    """The commands read it as the settings do."""
    done = invoke("publish", "--type", "x", cwd=tmp_path, env={"GATEWAY_URL": "", "GATEWAY_TOKEN": "a.b.c"})
    assert "127.0.0.1:8000" in done.stderr


# ---- service links


@pytest.mark.parametrize("address", [ADDRESS, "udp://10.96.12.3:8000"])
def test_the_port_of_a_service_link_is_passed_over_and_named(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """The value is not a setting: an administrator's own port would replace it. The message says what to do about
    it."""
    monkeypatch.setenv("GATEWAY_PORT", address)
    assert load_settings().port == 8000
    (line,) = caplog.messages
    assert line.startswith("GATEWAY_PORT: ")
    assert all(word in line for word in ("Kubernetes", "enableServiceLinks: false"))
    (tmp_path / ".env").write_text("GATEWAY_PORT=9000\n")
    assert load_settings().port == 9000
    assert load_settings(port=9001).port == 9001


def test_service_links_neither_break_nor_are_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Service links are not misspelt settings."""
    unset = load_settings()
    for name, value in LINKS.items():
        monkeypatch.setenv(name, value)
    assert load_settings() == unset
    assert caplog.messages == []


def test_a_gateway_serves_beside_a_service_called_gateway(tmp_path: Path) -> None:
    """With all variables that Kubernetes sets, under its own server and another one."""
    env = {**KEY, **LINKS, "GATEWAY_PORT": ADDRESS}
    done = run("check", cwd=tmp_path, env=env)
    assert (done.returncode, done.stdout) == (0, "configuration OK\n")
    (line,) = done.stderr.splitlines()
    assert "Kubernetes" in line
    with started("gateway.app:app", "--port", "0", cwd=tmp_path, env=env, module="uvicorn") as process:
        process.line("Application startup complete")


# ---- unknown variables


UNKNOWN = {
    "GATEWAY_PROT": "GATEWAY_PORT",
    "GATEWAY_ALLOWED_ORIGIN": "GATEWAY_ALLOWED_ORIGINS",
    "GATEWAY_MAX_CONNECTIONS_PER_USERS": "GATEWAY_MAX_CONNECTIONS_PER_USER",
    "GATEWAY_JWT_SECERT": "GATEWAY_JWT_SECRET",
    "GATEWAY_TOKNE": "GATEWAY_TOKEN",
    "GATEWAY_ZZZ": None,
}


@pytest.mark.parametrize("place", ["environment", ".env"])
@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_setting_is_warned_of_with_the_nearest_name(
    name: str, place: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Once, wherever it stands, and without its value, which may be a secret."""
    if place == ".env":
        (tmp_path / ".env").write_text(f"{name}=a-canary\n")
    else:
        monkeypatch.setenv(name, "a-canary")
    load_settings()
    (line,) = caplog.messages
    assert caplog.records[0].levelno == logging.WARNING
    assert name in line
    assert "canary" not in line
    nearest = UNKNOWN[name]
    assert f"did you mean {nearest}?" in line if nearest else "did you mean" not in line


def test_foreign_variables_are_ignored(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Other programs' variables, the client commands' own, and empty ones."""
    (tmp_path / ".env").write_text("OTHER=x\nPORT=1\nGATEWAYS=2\n")
    for name in ("GATEWAY_URL", "GATEWAY_TOKEN", "GATEWAYS_PORT", "MY_GATEWAY_PORT"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("GATEWAY_ZZZ", "")
    load_settings()
    assert caplog.messages == []


def test_the_commands_say_it_once_on_the_error_output(tmp_path: Path) -> None:
    """`gateway token` prints a token and nothing else."""
    env = {**KEY, "GATEWAY_PROT": "1"}
    done = run("token", "--user", "ada", "--tenant", "acme", cwd=tmp_path, env=env)
    assert done.stdout.count(".") == 2
    assert done.stderr.splitlines() == ["GATEWAY_PROT: there is no such setting; did you mean GATEWAY_PORT?"]
    with started("serve", "--dev", "--port", "0", cwd=tmp_path, env=env) as process:
        process.line(r"Dashboard +http://127\.0\.0\.1:(\d+)/")
        process.stop(signal.SIGINT)
        assert sum("GATEWAY_PROT" in line for line in process.err) == 1, process.err


# ---- other programs' variables


def test_the_server_reads_no_variable_of_other_programs(tmp_path: Path) -> None:
    """WEB_CONCURRENCY is for servers that have workers; what is no number there is not ours to stumble over."""
    with GatewayProcess(tmp_path, variables={"WEB_CONCURRENCY": "auto", "FORWARDED_ALLOW_IPS": "*"}):
        pass


async def test_rate_limits_cannot_be_switched_off_by_another_programs_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """slowapi takes RATELIMIT_… from the environment where it may."""
    for name, value in {"ENABLED": "false", "STORAGE_URL": "redis://127.0.0.1:1", "STRATEGY": "nonsense"}.items():
        monkeypatch.setenv(f"RATELIMIT_{name}", value)
    async with running(settings_for(tickets_per_minute=1)) as gate, http(gate, gate.token()) as api:
        assert [(await api.post("/tickets")).status_code for _ in range(2)] == [201, 429]


# ---- .env


def wrong_env(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ".env"
    if kind == "encoding":
        path.write_bytes("GATEWAY_PORT=8000\n".encode("utf-16"))
    else:  # a file whose reading fails, also for root, whom no permission stops
        path.symlink_to("/proc/self/mem")


@pytest.mark.parametrize("kind", ["encoding", "failing"])
def test_an_unreadable_file_is_one_clear_line(kind: str, tmp_path: Path) -> None:
    """The line names the file, without its content."""
    wrong_env(tmp_path, kind)
    for command in (["check"], ["serve"], ["token", "--user", "ada", "--tenant", "acme"]):
        done = invoke(*command, cwd=tmp_path, env=KEY)
        assert (done.exit_code, done.stdout) == (2, ""), command
        (line,) = done.stderr.splitlines()
        assert line.startswith("gateway: .env: ")
    served = run("gateway.app:app", "--port", "0", cwd=tmp_path, env=KEY, module="uvicorn")
    assert (served.returncode != 0, len(served.stderr.splitlines())) == (True, 1), served.stderr


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    """Editors on Windows write one; the first setting would be ignored silently."""
    (tmp_path / ".env").write_text("GATEWAY_PORT=8001\n", encoding="utf-8-sig")
    assert load_settings().port == 8001


# ---- worker processes


@pytest.mark.parametrize(
    ("arguments", "variables", "processes"),
    [
        (["/x/bin/uvicorn", "gateway.app:app"], {}, 1),
        (["/x/bin/uvicorn", "gateway.app:app", "--workers", "4"], {}, 4),
        (["/x/bin/uvicorn", "--workers=4", "gateway.app:app"], {"WEB_CONCURRENCY": "2"}, 4),
        (["/x/site-packages/uvicorn/__main__.py", "a:b", "--workers", "2"], {}, 2),
        (["uvicorn", "a:b"], {"WEB_CONCURRENCY": "3"}, 3),
        (["uvicorn", "a:b"], {"UVICORN_WORKERS": "3"}, 3),
        (["uvicorn", "a:b"], {"WEB_CONCURRENCY": "auto"}, 1),
        (["uvicorn", "a:b", "--workers"], {}, 1),
        (["gunicorn", "-w", "4", "a:b"], {}, 4),
        (["gunicorn", "-w4", "a:b"], {}, 4),
        (["gunicorn", "a:b"], {"GUNICORN_CMD_ARGS": "--bind=:1 --workers=3"}, 3),
        (["gunicorn", "a:b", "-w", "1"], {"GUNICORN_CMD_ARGS": "--workers=3", "WEB_CONCURRENCY": "5"}, 1),
        (["gunicorn", "a:b"], {"GUNICORN_CMD_ARGS": "'", "WEB_CONCURRENCY": "5"}, 5),
        (["hypercorn", "-w", "2", "a:b"], {}, 2),
        (["hypercorn", "a:b"], {"WEB_CONCURRENCY": "5"}, 1),
        (["granian", "--workers", "2", "a:b"], {}, 2),
        (["fastapi", "run", "a.py", "--workers", "2"], {}, 2),
        (["uvicorn"], {}, 1),
        (["gateway", "serve"], {"WEB_CONCURRENCY": "5"}, 1),
        (["pytest", "-w", "4"], {"WEB_CONCURRENCY": "5"}, 1),
        ([], {}, 1),
    ],
)
def test_the_processes_that_a_server_was_asked_for(
    arguments: list[str], variables: dict[str, str], processes: int
) -> None:
    """By its command line before its variables, as each server has them."""
    assert requested_processes(arguments, variables) == processes


@pytest.mark.parametrize("variables", [{}, {"WEB_CONCURRENCY": "2"}], ids=["--workers", "WEB_CONCURRENCY"])
def test_several_processes_are_refused_on_the_log_in_memory(variables: dict[str, str], tmp_path: Path) -> None:
    """Each process would have a log of its own. The server ends, and does not restart them without end."""
    command = ["gateway.app:app", "--port", "0", *([] if variables else ["--workers", "2"])]
    done = run(*command, cwd=tmp_path, env={**KEY, **variables}, module="uvicorn")
    assert done.returncode is not None
    lines = [line for line in done.stderr.splitlines() if line.startswith("gateway: ")]
    assert 1 <= len(lines) <= 2
    assert all(word in lines[0] for word in ("GATEWAY_LOG_URL", "2 processes", "redis://")), lines


def test_check_refuses_several_workers_on_the_log_in_memory(tmp_path: Path) -> None:
    """Exit 2; with one it will do."""
    assert invoke("check", "--workers", "1", cwd=tmp_path, env=KEY).exit_code == 0
    done = invoke("check", "--workers", "2", cwd=tmp_path, env=KEY)
    assert (done.exit_code, done.stdout) == (2, "")
    assert all(word in done.stderr for word in ("GATEWAY_LOG_URL", "--workers", "redis://"))


# ---- Redis


async def test_check_tries_redis(tmp_path: Path) -> None:
    """The URL connects, and the password is right; several workers may share that log."""
    async with redis(tmp_path / "redis") as server:
        await server.ask("CONFIG", "SET", "requirepass", "a-canary")
        address = f"127.0.0.1:{server.port}"
        right = {**KEY, "GATEWAY_LOG_URL": f"redis://:a-canary@{address}"}
        done = run("check", "--workers", "4", cwd=tmp_path, env=right)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "configuration OK\n"
        for url in (f"redis://:wrong-canary@{address}", f"redis://{address}"):
            done = run("check", cwd=tmp_path, env={**KEY, "GATEWAY_LOG_URL": url})
            assert (done.returncode, done.stdout) == (2, "")
            (line,) = done.stderr.splitlines()
            assert line.startswith(f"gateway: GATEWAY_LOG_URL: Redis at {address}")
            assert "password" in line.lower() or "auth" in line.lower()
            assert "canary" not in line


async def test_check_names_a_redis_that_may_evict(tmp_path: Path) -> None:
    """A log that is evicted is lost."""
    async with redis(tmp_path / "redis", maxmemory="100mb", maxmemory_policy="allkeys-lru") as server:
        done = run("check", cwd=tmp_path, env={**KEY, "GATEWAY_LOG_URL": server.url})
        assert (done.returncode, done.stderr) == (0, "")
        assert "warning: GATEWAY_LOG_URL" in done.stdout
        assert "noeviction" in done.stdout


async def test_check_says_that_a_replica_takes_no_writes(tmp_path: Path) -> None:
    """Connecting alone does not tell."""
    async with redis(tmp_path / "redis", replicaof="127.0.0.1 1") as server:
        done = run("check", cwd=tmp_path, env={**KEY, "GATEWAY_LOG_URL": server.url})
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1
        assert "replica" in done.stderr


def test_check_reports_an_unreachable_redis(tmp_path: Path) -> None:
    """One line, within seconds: at a port where no server listens, at a name that does not exist, at a server that is
    not Redis."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        addresses = ["127.0.0.1:1", "redis.invalid:6379", f"127.0.0.1:{silent.getsockname()[1]}"]
        for address in addresses:
            done = run("check", cwd=tmp_path, env={**KEY, "GATEWAY_LOG_URL": f"redis://:a-canary@{address}/0"})
            assert (done.returncode, done.stdout) == (2, ""), address
            (line,) = done.stderr.splitlines()
            assert line.startswith(f"gateway: GATEWAY_LOG_URL: Redis at {address}")
            assert "canary" not in line


# ---- origins


ORIGINS = [
    "app.example.com",
    "https://",
    "https://app.example.com/dashboard",
    "https://app.example.com?x",
    "https://*.example.com",
    "https://app.example.com:https",
    "https://ada@app.example.com",
    "https://bücher.example",
    "https://app.example.com https://b.example",
    "null",
    "//app.example.com",
]


@pytest.mark.parametrize("origin", ORIGINS)
def test_an_origin_that_no_browser_sends_is_refused(origin: str, tmp_path: Path) -> None:
    """The origin would never match, without a message. `gateway check` and `serve` say it."""
    for command in ("check", "serve"):
        done = invoke(command, cwd=tmp_path, env={**KEY, "GATEWAY_ALLOWED_ORIGINS": f"https://good.example,{origin}"})
        assert (done.exit_code, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith("gateway: GATEWAY_ALLOWED_ORIGINS: ")
        assert "https://app.example.com" in line


@pytest.mark.parametrize(
    "origin",
    ["https://app.example.com", "HTTP://App.Example.com:8080", "https://a.example/", "http://[::1]:3000",
     "https://xn--bcher-kva.example", "capacitor://localhost", "*"],
)  # fmt: skip
def test_an_origin_that_a_browser_sends_is_taken(origin: str, tmp_path: Path) -> None:
    """In whatever case, with a slash behind it, and of other schemes, as applications on phones have."""
    assert invoke("check", cwd=tmp_path, env={**KEY, "GATEWAY_ALLOWED_ORIGINS": origin}).exit_code == 0
