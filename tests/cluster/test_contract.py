"""A deploy of another event contract: clients of the other nodes are notified."""

from contextlib import AsyncExitStack
from pathlib import Path

from tests.support.clients import fence
from tests.support.contracts import COMPLETED, COMPLETED_2, write_contract
from tests.support.inprocess import running
from tests.support.redis import RedisServer
from tests.support.settings import settings_for


async def test_clients_of_other_nodes_learn_of_another_contract(
    server: RedisServer, prefix: str, tmp_path: Path
) -> None:
    """Once, also where several nodes start with it; a node with the same contract changes nothing."""
    shared = {"log_url": server.url, "redis_prefix": prefix}
    earlier = settings_for(contract=write_contract(tmp_path / "a", task__completed__v1=COMPLETED), **shared)
    later = settings_for(contract=write_contract(tmp_path / "b", task__completed__v1=COMPLETED_2), **shared)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(running(earlier))
        client = await stack.enter_async_context(first.client())
        before = client.established["data"]["contract"]
        await stack.enter_async_context(running(earlier))
        second = await stack.enter_async_context(running(later))
        changed = await client.next("contract.changed")
        async with second.client() as other:
            assert changed["data"] == {"contract": other.established["data"]["contract"]}
            assert changed["data"]["contract"] != before
            await stack.enter_async_context(running(later))
            # A revocation is published behind the notice, and so comes after it.
            async with first.client(first.token("bob")) as bob:
                await second.service.gateway.revocation.revoke("user_revoked", "acme", "bob")
                assert await bob.closed() == (4401, "token_revoked")
            await fence(client)
            await fence(other)
