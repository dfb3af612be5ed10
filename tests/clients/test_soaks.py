"""Both clients over a network and gateways that fail at random: nothing is missing without a gap, nothing comes twice,
and what was published is in the log once."""

import random
from pathlib import Path

import pytest

from tests.clients import javascript_followers, python_followers
from tests.clients.soak import Following, soak
from tests.support.nodejs import needs_websocket
from tests.support.redis import RedisServer

BOTH = pytest.mark.parametrize(
    "following",
    [
        pytest.param(javascript_followers.following, id="javascript", marks=needs_websocket),
        pytest.param(python_followers.following, id="python"),
    ],
)


def drawn() -> int:
    """A seed, which is printed."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    return seed


@BOTH
async def test_a_short_soak(following: Following, tmp_path: Path) -> None:
    await soak(following, tmp_path / "gateway", 12.0, 1)


@BOTH
@pytest.mark.chaos
@pytest.mark.timeout(1_800)
async def test_a_long_soak(following: Following, tmp_path: Path) -> None:
    await soak(following, tmp_path / "gateway", 600.0, drawn())


@BOTH
@pytest.mark.chaos
@pytest.mark.timeout(1_800)
async def test_a_long_soak_on_redis(following: Following, server: RedisServer, prefix: str, tmp_path: Path) -> None:
    await soak(following, tmp_path / "gateway", 600.0, drawn(), log_url=server.url, redis_prefix=prefix)
