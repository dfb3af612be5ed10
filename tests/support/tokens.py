"""The tokens of clients under test. `tests.support.forge` makes wrong ones."""

import time
from collections.abc import Iterable
from typing import Any, Final

from auth.keys import KeyRing, hmac_key
from auth.tokens import IssuedToken, TokenIssuer
from tests.support.settings import SECRET

ISSUER: Final = TokenIssuer(KeyRing([hmac_key(SECRET.encode())]), "gathering-gateway", "gathering-gateway")
"""The token issuer of every gateway with `SECRET`."""


def issue(
    user_id: str = "ada",
    tenant: str = "acme",
    rooms: Iterable[str] = ("circle:*", "project:*", "tenant"),
    scope: str = "subscribe publish",
    expires_in: int = 600,
    now: float | None = None,
    issuer: TokenIssuer = ISSUER,
    **more: Any,
) -> IssuedToken:
    """A token, issued `now` or at a time of its own, with its `jti` and its end beside it."""
    return issuer.issue(
        user_id=user_id,
        tenant=tenant,
        rooms=rooms,
        scope=scope.split(),
        expires_in=expires_in,
        now=time.time() if now is None else now,
        **more,
    )


def token(*args: Any, **more: Any) -> str:
    """The text of one, as `issue` makes it."""
    return issue(*args, **more).access_token
