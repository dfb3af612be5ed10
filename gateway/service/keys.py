"""The keys of this gateway, from its settings: for tokens, and for cursors."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

from auth.errors import UnusableKey
from auth.keys import Key, hmac_key, private_key, public_key
from gateway.service.config import GENERATE_HINT, ConfigError, Settings

Made = TypeVar("Made")


def token_keys(settings: Settings) -> list[Key]:
    """The keys of tokens issued here; the first that can sign signs, all verify. Raises `ConfigError`.

    Previous and next secrets cannot sign: no node signs with a key that another does not accept yet.
    """
    keys = [make_key("GATEWAY_JWT_PRIVATE_KEYS", private_key, pem) for pem in _private_keys(settings)]
    for name, secret, signs in _secrets(settings):
        key = make_key(name, hmac_key, secret)
        keys.append(key if signs else replace(key, signer=None))
    name = "GATEWAY_JWT_PUBLIC_KEYS"
    return keys + [make_key(name, public_key, _read_file(name, path)) for path in settings.jwt_public_keys]


def cursor_keys(settings: Settings) -> tuple[bytes, ...]:
    """The keys of cursors: the first encrypts, all decrypt. Raises `ConfigError`.

    Derived from all secrets that nodes may have, those of the next rotation included: each node decodes the cursors of
    every other one during a rotation.
    """
    materials = [*_private_keys(settings), *(secret for _, secret, _ in _secrets(settings))]
    if settings.cursor_secret is not None:
        material = settings.cursor_secret.get_secret_value().encode()
        make_key("GATEWAY_CURSOR_SECRET", hmac_key, material)  # refuses a weak one
        materials.insert(0, material)
    return tuple(dict.fromkeys(_cursor_key(material) for material in materials))


def make_key(setting: str, make: Callable[[bytes], Made], material: bytes) -> Made:
    """The result of `make(material)`. Raises `ConfigError` with the setting's name, without the material."""
    try:
        return make(material)
    except UnusableKey as error:
        hint = f"; make one with {GENERATE_HINT}" if "SECRET" in setting else ""
        raise ConfigError(f"{setting}: {error}{hint}") from None


def _private_keys(settings: Settings) -> list[bytes]:
    return [_read_file("GATEWAY_JWT_PRIVATE_KEYS", path) for path in settings.jwt_private_keys]


def _secrets(settings: Settings) -> Iterator[tuple[str, bytes, bool]]:
    """Triples of setting, secret, and whether it may sign."""
    if settings.jwt_secret is not None:
        yield "GATEWAY_JWT_SECRET", settings.jwt_secret.get_secret_value().encode(), True
    for secret in settings.jwt_previous_secrets:
        yield "GATEWAY_JWT_PREVIOUS_SECRETS", secret.get_secret_value().encode(), False
    for secret in settings.jwt_next_secrets:
        yield "GATEWAY_JWT_NEXT_SECRETS", secret.get_secret_value().encode(), False


def _cursor_key(material: bytes) -> bytes:
    return blake2b(blake2b(material).digest(), digest_size=32, person=b"gateway-cursors").digest()


def _read_file(setting: str, path: str) -> bytes:
    """The content of a file named by a setting. Raises `ConfigError`."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{setting}: cannot read {path}: {error.strerror}") from None
