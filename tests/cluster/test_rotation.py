"""Keys are rotated node by node: at each step, and while half of the nodes have taken it, all nodes are one gateway."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from pydantic import SecretStr

from gateway.service.config import ConfigError
from gateway.service.factory import create_service
from tests.support.forge import pem, public_pem
from tests.support.inprocess import RunningGateway, running
from tests.support.redis import RedisServer
from tests.support.settings import settings_for

OLD, NEW = (SecretStr(secrets.token_urlsafe(48)) for _ in range(2))
PINNED = {"cursor_secret": OLD}

STEPS: list[dict[str, Any]] = [
    {"jwt_secret": OLD},
    {"jwt_secret": OLD, "jwt_next_secrets": (NEW,)},
    {"jwt_secret": NEW, "jwt_previous_secrets": (OLD,)},
    {"jwt_secret": NEW},
]
"""The settings of a node from the first step to the last, as docs/key-rotation.md has them."""


@asynccontextmanager
async def pair(server: RedisServer, prefix: str, *steps: dict[str, Any]) -> AsyncIterator[list[RunningGateway]]:
    """Two nodes of one Redis, each with settings of its own."""
    common = settings_for(log_url=server.url, redis_prefix=prefix)
    one, other = (common.model_copy(update=step) for step in steps)
    async with running(one) as first, running(other) as second:
        yield [first, second]


async def each_takes_what_the_other_gave(gates: list[RunningGateway]) -> None:
    """A token that one node issues is good at the other, and an event's id there a cursor."""
    for here, there in (gates, gates[::-1]):
        async with here.client(here.token(), query="&rooms=circle:7") as client:
            await client.next("subscribed")
            for n in range(2):
                await here.service.gateway.publish("acme", "task.created", {"n": n}, circle_id=7)
            seen = (await client.next("task.created"))["event_id"]
        async with there.client(here.token(), query=f"&rooms=circle:7&since={seen}") as client:
            answer = (await client.next("subscribed"))["data"]
            # The second event is replayed, or comes live: this node may not have heard of it yet.
            assert answer["recovered"] is True
            assert (await client.next("task.created"))["data"] == {"n": 1}


@pytest.mark.parametrize("more", [{}, PINNED], ids=["derived", "pinned"])
@pytest.mark.parametrize("step", range(len(STEPS) - 1))
async def test_a_secret_is_rotated_node_by_node(
    server: RedisServer, prefix: str, step: int, more: dict[str, Any]
) -> None:
    """In the middle of each step, whichever key cursors are encrypted with."""
    before, after = ({**STEPS[at], **more} for at in (step, step + 1))
    async with pair(server, prefix, before, after) as gates:
        await each_takes_what_the_other_gave(gates)


@pytest.mark.parametrize("step", range(len(STEPS) - 1))
async def test_an_event_has_one_id_on_all_nodes_where_the_cursor_key_stays(
    server: RedisServer, prefix: str, step: int
) -> None:
    """For clients that deduplicate by id, and for publishers that retry with an idempotency key."""
    before, after = ({**STEPS[at], **PINNED} for at in (step, step + 1))
    async with pair(server, prefix, before, after) as gates:
        ids = []
        async with gates[0].client(query="&rooms=circle:7") as one, gates[1].client(query="&rooms=circle:7") as two:
            for client in (one, two):
                await client.next("subscribed")
            for gate in gates:
                receipt = await gate.service.gateway.publish("acme", "task.created", {}, circle_id=7, key="k")
                ids.append(receipt.event_id)
            ids += [(await client.next("task.created"))["event_id"] for client in (one, two)]
        assert len(set(ids)) == 1


async def test_naming_the_secret_for_cursors_changes_no_id(server: RedisServer, prefix: str) -> None:
    """So that it can be set, to the secret in use, node by node and ahead of the first rotation."""
    async with pair(server, prefix, STEPS[0], {**STEPS[0], **PINNED}) as gates:
        encoded = {gate.service.gateway.log.window("acme").cursors.encode(bytes(7), 5) for gate in gates}
        assert len(encoded) == 1


async def test_private_keys_are_rotated_by_their_order(server: RedisServer, prefix: str, tmp_path: Path) -> None:
    """The first signs and all are accepted."""
    files = []
    for name in ("old", "new"):
        files.append(str(tmp_path / f"{name}.pem"))
        (tmp_path / f"{name}.pem").write_bytes(pem(ed25519.Ed25519PrivateKey.generate()))
    old, new = files
    lists = [(old,), (old, new), (new, old), (new,)]
    for before, after in pairwise(lists):
        steps = [{"jwt_secret": None, "jwt_private_keys": keys} for keys in (before, after)]
        async with pair(server, f"{prefix}{lists.index(after)}", *steps) as gates:
            await each_takes_what_the_other_gave(gates)


async def test_from_a_secret_to_a_private_key(server: RedisServer, prefix: str, tmp_path: Path) -> None:
    """The public key is accepted first, on all nodes; cursors keep their key."""
    key = ed25519.Ed25519PrivateKey.generate()
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    private.write_bytes(pem(key))
    public.write_bytes(public_pem(key))
    secret = {"jwt_secret": OLD, **PINNED}
    steps: list[dict[str, Any]] = [
        secret,
        {**secret, "jwt_public_keys": (str(public),)},
        {"jwt_secret": None, "jwt_private_keys": (str(private),), "jwt_previous_secrets": (OLD,), **PINNED},
        {"jwt_secret": None, "jwt_private_keys": (str(private),), **PINNED},
    ]
    for before, after in pairwise(steps):
        async with pair(server, f"{prefix}{steps.index(after)}", before, after) as gates:
            await each_takes_what_the_other_gave(gates)


@pytest.mark.parametrize("name", ["jwt_next_secrets", "jwt_previous_secrets"])
def test_a_key_that_is_only_accepted_never_signs(name: str) -> None:
    """Also where no other is configured: a node that signs with it would be alone with that."""
    with pytest.raises(ConfigError, match="GATEWAY_JWT_SECRET"):
        create_service(settings_for().model_copy(update={"jwt_secret": None, name: (NEW,)}))


def test_a_weak_secret_for_cursors_is_refused() -> None:
    """Naming its setting, not showing it."""
    with pytest.raises(ConfigError, match="GATEWAY_CURSOR_SECRET") as caught:
        create_service(settings_for(cursor_secret=SecretStr("a-canary")))
    assert "canary" not in str(caught.value)
