"""`gateway token`, `publish`, `subscribe` and `check`."""

import json
import signal
import socket
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

import gateway
from tests.support.commands import invoke, run, started
from tests.support.process import GatewayProcess, Process
from tests.support.settings import SECRET, settings_for

KEY = {"GATEWAY_JWT_SECRET": SECRET}


class Server:
    """A gateway of the command line, and what its clients need in their environment."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        token = invoke("token", *["--user", "ada", "--tenant", "acme", "--room", "circle:*", "--room", "project:*"],
                    *["--scope", "subscribe", "--scope", "publish"], cwd=folder, env=KEY)  # fmt: skip
        self.token = token.stdout.strip()
        self.env = {"GATEWAY_URL": self.url, "GATEWAY_TOKEN": self.token}

    def publish(self, *options: str) -> str:
        done = invoke("publish", *options, cwd=self.folder, env=self.env)
        assert done.exit_code == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with GatewayProcess(folder) as process:
        yield Server(folder, process.port)


def events(process: Process) -> list[dict[str, object]]:
    return [json.loads(line) for line in process.out]


# ---- token


def test_the_version_is_the_distributions(tmp_path: Path) -> None:
    """On the command line, as an attribute, and in what is installed."""
    done = invoke("--version", cwd=tmp_path)
    assert (done.exit_code, done.stdout) == (0, f"gathering-gateway {gateway.__version__}\n")
    assert gateway.__version__ == version("gathering-gateway")


def test_token_prints_a_token_and_nothing_else(tmp_path: Path) -> None:
    """To standard output, with what was asked for in it."""
    from gateway.service.factory import create_service

    options = "--user ada@example.com --tenant acme --room circle:1 --room project:* --scope publish --expires-in 60"
    done = run("token", *options.split(), cwd=tmp_path, env=KEY)
    assert (done.returncode, done.stderr) == (0, "")
    token = done.stdout.removesuffix("\n")
    assert token.count(".") == 2
    assert token.isascii()
    assert not any(c.isspace() for c in token)
    identity = create_service(settings_for()).gateway.connections.verify(token)
    assert (identity.user_id, identity.tenant) == ("ada@example.com", "acme")
    assert identity.grants.patterns == ("circle:1", "project:*")
    assert identity.scopes == {"publish"}
    assert identity.expires_at - identity.issued_at == 60


BAD_TOKENS = [
    "--user ada --tenant acme --expires-in 3601",
    "--user ada --tenant acme --expires-in 0",
    "--user ada --tenant acme --scope admin --expires-in 86401",
    "--user ada --tenant acme --room nothing",
    "--user ada --tenant acme --scope root",
    "--user ada --tenant a/b",
    "--user -x --tenant acme",
]


@pytest.mark.parametrize("options", BAD_TOKENS)
def test_token_refuses_what_would_be_refused_later(options: str, tmp_path: Path) -> None:
    """One line, and nothing on standard output that a script could take for a token."""
    done = invoke("token", *options.split(), cwd=tmp_path, env=KEY)
    assert done.exit_code != 0
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert SECRET not in done.stderr


def test_token_without_a_secret_says_which_setting(tmp_path: Path) -> None:
    """The message is that of `serve`."""
    done = invoke("token", "--user", "ada", "--tenant", "acme", cwd=tmp_path)
    assert (done.exit_code != 0, done.stdout) == (True, "")
    assert "GATEWAY_JWT_SECRET" in done.stderr
    assert len(done.stderr.splitlines()) == 1


# ---- publish


def test_publish_prints_the_events_id_and_nothing_else(server: Server) -> None:
    """The event is in the log, its circle a number."""
    event_id = server.publish("--type", "task.completed", "--circle", "71", "--data", '{"n": 1}')
    assert event_id.startswith("evt_")
    options = ["--type", "x.y", "--circle", "007", "--project", "p", "--user", "ada"]
    done = invoke("publish", *options, "--url", server.url, "--token", server.token, cwd=server.folder)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("evt_")


def test_published_keys_change_an_item_that_subscribers_begin_with(server: Server) -> None:
    """Set, append and delete; `--state` prints the whole value of each item before later events."""
    text = ["--type", "note.changed", "--circle", "74", "--key", "text"]
    server.publish(*text, "--data", '{"text": "hel"}', "--version", "1")
    newest = server.publish(*text, "--op", "append", "--data", '{"text": "lo"}')
    gone = [*text[:-1], "gone"]
    server.publish(*gone, "--op", "set")
    server.publish(*gone, "--op", "delete")
    with started(*connected(server, "circle:74", "--state"), cwd=server.folder) as process:
        process.wait_for(lambda: len(process.out) >= 1)
        live = server.publish(*text, "--op", "append", "--data", '{"text": "!"}')
        process.wait_for(lambda: len(process.out) >= 2)
        item, later = events(process)
        assert (item["event_id"], item["key"], item["op"], item["data"]) == (newest, "text", "set", {"text": "hello"})
        assert (later["event_id"], later["op"], later["data"]) == (live, "append", {"text": "!"})
        process.stop(signal.SIGINT)
        assert process.err == [f"gateway: connected to {server.url}, following circle:74, from its items on"]


BAD_PUBLISHING = [
    (["--type", "Bad Type"], "bad_message"),
    (["--type", "x", "--circle", "a b"], "room_invalid"),
    (["--type", "x", "--user", "bob"], "room_forbidden"),
    (["--type", "x", "--circle", "1", "--data", "{"], "--data"),
    (["--type", "x", "--circle", "1", "--data", "[]"], "data"),
    (["--type", "x", "--circle", "1", "--op", "append"], "bad_message"),
    (["--type", "x", "--circle", "1", "--key", "a b"], "bad_message"),
    (["--type", "x", "--token", "nonsense"], "token_invalid"),
    (["--type", "x", "--token", "nön sense"], "--token"),
    (["--type", "x", "--url", "ftp://127.0.0.1"], "--url"),
    (["--type", "x", "--url", "http://127.0.0.1:1"], "127.0.0.1:1"),
]


@pytest.mark.parametrize(("options", "word"), BAD_PUBLISHING, ids=lambda value: value if isinstance(value, str) else "")
def test_publish_says_in_one_line_what_was_wrong(options: list[str], word: str, server: Server) -> None:
    """With the gateway's own word for it, and no token."""
    done = invoke("publish", *options, cwd=server.folder, env=server.env)
    assert (done.exit_code != 0, done.stdout) == (True, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert word in done.stderr
    assert server.token not in done.stderr


def test_publish_without_a_token_asks_for_one(server: Server) -> None:
    """Naming the option and the variable."""
    done = invoke("publish", "--type", "x", cwd=server.folder, env={"GATEWAY_URL": server.url})
    assert done.exit_code != 0
    assert "GATEWAY_TOKEN" in done.stderr


# ---- explain


def test_explain_names_the_rule_that_decided(server: Server) -> None:
    """For people, and with --json as the gateway answers."""
    token = invoke(
        *["token", "--user", "root", "--tenant", "acme", "--scope", "admin"], cwd=server.folder, env=KEY
    ).stdout.strip()
    env = {"GATEWAY_URL": server.url, "GATEWAY_TOKEN": token}
    event_id = server.publish("--type", "task.completed", "--circle", "7")
    done = invoke("explain", "--user", "zoe", "--event", event_id, cwd=server.folder, env=env)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].endswith(": not_delivered, never_connected")
    done = invoke("explain", "--user", "zoe", "--event", event_id, "--json", cwd=server.folder, env=env)
    assert json.loads(done.stdout)["reason"] == "never_connected"
    done = invoke("explain", "--user", "zoe", "--room", "circle:7", "--json", cwd=server.folder, env=env)
    assert json.loads(done.stdout)["room"] == "circle:7"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ("--user ada", "--event: name either"),
        ("--event evt_1", "--user: name either"),
        ("--user ada --event evt_1", "scope_missing: "),
        ("--user ada --event evt_1 --token nonsense", "token_invalid: "),
        ("--user ada --event evt_1 --url http://127.0.0.1:1", "127.0.0.1:1"),
        ("--user ada --event evt_1 --url ftp://localhost", "--url: "),
    ],
)
def test_explain_says_in_one_line_what_was_wrong(options: str, word: str, server: Server) -> None:
    """With status 2 and without the token."""
    done = invoke("explain", *options.split(), cwd=server.folder, env=server.env)
    assert (done.exit_code, done.stdout) == (2, "")
    assert word in done.stderr
    assert done.stderr.count("\n") == 1
    assert server.token not in done.stderr


