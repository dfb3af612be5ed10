"""Rare cases of the engine: stalls, cancelled callers, missing scripts, refusals."""

import asyncio
import datetime
import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import connect

from gateway.core.cursor import Position
from gateway.core.errors import LogUnavailable
from gateway.core.window import Bounds, Entry
from gateway.logs.redis import RedisLog, page_reader
from gateway.logs.redis import writer as writer_module
from gateway.redis.keys import KeySpace
from gateway.testing import RecordingListener, draft
from gateway.testing.log_items_contract import ITEM_BOUNDS, ItemStory, keyed_draft
from schemas.rooms import TENANT_ROOM
from tests.support.event_streams import asking
from tests.support.inprocess import running
from tests.support.pauses import PATIENCE, Duration, now, until
from tests.support.ports import ReservedPort
from tests.support.proxy import proxied
from tests.support.redis import RedisServer, redis_server
from tests.support.redis_logs import have_patience, redis_log
from tests.support.settings import settings_for


@pytest.fixture
def redis_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    have_patience(monkeypatch)


patient = pytest.mark.usefixtures("redis_may_take_its_time")


async def outcome(receipt: Any) -> BaseException | None:
    try:
        await receipt
    except Exception as error:
        return error
    return None


# ---- writing


@pytest.mark.timing
async def test_each_call_is_answered_in_time_while_redis_stalls(server: RedisServer, prefix: str) -> None:
    """However many wait, each is refused within 2 s of its own call, not of its turn."""
    async with redis_log(server.url, prefix=prefix) as subject:
        await subject.append("acme", 1)
        server.stall()
        waits: list[Duration] = []

        async def publish(n: int) -> None:
            begun = now()
            assert isinstance(await outcome(subject.log.append("acme", draft(n))), LogUnavailable)
            waits.append(now() - begun)

        tasks = []
        for n in range(2_000):
            tasks.append(asyncio.create_task(publish(n)))
            if n % 100 == 0:
                await asyncio.sleep(0.1)
        await asyncio.gather(*tasks)
        assert all(wait < 2.0 for wait in waits)
        server.go_on()
        # # No call waits without a limit.
        assert isinstance(subject.log, RedisLog)
        writer = subject.log.writer
        await until(lambda: writer.idle)


