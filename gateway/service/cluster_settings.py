"""The settings of all nodes, compared: those of one node that differ from those of another; and the advice about
each."""

import asyncio
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from hmac import digest
from typing import Any, Final

from pydantic import SecretStr

from gateway.core.cluster import Cluster
from gateway.core.version import VERSION
from gateway.service.advice import advice_about
from gateway.service.config import Settings
from gateway.service.effective_settings import EffectiveSetting, Value, effective_settings

_KIND: Final = "settings"


@dataclass(frozen=True, slots=True)
class ComparedSettings:
    """The settings of this node, and by name the values of the nodes where they are others: None for a secret.
    `versions` are those of the nodes that answered, `advice` has the nodes to which each sentence applies. `silent`
    nodes did not answer, and with `partial` others may be out of reach."""

    settings: list[EffectiveSetting]
    elsewhere: Mapping[str, Mapping[str, Value]]
    versions: Mapping[str, str]
    advice: Mapping[str, list[str]]
    silent: tuple[str, ...]
    partial: bool


class ClusterSettings:
    """Compares the settings of this node with those of the others. Nodes exchange no secret, but an HMAC by it of the
    text that the asking node has made up for the question."""

    def __init__(self, settings: Settings, cluster: Cluster) -> None:
        self._settings = settings
        self._cluster = cluster
        cluster.queries.attach(_KIND, self._answer)

    async def read(self) -> ComparedSettings:
        """The settings as of now."""
        question = secrets.token_hex(16)
        own, asked = await asyncio.gather(self._answer(question), self._cluster.queries.ask(_KIND, None, question))
        others = asked.unpacked(_unpacked)
        elsewhere: dict[str, dict[str, Value]] = {}
        for node, answer in sorted(others.answers.items()):
            for name, value in own["values"].items():
                if (other := answer["values"].get(name, value)) != value:
                    elsewhere.setdefault(name, {})[node] = other
            for name, proof in own["secrets"].items():
                if answer["secrets"].get(name, proof) != proof:
                    elsewhere.setdefault(name, {})[node] = None
        answers = {self._cluster.members.node: own, **dict(sorted(others.answers.items()))}
        advice: dict[str, list[str]] = {}
        for node, answer in answers.items():
            for sentence in answer["advice"]:
                advice.setdefault(sentence, []).append(node)
        versions = {node: answer["version"] for node, answer in answers.items()}
        described = list(effective_settings(self._settings))
        return ComparedSettings(described, elsewhere, versions, advice, others.silent, others.partial)

    async def _answer(self, question: Any) -> dict[str, Any]:
        described = list(effective_settings(self._settings))
        names = zip(described, type(self._settings).model_fields, strict=True)
        return {
            "version": VERSION,
            "advice": await advice_about(self._settings),
            "values": {each.name: each.value for each in described if not each.secret},
            "secrets": {
                each.name: _proof(getattr(self._settings, field), str(question)) for each, field in names if each.secret
            },
        }


def _proof(secret: SecretStr | tuple[SecretStr, ...] | None, question: str) -> str | None:
    """The HMAC of the question by a secret or several of them; None without one."""
    if not secret:
        return None
    parts = secret if isinstance(secret, tuple) else (secret,)
    key = sha256(json.dumps([part.get_secret_value() for part in parts]).encode()).digest()
    return digest(key, question.encode(), "sha256").hex()


def _unpacked(packed: Any) -> dict[str, Any]:
    for part in ("values", "secrets"):
        if not isinstance(packed[part], dict):
            raise TypeError("no settings")
    advice = [str(sentence) for sentence in packed.get("advice", ())]  # absent in answers of an older version
    return {
        "version": str(packed["version"]),
        "advice": advice,
        "values": packed["values"],
        "secrets": packed["secrets"],
    }
