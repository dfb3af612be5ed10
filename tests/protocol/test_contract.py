"""The event contract: events of every publisher are checked before they are appended."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.cli.main import app
from gateway.core.contract import ContractViolation
from gateway.embedding.bridge import EventBridge
from gateway.embedding.event_bus import Event, EventBus
from gateway.service.contract import load_schemas
from schemas.contract.event_schema import digest_of
from tests.support.clients import Client, assert_problem, http, until_fence
from tests.support.contracts import ANY, BAD, COMPLETED, COMPLETED_2, GOOD, write_contract
from tests.support.inprocess import RunningGateway, running
from tests.support.settings import settings_for

FOUND = {
    "event_type": "task.completed",
    "version": 1,
    "pointer": "/task_id",
    "expected": "integer",
    "got": f'"{"7" * 98}…',
}
"""The violation by `BAD` data."""

MODELS = "tests.support.contracts:MODELS"

Publisher = Callable[[RunningGateway, dict[str, Any]], Awaitable[dict[str, Any] | None]]
"""Publishes an event; returns the fields of the refusal, None where it was accepted."""


@pytest.fixture(params=["folder", "models"])
async def gate(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    """A running gateway with a contract."""
    contract = MODELS if request.param == "models" else write_contract(tmp_path / "contract")
    async with running(settings_for(contract=contract)) as gate:
        yield gate


def with_contract(tmp_path: Path, *, v2: bool = False, **settings: Any) -> Any:
    """Serve with a contract in a folder, for tests of the two other settings."""
    more = {"task__completed__v2": COMPLETED_2} if v2 else {}
    contract = write_contract(tmp_path / "contract", task__completed__v1=COMPLETED, task__started__v1=ANY, **more)
    return running(settings_for(contract=contract, **settings))


async def by_http(gate: RunningGateway, event: dict[str, Any], path: str = "/events") -> dict[str, Any] | None:
    async with http(gate, gate.token(scope="publish")) as api:
        answer = await api.post(path, json=event)
    if answer.status_code == 202:
        return None
    problem = assert_problem(answer, 422, "contract_violation")
    return {name: problem[name] for name in problem if name not in ("type", "title", "status", "detail", "code")}


async def by_routed_http(gate: RunningGateway, event: dict[str, Any]) -> dict[str, Any] | None:
    """With a query the request does not take the fast path."""
    return await by_http(gate, event, "/events?x=1")


async def by_batch(gate: RunningGateway, event: dict[str, Any], path: str = "/events/batch") -> dict[str, Any] | None:
    """In the middle of a batch, whose other events are accepted."""
    other = {"type": "task.started", "data": {}}
    async with http(gate, gate.token(scope="publish")) as api:
        answer = await api.post(path, json={"events": [other, event, other]})
    first, result, last = answer.json()["results"]
    assert list(first) == list(last) == ["event_id", "duplicate", "rooms"]
    return refusal(result["error"]) if "error" in result else None


async def by_routed_batch(gate: RunningGateway, event: dict[str, Any]) -> dict[str, Any] | None:
    return await by_batch(gate, event, "/events/batch?x=1")


async def by_command(gate: RunningGateway, event: dict[str, Any]) -> dict[str, Any] | None:
    async with gate.client(gate.token(scope="publish")) as client:
        reply = await client.ask(type="publish", event=event)
    return refusal(reply["data"]) if reply["type"] == "error" else None


async def by_bus(gate: RunningGateway, event: dict[str, Any]) -> dict[str, Any] | None:
    """Through the bridge from an event bus; the refusal is only counted."""
    bus = EventBus()
    bridge = EventBridge(gate.service.gateway, tenant="acme")
    bridge.attach(bus, [event["type"]])
    await bus.publish(Event(type=event["type"], data=event["data"]))
    assert bridge.forwarded == (not bridge.dropped)
    return dict(bridge.dropped) or None


async def in_process(gate: RunningGateway, event: dict[str, Any]) -> dict[str, Any] | None:
    try:
        await gate.service.gateway.publish("acme", **event)
    except ContractViolation as error:
        return dict(error.details)
    return None


@asynccontextmanager
async def follower(gate: RunningGateway) -> AsyncIterator[Client]:
    """A client in the room `tenant`."""
    async with gate.client(gate.token(rooms=["tenant"]), "&rooms=tenant") as client:
        await client.next("subscribed")
        yield client


async def events(client: Client, type: str = "task.completed") -> list[dict[str, Any]]:
    """The events of this type that the client was sent until now."""
    return [frame for frame in await until_fence(client) if frame["type"] == type]


def refusal(error: dict[str, Any]) -> dict[str, Any]:
    assert error.pop("code") == "contract_violation"
    assert error.pop("message")
    return error


SOURCES: list[Publisher] = [
    by_http,
    by_routed_http,
    by_batch,
    by_routed_batch,
    by_command,
    in_process,
]


@pytest.mark.parametrize("publish", [*SOURCES, by_bus])
async def test_violation_is_refused_and_not_appended(gate: RunningGateway, publish: Publisher) -> None:
    """By whichever way it comes; and a valid event of the same way is accepted, with the version in its frame."""
    async with follower(gate) as client:
        found = await publish(gate, {"type": "task.completed", "data": BAD})
        expected = FOUND if publish in SOURCES else {"contract_violation": 1}
        if found is not None and "expected" in found:
            assert found.pop("expected") in ("integer", "a valid integer")
            expected = {name: value for name, value in FOUND.items() if name != "expected"}
        assert found == expected
        assert await publish(gate, {"type": "task.completed", "data": GOOD}) is None
        (frame,) = await events(client)
        assert (frame["data"], frame["version"]) == (GOOD, 1)
    contract = gate.service.gateway.publishing.contract
    assert contract is not None
    assert contract.violations == 1


@pytest.mark.parametrize("publish", SOURCES)
async def test_event_names_its_version(tmp_path: Path, publish: Publisher) -> None:
    """By default it is of the newest version; the frame carries the one that it was checked against."""
    async with (
        with_contract(tmp_path, v2=True) as gate,
        follower(gate) as client,
    ):
        assert await publish(gate, {"type": "task.completed", "data": GOOD, "version": 1}) is None
        assert await publish(gate, {"type": "task.completed", "data": {"task_id": "7"}}) is None
        assert [frame["version"] for frame in await events(client)] == [1, 2]
        found = await publish(gate, {"type": "task.completed", "data": GOOD})
        assert found == {**FOUND, "version": 2, "expected": "string", "got": "7"}
        found = await publish(gate, {"type": "task.completed", "data": GOOD, "version": 3})
        unknown = {"version": 3, "pointer": "", "expected": "one of the versions 1, 2", "got": "3"}
        assert found == {"event_type": "task.completed", **unknown}


@pytest.mark.parametrize("version", [0, -1, True, 1.0, "1", 10**6])
async def test_version_is_a_positive_integer(gate: RunningGateway, version: Any) -> None:
    """422 `bad_message` over HTTP; `ValueError` in process."""
    event = {"type": "task.completed", "data": GOOD, "version": version}
    async with http(gate, gate.token(scope="publish")) as api:
        assert_problem(await api.post("/events", json=event), 422, "bad_message")
    if version != 10**6:
        with pytest.raises(ValueError, match="version"):
            await gate.service.gateway.publish("acme", **event)


@pytest.mark.parametrize("publish", SOURCES)
async def test_unknown_type_is_allowed_or_refused(tmp_path: Path, publish: Publisher) -> None:
    """`GATEWAY_CONTRACT_UNKNOWN` decides; where it is allowed, its frame carries no version."""
    event = {"type": "invoice.paid", "data": {}}
    async with (
        with_contract(tmp_path) as gate,
        follower(gate) as client,
    ):
        assert await publish(gate, {**event, "version": 2}) is None
        (frame,) = await events(client, "invoice.paid")
        assert "version" not in frame
    async with with_contract(tmp_path, contract_unknown="refuse") as gate:
        found = await publish(gate, event)
        place = {"pointer": "", "expected": "a type of the contract", "got": "invoice.paid"}
        assert found == {"event_type": "invoice.paid", **place}


@pytest.mark.parametrize(("mode", "violations"), [("warn", 1), ("off", 0)])
async def test_other_modes_accept_violations(
    tmp_path: Path, mode: str, violations: int, caplog: pytest.LogCaptureFixture
) -> None:
    """`warn` counts them and logs the place, and not the data; `off` does not check."""
    caplog.set_level(logging.WARNING, "gateway.contract")
    async with (
        with_contract(tmp_path, contract_mode=mode) as gate,
        follower(gate) as client,
    ):
        await gate.publish(data=BAD)
        assert [frame["version"] for frame in await events(client)] == [1]
        gateway = gate.service.gateway
        gateway.housekeeping.sweep()
        assert gateway.publishing.contract is not None
        assert gateway.publishing.contract.violations == violations
        async with http(gate) as api:
            lines = (await api.get("/metrics")).text.splitlines()
        assert f"gateway_contract_violations_total {violations}.0" in lines
    lines = [record.getMessage() for record in caplog.records if record.name == "gateway.contract"]
    assert len(lines) == violations
    assert all("/task_id" in line and "7777" not in line for line in lines)


async def test_changes_of_an_item_are_checked_as_changes(gate: RunningGateway) -> None:
    """The data of an `append` may lack members, and has no wrong ones; that of a `delete` is free."""
    for op, data, pointer in (
        ("set", {"task_id": 7}, ""),
        ("append", {"note": "more"}, None),
        ("append", {"note": 7}, "/note"),
        ("append", {"other": "x"}, "/other"),
        ("delete", {"reason": "done"}, None),
    ):
        event = {"type": "task.completed", "data": data, "key": "task:7", "op": op}
        found = await by_http(gate, event)
        assert (None if found is None else found["pointer"]) == pointer


async def test_without_a_contract_nothing_is_checked_and_no_frame_has_a_version() -> None:
    """An event may name a version all the same: its publisher need not know whether there is a contract."""
    async with running() as gate, follower(gate) as client:
        assert await by_http(gate, {"type": "task.completed", "data": BAD, "version": 7}) is None
        (frame,) = await events(client)
        assert "version" not in frame


async def test_first_frame_has_the_hash_of_the_contract(gate: RunningGateway) -> None:
    """The same at each connect, and on the event stream; without a contract there is none."""
    contract = gate.service.gateway.publishing.contract
    assert contract is not None
    async with gate.client() as client, gate.client() as other:
        digests = {each.established["data"]["contract"] for each in (client, other)}
    assert digests == {contract.digest}
    async with http(gate, gate.token()) as api, api.stream("GET", "/events/stream") as stream:
        async for line in stream.aiter_lines():
            if line.startswith("data:"):
                assert f'"contract":"{contract.digest}"' in line
                break
    async with running() as plain, plain.client() as client:
        assert "contract" not in client.established["data"]


def test_hash_depends_on_the_schemas_alone(tmp_path: Path) -> None:
    """Neither on the order of members nor on the place of the files."""
    turned = dict(reversed(COMPLETED.items()))
    folders = [
        write_contract(tmp_path / name, task__completed__v1=schema)
        for name, schema in (("a", COMPLETED), ("b", turned), ("c", COMPLETED_2))
    ]
    digests = [digest_of(load_schemas(folder, "GATEWAY_CONTRACT")) for folder in folders]
    assert digests[0] == digests[1] != digests[2]


async def test_contract_is_served_to_any_token(tmp_path: Path) -> None:
    """In the form for publishers, and with open objects for clients; 404 for an unknown type."""
    async with with_contract(tmp_path, v2=True) as gate, http(gate, gate.token(rooms=[])) as api:
        whole = (await api.get("/contract")).json()
        contract = gate.service.gateway.publishing.contract
        assert contract is not None
        assert (whole["hash"], whole["mode"], whole["unknown"]) == (contract.digest, "enforce", "allow")
        versions = {"newest": 2, "versions": {"1": COMPLETED, "2": COMPLETED_2}}
        assert whole["types"] == {"task.completed": versions, "task.started": {"newest": 1, "versions": {"1": ANY}}}
        assert (await api.get("/contract/task.completed")).json() == {"type": "task.completed", **versions}
        read = (await api.get("/contract/task.completed", params={"view": "read"})).json()["versions"]["1"]
        assert read == {name: value for name, value in COMPLETED.items() if name != "additionalProperties"}
        assert_problem(await api.get("/contract/task.gone"), 404, "not_found")
        assert_problem(await api.get("/contract", params={"view": "x"}), 422, "bad_message")
    async with running() as plain, http(plain, plain.token()) as api:
        assert_problem(await api.get("/contract"), 404, "not_found")
        api.headers.pop("authorization")
        assert_problem(await api.get("/contract"), 401, "token_missing")


async def test_contract_is_checked_against_a_running_gateway(tmp_path: Path) -> None:
    """`gateway contract check --against URL`."""
    later = write_contract(tmp_path / "later", task__completed__v1=COMPLETED_2)
    async with with_contract(tmp_path) as gate:

        async def check(*more: str) -> tuple[int, str]:
            arguments = ["contract", "check", "--contract", later, "--against", gate.url, *more]
            done = await asyncio.to_thread(CliRunner().invoke, app, arguments)
            return done.exit_code, done.output

        status, output = await check("--token", gate.token())
        assert (status, "refused: task.completed.v1 at /properties/result: is gone" in output) == (1, True)
        assert await check() == (2, f"gateway: --against: {gate.url}: answered 401; pass --token\n")