@pytest.mark.timing
async def test_queue_is_bounded(server: RedisServer, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many events, or so many bytes, that wait, the next is refused at once."""
    for name, limit, size in (("MAX_WAITING", 1_000, 0), ("MAX_WAITING_BYTES", 3_000_000, 50_000)):
        monkeypatch.setattr(writer_module, name, limit)
        async with redis_log(server.url, prefix=prefix) as subject:
            await subject.append("acme", 1)
            server.stall()
            receipts = [subject.log.append("acme", draft(n, size=size)) for n in range(1_500)]
            begun = now()
            refused = await outcome(receipts[-1])
            assert isinstance(refused, LogUnavailable)
            assert "not accepted" in str(refused)
            assert now() - begun < 0.1
            other = asyncio.ensure_future(subject.log.append("bolt", draft(0)))
            assert not other.done(), "another tenant's line is not full"
            errors = await asyncio.gather(*receipts, other, return_exceptions=True)
            assert all(isinstance(error, LogUnavailable) for error in errors)
            server.go_on()


async def test_lost_answer_is_not_asked_for_again(server: RedisServer, prefix: str) -> None:
    """The connection breaks after Redis took an event and before it said so: that is an error, and not a second try
    that would put the event in twice."""
    async with proxied(server.port) as network, redis_log(network.url, prefix=prefix) as subject:
        await subject.append("acme", 2)
        network.latency = 0.3
        receipt = asyncio.ensure_future(subject.log.append("acme", draft(2)))
        await _until_head(server, prefix, 3)
        network.latency = 0.0
        network.reset()
        error = await outcome(receipt)
        assert isinstance(error, LogUnavailable)
        assert "may have accepted" in str(error)
        assert await outcome(subject.log.append("acme", draft(3))) is None
        await subject.follow("acme")
        window = subject.log.window("acme")
        assert [_number(window[offset]) for offset in range(1, window.head + 1)] == [0, 1, 2, 3]


async def _until_head(server: RedisServer, prefix: str, head: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while await server.ask("HGET", f"{prefix}:{{acme}}:meta", "offset") != b"%d" % head:  # noqa: ASYNC110 - Redis has no event for it
            await asyncio.sleep(0.01)


@patient
async def test_cancelled_receipt_disturbs_no_other(server: RedisServer, prefix: str) -> None:
    """Cancelled before it was sent, an event is not sent; the others have their places."""
    async with redis_log(server.url, prefix=prefix) as subject:
        await subject.follow("acme")
        first = asyncio.ensure_future(subject.log.append("acme", draft(1)))
        second = asyncio.ensure_future(subject.log.append("acme", draft(2)))
        third = asyncio.ensure_future(subject.log.append("acme", draft(3)))
        second.cancel()
        await asyncio.gather(first, third)
        assert [_number(entry) for entry in subject.delivered_to("acme")] == [1, 3]


@pytest.mark.timing
async def test_stop_answers_what_waits(server: RedisServer, prefix: str) -> None:
    """Receipts, and those who wait for a tenant's window, are refused, and so is what comes later; nothing hangs."""
    async with redis_log(server.url, prefix=prefix) as subject:
        await subject.follow("acme")
        server.stall()
        waiting = [subject.log.append("acme", draft(n)) for n in range(500)]
        following = subject.log.follow("bolt")
        assert following is not None
        await asyncio.sleep(0.05)
        begun = now()
        await subject.log.stop()
        errors = await asyncio.gather(*waiting, following, return_exceptions=True)
        assert all(isinstance(error, LogUnavailable) for error in errors)
        assert isinstance(await outcome(subject.log.append("acme", draft(1))), LogUnavailable)
        assert now() - begun < 1.0
        server.go_on()


@patient
@pytest.mark.parametrize("answer", [None, [], [b"appended"], [b"appended", b"zz", 1, b"1"], 7, {}])
async def test_invalid_answer_ends_nothing(server: RedisServer, prefix: str, answer: Any) -> None:
    """An invalid answer of a script fails its event, and no other."""
    async with redis_log(server.url, prefix=prefix) as subject:
        await subject.follow("acme")
        log = subject.log
        assert isinstance(log, RedisLog)
        run_all = log.script.run_all

        async def lie(redis: Any, calls: Any) -> list[Any]:
            answers: list[Any] = await run_all(redis, calls)
            return [answer, *answers[1:]]

        log.script.run_all = lie  # type: ignore[method-assign]
        receipts = [subject.log.append("acme", draft(n)) for n in range(3)]
        assert [await outcome(receipt) is None for receipt in receipts] == [False, True, True]
        log.script.run_all = run_all  # type: ignore[method-assign]
        assert await outcome(subject.log.append("acme", draft(3))) is None
        await until(lambda: subject.log.window("acme").head == 4)
        assert [_number(entry) for entry in subject.delivered_to("acme")] == [0, 1, 2, 3]


async def test_faults_of_others_end_nothing(
    server: RedisServer, prefix: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener or a part of the engine itself that raises is logged, and all goes on."""
    async with redis_log(server.url, prefix=prefix) as subject:
        log = subject.log
        assert isinstance(log, RedisLog)
        received: list[int] = []

        class Broken(RecordingListener):
            def on_entry(self, tenant: str, entry: Entry) -> None:
                received.append(_number(entry))
                raise ZeroDivisionError

            def on_reset(self, tenant: str) -> None:
                raise ZeroDivisionError

        log.attach(Broken())
        await subject.follow("acme")
        await subject.append("acme", 3)
        await server.ask("FLUSHALL")
        await until(lambda: log.follower.followed["acme"].window.head == 0)
        await subject.append("acme", 2)
        await until(lambda: received == [0, 1, 2, 0, 1])

        # A fault of the engine's own, in each of its tasks.
        def fail(*arguments: Any) -> Any:
            raise ZeroDivisionError

        for owner, name in (
            *((log.writer, "_next_batch"), (log.monitor, "_update_status"), (log.follower.channels, "_listen")),
            (log.follower.pages, "read"),
        ):
            with monkeypatch.context() as broken:
                broken.setattr(owner, name, fail)
                doomed = log.append("acme", draft(90))
                log.follower.mark_stale("acme", log.follower.followed["acme"])
                await server.ask("CLIENT", "KILL", "TYPE", "pubsub")
                await asyncio.sleep(0.3 if name != "_update_status" else 1.3)
            await outcome(doomed)
        assert await outcome(log.append("acme", draft(99))) is None
        await until(lambda: received[-1:] == [99])
        await until(lambda: log.ready)  # all its tasks work
    assert "background task failed" in caplog.text


@patient
async def test_scripts_that_the_server_forgot(server: RedisServer, prefix: str) -> None:
    """SCRIPT FLUSH at any time costs nothing but a round trip; events keep their order."""
    async with redis_log(server.url, prefix=prefix) as subject:
        await subject.follow("acme")
        for n in range(5):
            receipts = [subject.log.append("acme", draft(n * 100 + i)) for i in range(100)]
            await server.ask("SCRIPT", "FLUSH")
            await asyncio.gather(*receipts)
        assert [_number(entry) for entry in subject.delivered_to("acme")] == list(range(500))


@patient
async def test_part_of_a_batch_may_fail(server: RedisServer, prefix: str) -> None:
    """In a batch, the events that Redis refuses are refused, and the others are in the log."""
    async with redis_log(server.url, prefix=prefix) as subject:
        await subject.follow("acme", "bolt")
        await server.ask("SET", f"{prefix}:{{bolt}}:meta", "of another kind")
        receipts = [subject.log.append("acme" if n % 2 else "bolt", draft(n)) for n in range(20)]
        errors = [await outcome(receipt) for receipt in receipts]
        assert [error is None for error in errors] == [n % 2 == 1 for n in range(20)]
        assert all(isinstance(error, LogUnavailable) for error in errors[::2])
        assert [_number(entry) for entry in subject.delivered_to("acme")] == list(range(1, 20, 2))


# ---- following


@pytest.mark.timing
async def test_connecting_while_redis_is_away(server: RedisServer, prefix: str) -> None:
    """A client of a tenant that this node knows nothing of is sent away within 2 s, to come back (1013, or 503 where
    it asks for an event stream); killed and stalled."""
    async with running(settings_for(log_url=server.url, redis_prefix=prefix)) as gate:
        for fault in (server.stall, server.kill):
            fault()
            begun = now()
            tenant = f"new-{fault.__name__}"
            async with connect(f"{gate.ws_url}?token={gate.token(tenant=tenant)}") as websocket:
                await websocket.wait_closed()
                assert (websocket.close_code, websocket.close_reason) == (1013, "broker_unavailable")
            assert now() - begun < 2.2
            begun = now()
            async with asking(gate, "", gate.token(tenant=f"{tenant}-too")) as client:
                assert client.status == 503
                assert int(client.headers["retry-after"]) >= 1
            assert now() - begun < 2.2
            server.go_on()


async def test_channel_is_back_soon_where_its_first_reconnect_hangs(server: RedisServer, prefix: str) -> None:
    """A failover: the connections are reset, the old address accepts and says nothing, and then Redis is there."""
    async with proxied(server.port) as network, redis_log(network.url, prefix=prefix) as subject:
        await until(lambda: subject.log.ready)
        network.partition()
        network.reset()
        await until(lambda: not subject.log.ready)
        network.strand()
        await until(lambda: subject.log.ready)


@pytest.mark.timing
async def test_following_many_while_redis_stalls(server: RedisServer, prefix: str) -> None:
    """However many tenants wait to be read, each who waits is refused within 2 s."""
    async with redis_log(server.url, prefix=prefix) as subject:
        log = subject.log
        assert isinstance(log, RedisLog)
        server.stall()
        begun = now()
        following = [subject.log.follow(f"t{n}") for n in range(100)]
        errors = await asyncio.gather(*(f for f in following if f is not None), return_exceptions=True)
        assert now() - begun < 2.0
        assert len(errors) == 100
        assert all(isinstance(error, LogUnavailable) for error in errors)
        server.go_on()
        await until(lambda: not any(followed.stale for followed in log.follower.followed.values()))


@patient
async def test_offset_of_another_epoch_is_another_offset(server: RedisServer, prefix: str) -> None:
    """A notification with the very next offset, but in another epoch, is not taken for the next entry."""
    async with redis_log(server.url, prefix=prefix) as subject:
        await subject.follow("acme")
        await subject.append("acme", 3)
        body = b'{"type":"task.created","data":{"n":666}}'
        await server.ask("PUBLISH", f"{prefix}:{{acme}}:live", b"11" * 7 + b"\n4\n1.0\n2026\ntenant\n\n" + body)
        await server.ask("PUBLISH", f"{prefix}:{{acme}}:live", b"and this is dropped after it")
        await until(lambda: subject.log.dropped == 1)  # type: ignore[attr-defined]
        await subject.log.append("acme", draft(3))
        assert [_number(entry) for entry in subject.delivered_to("acme")] == [0, 1, 2, 3]


@patient
async def test_first_read_of_more_than_the_window_holds(server: RedisServer, prefix: str) -> None:
    """A node with narrower bounds has the newest, and says what it lacks; over many pages too."""
    async with redis_log(server.url, prefix=prefix) as wide:
        await wide.follow("acme")
        for start in range(0, 3_000, 200):  # not all at once, or a slow machine refuses the last of them
            some = (wide.log.append("acme", draft(n, size=1_000)) for n in range(start, start + 200))
            receipts = await asyncio.gather(*some)
        for bounds, kept in ((Bounds(max_events=10), 10), (Bounds(max_bytes=11_000), 9)):
            async with redis_log(server.url, bounds, prefix=prefix) as narrow:
                await narrow.follow("acme")
                window = narrow.log.window("acme")
                assert window.head == 3_000
                assert abs(len(window) - kept) <= 1
                assert window.first == 3_001 - len(window)
                assert window.cursor == receipts[-1].event_id
                assert window.gap(Position(window.epoch, window.first - 2), [TENANT_ROOM]) == "history_trimmed"
                assert narrow.delivered == []


@patient
async def test_bounds_of_a_single_tenant_are_its_own(server: RedisServer, prefix: str) -> None:
    """In place of those of all: of the stream, of the state, and of each node's window."""
    options = {"prefix": prefix, "tenant_bounds": {"acme": Bounds(max_events=3, max_items=2)}}
    bounds = Bounds(max_events=5, max_items=4)
    async with redis_log(server.url, bounds, **options) as here, redis_log(server.url, bounds, **options) as there:
        for tenant, events, items in (("acme", 3, 2), ("bolt", 5, 4)):
            await here.follow(tenant)
            await there.follow(tenant)
            for n in range(8):
                await here.log.append(tenant, keyed_draft(f"k{n}", "set"))
            await here.append(tenant, 8)
            keys = here.log.context.keys.log(tenant)  # type: ignore[attr-defined]
            assert await server.ask("ZCARD", keys[3]) == items
            await until(lambda tenant=tenant: there.log.window(tenant).head == 16)  # type: ignore[misc]
            for window in (here.log.window(tenant), there.log.window(tenant)):
                assert (len(window), len(window.items)) == (events, items)
            assert (await here.log.size(tenant)).events == events


@patient
async def test_stream_is_within_its_bounds(server: RedisServer, prefix: str) -> None:
    """By count, by bytes and by age, after every append; what Redis says of bytes is what there is."""
    stream, meta = f"{prefix}:{{acme}}:log", f"{prefix}:{{acme}}:meta"
    async with redis_log(server.url, Bounds(max_events=5), prefix=prefix) as subject:
        await subject.append("acme", 12)
        assert await server.ask("XLEN", stream) == 5
    async with redis_log(server.url, Bounds(max_bytes=5_000), prefix=prefix) as subject:
        for size in (3_000, 100, 100, 4_000, 9_000, 10, 10):
            await subject.log.append("acme", draft(0, size=size))
            entries = await server.ask("XRANGE", stream, "-", "+")
            held = sum(len(fields[b"e"]) for _, fields in entries)
            assert int(await server.ask("HGET", meta, "bytes")) == held
            assert held <= 5_000 or len(entries) == 1
    async with redis_log(server.url, Bounds(max_seconds=1), prefix=prefix) as subject:
        await subject.append("acme", 20)
        await asyncio.sleep(2.1)
        await subject.append("acme", 1)
        assert await server.ask("XLEN", stream) == 1
        assert 0 < await server.ask("TTL", stream) <= 7 * 86_400


@patient
@pytest.mark.parametrize("wrong", [7_200.0, -7_200.0])
async def test_a_clock_that_is_wrong_drops_nothing_early(server: RedisServer, prefix: str, wrong: float) -> None:
    """A node whose clock is two hours ahead, or behind, keeps entries for as long as Redis says."""
    bounds = Bounds(max_seconds=60)
    async with redis_log(server.url, bounds, prefix=prefix, timer=lambda: time.monotonic() + wrong) as subject:
        log = subject.log
        assert isinstance(log, RedisLog)
        await subject.follow("acme")
        await subject.append("acme", 3)
        log.sweep()  # before the clocks were compared: too early is worse than too late
        assert len(log.window("acme")) == 3
        await until(lambda: abs(log.context.clock.now() - time.time()) < 30)
        log.sweep()
        assert len(log.window("acme")) == 3


# ---- being refused


@pytest.mark.parametrize("refusal", ["readonly", "memory"])
async def test_redis_that_takes_no_writes(server: RedisServer, prefix: str, refusal: str) -> None:
    """Redis answers, and accepts no writes: readiness is false, and true again when it is over."""
    async with redis_server(Path(server.folder) / "other") as other, redis_log(server.url, prefix=prefix) as subject:
        await subject.append("acme", 1)
        if refusal == "readonly":
            await server.ask("REPLICAOF", "127.0.0.1", str(other.port))
        else:
            await server.ask("CONFIG", "SET", "maxmemory", "1")
        await until(lambda: subject.degraded[-1:] == [True])
        assert not subject.log.ready
        assert isinstance(await outcome(subject.log.append("acme", draft(1))), LogUnavailable)
        if refusal == "readonly":
            await server.ask("REPLICAOF", "NO", "ONE")
        else:
            await server.ask("CONFIG", "SET", "maxmemory", "0")
        await until(lambda: subject.log.ready)
        assert await outcome(subject.log.append("acme", draft(2))) is None
        await until(lambda: subject.degraded[-1:] == [False])


ACL = (
    "+info +evalsha +script|load +set +get +del +exists +expire +hset +hmget +time"
    " +hget +hdel +hstrlen +xadd +xlen +xrange +xrevrange +xdel"
    " +zadd +zcard +zcount +zpopmin +zrange +zrem +zrevrange +zscore"
    " +publish +subscribe +unsubscribe +ping +client|setinfo"
)
"""The commands that the log needs; docs/scaling.md adds those of the cluster driver."""


@patient
async def test_least_privilege(server: RedisServer, prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    """A user who may run just these commands, on just these keys and channels, is enough; without INFO it is clear
    from one line what is wrong."""
    words = [word for word in ACL.split() if "setinfo" not in word]  # new in 7.2, and redis-py forgives
    rules = ["on", ">secret-word", "resetchannels", f"~{prefix}:*", f"&{prefix}:*", *words]
    await server.ask("ACL", "SETUSER", "gateway", *rules)
    url = f"redis://gateway:secret-word@127.0.0.1:{server.port}"
    async with redis_log(url, prefix=prefix) as subject:
        await subject.follow("acme")
        await subject.append("acme", 3)
        await until(lambda: subject.log.ready)
        await subject.log.append("acme", draft(1, key="k"))
        for op in ("set", "append", "delete"):
            await subject.log.append("acme", keyed_draft("run", op, {"text": "a"}))
        assert len(subject.delivered) == 7
        await server.ask("ACL", "SETUSER", "gateway", "-zrange")
        assert isinstance(await outcome(subject.log.append("acme", keyed_draft("run", "set"))), LogUnavailable)
        assert not isinstance(await outcome(subject.log.append("acme", draft(5))), LogUnavailable)
        assert (len(subject.delivered), subject.resets) == (8, [])
        await server.ask("ACL", "SETUSER", "gateway", "+zrange", "-info")
        assert isinstance(await outcome(subject.log.append("acme", draft(5))), LogUnavailable)
        await until(lambda: not subject.log.ready)
    lines = [r.getMessage() for r in caplog.records if "cannot be written" in r.getMessage()]
    assert len(lines) == 2
    assert "secret-word" not in caplog.text


@patient
async def test_address_with_tls_and_a_user(tmp_path: Path, prefix: str) -> None:
    """`rediss://user:password@host`, with the server's certificate checked."""
    folder = tmp_path / "certificates"
    folder.mkdir()
    _certificate(folder)
    files = {"tls_cert_file": "cert.pem", "tls_key_file": "key.pem", "tls_ca_cert_file": "cert.pem"}
    options: Any = {name: str(folder / file) for name, file in files.items()}
    with ReservedPort() as port:
        async with redis_server(tmp_path / "redis", tls_port=str(port), tls_auth_clients="no", **options) as server:
            await server.ask("ACL", "SETUSER", "gateway", "on", ">secret-word", "~*", "&*", "+@all")
            address = f"rediss://gateway:secret-word@localhost:{port}"
            async with redis_log(f"{address}?ssl_ca_certs={folder / 'cert.pem'}", prefix=prefix) as subject:
                await subject.follow("acme")
                await subject.append("acme", 3)
                assert len(subject.delivered) == 3
            async with redis_log(address, prefix=prefix) as stranger:
                assert isinstance(await outcome(stranger.log.append("acme", draft(1))), LogUnavailable)


def _certificate(folder: Path) -> None:
    """One for localhost that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)


@pytest.mark.timing
async def test_query_of_the_address_has_not_the_last_word(server: RedisServer, prefix: str) -> None:
    """Options that the engine depends on cannot be changed in the URL: retries, time limits, protocol, decoding."""
    query = "decode_responses=true&protocol=3&socket_timeout=0.0001&socket_connect_timeout=0.0001&retry_on_timeout=true"
    async with redis_log(f"{server.url}?{query}", prefix=prefix) as subject:
        await subject.follow("acme")
        await subject.append("acme", 3)
        assert len(subject.delivered) == 3
        server.stall()
        begun = now()
        assert isinstance(await outcome(subject.log.append("acme", draft(1))), LogUnavailable)
        assert now() - begun < 2.0
        server.go_on()


# ---- Redis Cluster


@patient
async def test_keys_of_a_tenant_share_a_slot(tmp_path: Path, prefix: str) -> None:
    """With and without an idempotency key, whatever the names: the scripts run in a cluster, here one of one node."""
    async with redis_server(tmp_path / "redis", cluster_enabled="yes") as server:
        await server.ask("CLUSTER", "ADDSLOTS", *range(16_384))
        names = KeySpace(prefix)
        for tenant in ("acme", "a", "A-b_c", "x" * 64):
            keys = [
                *names.log(tenant),
                names.idempotency(tenant, None),
                names.idempotency(tenant, "{x}"),
                names.idempotency(tenant, ""),
            ]
            slots = {await server.ask("CLUSTER", "KEYSLOT", key) for key in [*keys, names.channel(tenant)]}
            assert len(slots) == 1
        async with asyncio.timeout(PATIENCE):
            while b"cluster_state:ok" not in await _raw(server, "CLUSTER", "INFO"):  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.05)
        async with redis_log(server.url, prefix=prefix) as subject:
            await subject.follow("acme", "bolt")
            for tenant in ("acme", "bolt"):
                await subject.append(tenant, 3)
                await subject.log.append(tenant, draft(1, key="k"))
            assert len(subject.delivered) == 8


async def _raw(server: RedisServer, *command: str) -> bytes:
    answer = await server.ask(*command)
    return repr(answer).replace("'", "").replace(" ", "").encode()


# ---- what is said of it


async def test_an_outage_is_said_once(server: RedisServer, prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    """One line for each thing that does not work, however often it is tried, and one when it does again."""
    caplog.set_level(logging.INFO)
    async with proxied(server.port) as network, redis_log(network.url, prefix=prefix) as subject:
        await subject.follow("acme")
        await subject.append("acme", 1)
        network.target = 1
        network.reset()
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            await outcome(subject.log.append("acme", draft(1)))
            await asyncio.sleep(0.02)
        network.target = server.port
        await until(lambda: subject.log.ready)
        assert await outcome(subject.log.append("acme", draft(2))) is None
        parts = ("written", "listened to", "checked")
        await until(lambda: all(_lines(caplog, f"can be {what} again") for what in parts))
        for what in parts:
            assert len(_lines(caplog, f"cannot be {what}")) == 1
            assert len(_lines(caplog, f"can be {what} again")) == 1
        assert len(_lines(caplog, "")) < 10


def _lines(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name.startswith("gateway.log") and words in r.getMessage()]


@patient
async def test_nothing_grows_with_tenants_without_followers(server: RedisServer, prefix: str) -> None:
    """Publishing to many tenants keeps a bounded number of their codecs, and nothing else."""
    async with redis_log(server.url, prefix=prefix) as subject:
        for start in range(0, 3_000, 200):
            await asyncio.gather(*(subject.log.append(f"t{n}", draft(n)) for n in range(start, start + 200)))
        log = subject.log
        assert isinstance(log, RedisLog)
        assert len(log.codecs) <= 1_024
        assert log.follower.followed == {}
        await until(lambda: log.writer.idle)


def _number(entry: Entry) -> int:
    number: int = json.loads(entry.frame.payload)["data"]["n"]
    return number


@patient
async def test_node_that_was_away_keeps_what_others_keep(
    server: RedisServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Items that ended or were evicted while a node heard nothing, too, and what is lost of each room; in one page
    and in many."""
    for number in range(4):
        if number == 2:
            monkeypatch.setattr(page_reader, "PAGE_BYTES", 1_000)
        at, bounds = {"prefix": f"{prefix}:{number}"}, Bounds(max_events=4, max_items=20) if number % 2 else ITEM_BOUNDS
        async with redis_log(server.url, bounds, **at) as here, redis_log(server.url, bounds, **at) as there:
            story = ItemStory(there, number, bounds)
            channels = here.log.follower.channels  # type: ignore[attr-defined]
            await there.follow("acme")
            await here.follow("acme")
            hears = channels.on_message
            for n in range(40):
                channels.on_message = (lambda channel, data: None) if n % 4 else hears
                for _ in range(story.random.choice((1, 1, 2, 12))):
                    await story.go_on()
                window = there.log.window("acme")
                story.judge(window)
                if (following := here.log.follow("acme", window.cursor)) is not None:
                    await following
                story.judge(here.log.window("acme"))
            offsets = [entry.offset for entry in here.delivered_to("acme")]
            assert offsets == sorted(set(offsets))


@patient
async def test_lowered_bounds_of_state_do_not_block_the_server(server: RedisServer, prefix: str) -> None:
    """One append evicts a bounded number of items; the next ones the rest."""
    async with redis_log(server.url, prefix=prefix) as subject:
        log = subject.log
        assert isinstance(log, RedisLog)
        for start in range(0, 3_000, 100):
            await asyncio.gather(*(log.append("acme", keyed_draft(f"k{n}", "set")) for n in range(start, start + 100)))
        items = log.context.keys.log("acme")[3]
    left = [3_000]
    async with redis_log(server.url, Bounds(max_items=10), prefix=prefix) as subject:
        while left[-1] > 10:
            await subject.log.append("acme", keyed_draft("new", "set"))
            left.append(int(await server.ask("ZCARD", items)))
            assert 0 < left[-2] - left[-1] <= 600
        assert left[-1] == 10


# ---- the head of the log


@patient
async def test_the_head_of_the_log_is_known_from_when_it_was_first_read(server: RedisServer, prefix: str) -> None:
    """Also while the subscription to the tenant's channel is confirmed, and what came before it is read."""
    async with redis_log(server.url, prefix=prefix) as subject:
        log = subject.log
        await until(lambda: log.ready)
        for number in range(30):
            tenant = f"t{number}"
            following = log.follow(tenant)
            assert following is not None
            assert log.staleness(tenant) is None
            await following
            for _ in range(10):
                assert log.staleness(tenant) is not None or not log.ready, tenant
                await asyncio.sleep(0.001)