# ---- subscribe


def connected(server: Server, *options: str) -> list[str]:
    return ["subscribe", *options, "--url", server.url, "--token", server.token]


def test_subscribe_prints_events_as_json_lines_until_interrupted(server: Server) -> None:
    """Missed events come first with `--since`, and Ctrl-C is not an error."""
    start = server.publish("--type", "task.started", "--circle", "72")
    missed = server.publish("--type", "task.completed", "--circle", "72", "--data", '{"ü": 1}')
    server.publish("--type", "task.completed", "--circle", "73")
    with started(*connected(server, "circle:72", "project:9", "--since", start), cwd=server.folder) as process:
        process.wait_for(lambda: len(process.out) >= 1)
        (event,) = events(process)
        assert (event["event_id"], event["data"], event["circle_id"]) == (missed, {"ü": 1}, 72)
        live = server.publish("--type", "deploy.finished", "--project", "9")
        process.wait_for(lambda: len(process.out) >= 2)
        assert events(process)[1]["event_id"] == live
        assert process.stop(signal.SIGINT) == 130
        assert process.err == [f"gateway: connected to {server.url}, following circle:72 project:9, resumed"]


BAD_SUBSCRIBING = [
    (["circle:*"], "room_invalid"),
    (["user:bob"], "room_forbidden"),
    (["circle:1", "--since", "nonsense"], "cursor_invalid"),
    (["circle:1", "--token", "nonsense"], "token_invalid"),
    (["circle:1", "--url", "http://127.0.0.1:1"], "127.0.0.1:1"),
    (["circle:1", "--url", "http://127.0.0.1:1", "--since", "evt_x"], "127.0.0.1:1"),
    (["circle:1", "--url", "ws://127.0.0.1:1/ws/dashboard"], "no gateway at ws://127.0.0.1:1/ws/dashboard: "),
    (["circle:1", "--url", "ftp://127.0.0.1:1"], "--url"),
]


