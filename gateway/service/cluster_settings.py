"""The settings of all nodes, compared: those of one node that differ from those of another; and the advice about
each."""

import asyncio
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import scrypt
from hmac import digest
from typing import Any, Final

from pydantic import SecretStr

from gateway.core.cluster import Cluster
from gateway.core.version import VERSION
from gateway.service.advice import advice_about
from gateway.service.config import Settings
from gateway.service.effective_settings import EffectiveSetting, Value, effective_settings

_KIND: Final = "settings"

_SALT: Final = b"gateway-settings:"


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
    """Compares the settings of this node with those of the others. Nodes exchange no secret, but an HMAC of the text
    that the asking node has made up for the question, by a key that takes scrypt to derive: a client that can read what
    nodes publish on Redis could try weak secrets."""

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
            for name, proof in own["proofs"].items():
                if answer["proofs"].get(name, proof) != proof:
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
        fields = zip(described, type(self._settings).model_fields, strict=True)
        hidden = {each.name: getattr(self._settings, field) for each, field in fields if each.secret}
        return {
            "version": VERSION,
            "advice": await advice_about(self._settings),
            "values": {each.name: each.value for each in described if not each.secret},
            "proofs": await asyncio.to_thread(_proofs, hidden, str(question)),
        }


Secret = SecretStr | tuple[SecretStr, ...] | None


def _proofs(hidden: Mapping[str, Secret], question: str) -> dict[str, str | None]:
    """The HMAC of the question by each secret or several of them, by the setting's name; None without one."""
    proofs: dict[str, str | None] = {}
    for name, secret in hidden.items():
        parts = secret if isinstance(secret, tuple) else (secret,)
        texts = [part.get_secret_value() for part in parts if part is not None]
        key = stretched_key(name, json.dumps(texts)) if texts else None
        proofs[name] = None if key is None else digest(key, question.encode(), "sha256").hex()
    return proofs


@lru_cache(maxsize=64)  # more than there are secrets
def stretched_key(name: str, secret: str) -> bytes:
    """A key from the secret of a setting by scrypt (RFC 7914): 16 MiB and some 50 ms, once in a process, and for each
    guess."""
    return scrypt(secret.encode(), salt=_SALT + name.encode(), n=2**14, r=8, p=1)


def _unpacked(packed: Any) -> dict[str, Any]:
    # Answers of an older version have neither proofs nor advice.
    values, proofs = packed["values"], packed.get("proofs", {})
    if not (isinstance(values, dict) and isinstance(proofs, dict)):
        raise TypeError("no settings")
    advice = [str(sentence) for sentence in packed.get("advice", ())]
    return {"version": str(packed["version"]), "advice": advice, "values": values, "proofs": proofs}
