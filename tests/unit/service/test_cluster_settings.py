"""The comparison of settings between nodes: what they say of their secrets."""

from hashlib import scrypt
from typing import Any

import pytest
from pydantic import SecretStr

from gateway.cluster.local import LocalCluster
from gateway.service import cluster_settings
from gateway.service.cluster_settings import ClusterSettings
from tests.support.settings import settings_for

SHARED = SecretStr("the same secret, 0123456789012345")


class Questions:
    """The questions of a cluster, as another node asks them."""

    def __init__(self) -> None:
        self.kinds: dict[str, Any] = {}

    def attach(self, kind: str, answer: Any) -> None:
        self.kinds[kind] = answer


async def proofs_of(question: str, **values: Any) -> dict[str, str]:
    """The proofs in the answer of a node with these settings."""
    cluster, questions = LocalCluster(), Questions()
    cluster.queries = questions  # type: ignore[assignment]
    ClusterSettings(settings_for(**values), cluster)
    answer = await questions.kinds["settings"](question)
    return {name: proof for name, proof in answer["proofs"].items() if proof is not None}


async def test_a_guess_at_a_secret_takes_memory_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """16 MiB of scrypt, for each secret that is set; once, however often a node is asked."""
    costs: list[dict[str, int]] = []

    def recorded(secret: bytes, *, salt: bytes, **cost: int) -> bytes:
        costs.append(cost)
        return scrypt(secret, salt=salt, **cost)

    monkeypatch.setattr(cluster_settings, "scrypt", recorded)
    cluster_settings.stretched_key.cache_clear()
    found = [
        await proofs_of(f"question {number}", metrics_token=SHARED, jwt_previous_secrets=(SHARED,)) for number in (1, 2)
    ]
    named = ["GATEWAY_JWT_PREVIOUS_SECRETS", "GATEWAY_JWT_SECRET", "GATEWAY_METRICS_TOKEN"]
    assert [sorted(each) for each in found] == [named] * 2
    assert len(costs) == len(named)
    assert all(128 * cost["n"] * cost["r"] >= 16 * 2**20 for cost in costs)
    assert not found[0].items() & found[1].items()


async def test_the_same_secret_has_the_same_proof_for_the_same_setting_alone() -> None:
    one = await proofs_of("q", cursor_secret=SHARED, metrics_token=SHARED)
    other = await proofs_of("q", cursor_secret=SHARED)
    assert one["GATEWAY_CURSOR_SECRET"] == other["GATEWAY_CURSOR_SECRET"] != one["GATEWAY_METRICS_TOKEN"]
    assert "GATEWAY_METRICS_TOKEN" not in other
