"""Public keys, the one algorithm of each, and their JWK form (RFC 7517, 7518, 7638, 8037)."""

import hashlib
import json
from collections.abc import Mapping
from typing import Final, Literal

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from jwt.algorithms import get_default_algorithms

from auth import base64url
from auth.errors import UnusableKey, WeakKey

Algorithm = Literal["HS256", "RS256", "ES256", "EdDSA"]
PublicMaterial = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey
Jwk = dict[str, str]

_RSA_BITS: Final = range(2048, 8192 + 1)
"""The lower bound is of RFC 7518 section 3.3; above the upper one verification is slow enough for an attack."""
_MAX_EXPONENT_BITS: Final = 32
_MEMBERS: Final = ("crv", "e", "kty", "n", "x", "y")


# Not `PyJWK.from_dict`: it accepts non-canonical base64url, other kinds and curves, and builds the private key if a set
# has one by mistake. Checks around it would be longer than this.
def material_of(jwk: Mapping[str, object]) -> PublicMaterial:
    """The public key of a decoded JWK; private members are ignored. Raises ValueError, UnsupportedAlgorithm."""
    match jwk:
        case {"kty": "RSA", "n": str(n), "e": str(e)}:
            return RSAPublicNumbers(e=_integer(e), n=_integer(n)).public_key()
        case {"kty": "EC", "crv": "P-256", "x": str(x), "y": str(y)}:
            return EllipticCurvePublicNumbers(_integer(x), _integer(y), SECP256R1()).public_key()
        case {"kty": "OKP", "crv": "Ed25519", "x": str(x)}:
            return Ed25519PublicKey.from_public_bytes(base64url.decode(x))
    raise UnusableKey("not a key of a supported kind")


def algorithm_of(material: PublicMaterial) -> Algorithm:
    """The one algorithm for `material`. Raises UnusableKey, WeakKey."""
    if isinstance(material, Ed25519PublicKey):
        return "EdDSA"
    if isinstance(material, EllipticCurvePublicKey):
        if not isinstance(material.curve, SECP256R1):
            raise UnusableKey("a key on an elliptic curve is on P-256")
        return "ES256"
    if material.key_size not in _RSA_BITS or material.public_numbers().e.bit_length() > _MAX_EXPONENT_BITS:
        raise WeakKey(f"an RSA key has {_RSA_BITS[0]} to {_RSA_BITS[-1]} bits and an exponent that fits in 32")
    return "RS256"


def members_of(material: PublicMaterial) -> Jwk:
    """The required members of the key's JWK, and no others (RFC 7638 section 3.2)."""
    jwk = get_default_algorithms()[algorithm_of(material)].to_jwk(material, as_dict=True)
    return {name: jwk[name] for name in _MEMBERS if name in jwk}


def thumbprint_of(material: PublicMaterial) -> str:
    """The key's RFC 7638 thumbprint: the same `kid` on every node and after every restart."""
    canonical = json.dumps(members_of(material), separators=(",", ":"), sort_keys=True)
    return base64url.encode(hashlib.sha256(canonical.encode()).digest())


def _integer(text: str) -> int:
    return int.from_bytes(base64url.decode(text), "big")
