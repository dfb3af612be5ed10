"""Answers to clients that connect while Redis does not answer."""

import pytest

from tests.support.oracle import stage
from tests.support.pauses import until
from tests.support.redis import RedisServer


@pytest.mark.parametrize("dead", [False, True], ids=["stalled", "killed"])
async def test_new_clients_meanwhile_are_notified_as_the_others_were(
    server: RedisServer, prefix: str, dead: bool
) -> None:
    """`stream.degraded` right after the first frame, once, and `stream.restored` when it is over; who comes after that
    hears of neither."""
    async with stage(server.url, prefix=prefix) as nodes:
        gate, before = nodes.gates[0], nodes.readers[0]
        async with gate.client() as earlier:
            (server.kill if dead else server.stall)()
            degraded = await earlier.next("stream.degraded")
            async with gate.client(query="&rooms=tenant") as later:
                assert (await later.next("stream.degraded"))["data"] == degraded["data"]
                assert (await later.next("subscribed"))["data"]["rooms"] == ["tenant"]
                await later.quiet()
                if dead:
                    await server.start()
                else:
                    server.go_on()
                frames = [await later.next()]
                while frames[-1]["type"] != "stream.restored":
                    frames.append(await later.next())
                # # A Redis that lost its memory is a gap, which is reported separately.
                assert {frame["type"] for frame in frames[:-1]} <= {"stream.gap"}
                assert frames[-1]["data"] == degraded["data"]
        await until(lambda: bool(before.of("stream.restored")))
        assert [frame["data"] for frame in before.of("stream.degraded", "stream.restored")] == [degraded["data"]] * 2
        async with gate.client() as after:
            await after.quiet()