@pytest.mark.parametrize(
    ("options", "word"), BAD_SUBSCRIBING, ids=lambda value: value if isinstance(value, str) else ""
)
def test_subscribe_ends_with_one_line_where_coming_back_would_not_help(
    options: list[str], word: str, server: Server
) -> None:
    """A refused room, cursor or token, and an address where no server listens."""
    done = invoke("subscribe", *options, cwd=server.folder, env=server.env)
    assert (done.exit_code != 0, done.stdout) == (True, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert word in done.stderr
    assert server.token not in done.stderr


def test_subscribe_ends_quietly_on_a_broken_pipe(server: Server) -> None:
    """The case of `gateway subscribe … | head -1`."""
    start = server.publish("--type", "task.started", "--circle", "74")
    with started(*connected(server, "circle:74", "--since", start), cwd=server.folder) as process:
        server.publish("--type", "task.completed", "--circle", "74")
        process.wait_for(lambda: len(process.out) >= 1)
        assert process.stop() == 130


def test_subscribe_comes_back_after_a_restart_and_says_that_the_log_was_reset(tmp_path: Path) -> None:
    """On the error output, since events were lost with the embedded log; then it goes on."""
    with GatewayProcess(tmp_path) as gateway:
        server = Server(tmp_path, gateway.port)
        start = server.publish("--type", "task.started", "--circle", "1")
        before = server.publish("--type", "task.started", "--circle", "1")
        with started(*connected(server, "circle:1", "--since", start), cwd=tmp_path) as process:
            process.wait_for(lambda: len(process.out) >= 1)
            assert len(process.err) == 1, process.err
            gateway.stop()
            gateway.launch()
            process.wait_for(lambda: len(process.err) >= 2)
            assert "lost" in process.err[1]
            assert f"connected to {server.url}, following circle:1" in process.err[1]
            after = server.publish("--type", "task.completed", "--circle", "1")
            process.wait_for(lambda: len(process.out) >= 2)
            assert [event["event_id"] for event in events(process)] == [before, after]
            assert len(process.err) == 2, process.err
            process.stop()


def test_subscribe_waits_out_a_limit_that_passes(tmp_path: Path) -> None:
    """Too many handshakes (4429) is a reason to come back later and none to end."""
    with GatewayProcess(tmp_path, handshakes_per_minute=60) as gateway:
        server = Server(tmp_path, gateway.port)
        for _ in range(60):
            with socket.create_connection(("127.0.0.1", server.port)) as knocking:
                knocking.sendall(
                    b"GET /ws/dashboard HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
                )
                assert knocking.recv(12) == b"HTTP/1.1 101"
        with started(*connected(server, "circle:1"), cwd=tmp_path) as process:
            deadline = time.monotonic() + 15
            while not process.out:
                assert process.process.poll() is None, process.err
                assert time.monotonic() < deadline, process.err
                server.publish("--type", "task.completed", "--circle", "1")
            assert process.err == [f"gateway: connected to {server.url}, following circle:1 from now on"]
            process.stop()


# ---- check


def test_check_says_that_the_configuration_will_do(tmp_path: Path) -> None:
    """Exit 0, and nothing weak where nothing is."""
    done = run("check", cwd=tmp_path, env=KEY)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "configuration OK\n"


def test_check_names_what_is_weak_and_fails_for_what_does_not_do(tmp_path: Path) -> None:
    """By the settings' names, with no secret shown."""
    done = invoke("check", cwd=tmp_path, env={**KEY, "GATEWAY_ALLOWED_ORIGINS": "*"})
    assert done.exit_code == 0
    assert "warning: GATEWAY_ALLOWED_ORIGINS" in done.stdout
    done = invoke("check", cwd=tmp_path, env={"GATEWAY_JWT_SECRET": "a-short-canary"})
    assert (done.exit_code != 0, done.stdout) == (True, "")
    assert "GATEWAY_JWT_SECRET" in done.stderr
    assert "canary" not in done.stderr


def test_without_a_command_it_shows_what_there_is(tmp_path: Path) -> None:
    """Every command."""
    done = invoke("--help", cwd=tmp_path)
    assert done.exit_code == 0
    for command in ("serve", "token", "publish", "subscribe", "check"):
        assert command in done.stdout
