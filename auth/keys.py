"""Keys that sign and verify tokens, and the key ring of one issuer."""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_private_key, load_pem_public_key

from auth.errors import UnusableKey, WeakKey
from auth.jwk import Algorithm, Jwk, PublicMaterial, algorithm_of, material_of, members_of, thumbprint_of

PrivateMaterial = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey

_MIN_SECRET: Final = 32
"""Bytes; RFC 7518 section 3.2: an HS256 key is at least as long as the hash."""
_MIN_DISTINCT: Final = 8
_MAX_PERIOD: Final = 16
_MAX_KEYS: Final = 64
"""Maximum keys of one set; a token without a `kid` is tried against each."""
_MAX_KID: Final = 256


@dataclass(frozen=True, slots=True, eq=False)
class Key:
    """One key, bound to one algorithm (RFC 8725 section 3.1).

    `material` verifies: the secret of HS256, else a public key. `signer` signs: the secret, a private key, or None.
    """

    kid: str
    algorithm: Algorithm
    material: bytes | PublicMaterial = field(repr=False)
    signer: bytes | PrivateMaterial | None = field(default=None, repr=False)

    @property
    def can_sign(self) -> bool:
        """Whether tokens can be issued with this key."""
        return self.signer is not None


class KeySource(Protocol):
    """A source of one issuer's keys, which may change while the process runs."""

    def candidates(self, kid: str | None, algorithm: str) -> Sequence[Key]:
        """The keys that a token's header may mean, of exactly this algorithm; all of those for `kid` None.

        Never blocks and never raises: `kid` and `algorithm` come from an unverified header.
        """


class KeyRing:
    """One issuer's keys, newest first. The newest key that can sign signs, all verify, so that keys can be rotated."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = tuple(keys)
        index: dict[tuple[str | None, str], tuple[Key, ...]] = {}
        for key in self._keys:
            for kid in (key.kid, None):
                index[kid, key.algorithm] = (*index.get((kid, key.algorithm), ()), key)
        self._index = index

    def candidates(self, kid: str | None, algorithm: str) -> Sequence[Key]:
        """The keys to try, as in KeySource."""
        return self._index.get((kid, algorithm), ())

    def signing(self) -> tuple[Key, bytes | PrivateMaterial]:
        """The signing key and its private material; UnusableKey if there is none."""
        for key in self._keys:
            if key.signer is not None:
                return key, key.signer
        raise UnusableKey("none of the keys can sign")

    def jwks(self) -> dict[str, list[Jwk]]:
        """The public keys as a JWK Set, without HS256 keys, which have no public part."""
        return {
            "keys": [
                {**members_of(key.material), "kid": key.kid, "alg": key.algorithm, "use": "sig"}
                for key in self._keys
                if not isinstance(key.material, bytes)
            ]
        }


class SharedSecrets:
    """A KeySource of secrets shared with another issuer, and of its `public` keys.

    A secret is tried for every `kid`, whose value is the issuer's choice.
    """

    def __init__(self, secrets: Sequence[Key], public: KeySource | None = None) -> None:
        self._secrets = tuple(secrets)
        self._public = public

    def candidates(self, kid: str | None, algorithm: str) -> Sequence[Key]:
        """The keys to try, as in KeySource."""
        if algorithm == "HS256":
            return self._secrets
        return () if self._public is None else self._public.candidates(kid, algorithm)


def hmac_key(secret: str | bytes) -> Key:
    """An HS256 key of at least 32 bytes. Raises WeakKey, or UnusableKey for another kind of key."""
    secret = secret.encode() if isinstance(secret, str) else secret
    if len(secret) < _MIN_SECRET:
        raise WeakKey(f"the secret holds {len(secret)} bytes and needs {_MIN_SECRET} or more")
    if len(set(secret)) < _MIN_DISTINCT or any(secret[n:] == secret[:-n] for n in range(1, _MAX_PERIOD + 1)):
        raise WeakKey("the secret repeats itself and so is easy to guess")
    if _is_another_key(secret):
        raise UnusableKey("the secret is a public or private key, a certificate or a JWK")
    # The space separates it from signatures, whose input has none. 64 bits identify a key, and reveal no more of the
    # secret than any token does.
    kid = hmac.digest(secret, b"gathering-gateway kid", "sha256")[:8].hex()
    return Key(kid, "HS256", secret, secret)


def private_key(pem: bytes) -> Key:
    """A signing key from an unencrypted PEM: RSA, P-256 or Ed25519. Raises UnusableKey, WeakKey."""
    try:
        signer = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it is encrypted
        raise UnusableKey("not an unencrypted private key in PEM") from None
    if not isinstance(signer, PrivateMaterial):
        raise UnusableKey("a signing key is RSA, EC on P-256 or Ed25519")
    material = signer.public_key()
    return _asymmetric_key(material, signer)


def public_key(pem: bytes) -> Key:
    """A verifying key from a PEM: RSA, P-256 or Ed25519. Raises UnusableKey, WeakKey."""
    try:
        material = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKey("not a public key in PEM") from None
    if not isinstance(material, PublicMaterial):
        raise UnusableKey("a verifying key is RSA, EC on P-256 or Ed25519")
    return _asymmetric_key(material)


def keys_from_jwks(jwks: object) -> list[Key]:
    """The usable keys of a decoded JWK Set.

    Keys of other kinds, uses or forms, and those without a `kid`, are ignored (RFC 7517 section 5): above all a shared
    secret (`kty` "oct"), since the set is public. Raises UnusableKey for other values than a JWK Set.
    """
    members = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(members, list):
        raise UnusableKey("not a JWK Set: an object with the list keys")
    keys = (_key_from_jwk(jwk) for jwk in members[:_MAX_KEYS] if isinstance(jwk, dict))
    return [key for key in keys if key is not None]


def _key_from_jwk(jwk: Mapping[str, object]) -> Key | None:
    kid, use, operations = jwk.get("kid"), jwk.get("use", "sig"), jwk.get("key_ops", ["verify"])
    if not isinstance(kid, str) or not 0 < len(kid) <= _MAX_KID or use != "sig":
        return None
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    try:
        material = material_of(jwk)
        algorithm = algorithm_of(material)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return Key(kid, algorithm, material) if jwk.get("alg", algorithm) == algorithm else None


def _asymmetric_key(material: PublicMaterial, signer: PrivateMaterial | None = None) -> Key:
    algorithm = algorithm_of(material)  # first, since it refuses keys without a thumbprint here
    return Key(thumbprint_of(material), algorithm, material, signer)


def _is_another_key(secret: bytes) -> bool:
    """Whether `secret` is text or DER of an asymmetric key or of a JWK (key confusion)."""
    if secret.lstrip().startswith((b"-----BEGIN", b"ssh-", b"ecdsa-sha2-")) or b'"kty"' in secret:
        return True
    try:
        load_der_public_key(secret)
    except (ValueError, UnsupportedAlgorithm):
        return False
    return True
