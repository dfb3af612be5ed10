"""The time of issue of a token: one rule for accepting it, revoking it and removing its holder from a room.

`iat` counts whole seconds of the issuer's clock, which may be up to `CLOCK_SKEW` seconds ahead of ours. So a token with
a given `iat` was issued somewhere in [`iat` - `CLOCK_SKEW`, `iat` + 1) by our clock. It is accepted from the beginning
of that interval on. A *cutoff* (a revocation of a user or a tenant, or a removal from a room) ends every token that may
have been issued before it, by these rules:

1. The `iat` is the cutoff's second or an earlier one. This also ends tokens issued in the rest of that second, which
   cannot be distinguished; tokens of the next second are accepted.
2. The token was seen before the cutoff, whatever its `iat`: a cutoff ends tokens up to the newest `iat` that was seen
   (`newest_ended_iat`).
3. The `iat` is ahead of our clock when the token is checked: its issuer's clock is ahead then, and the token may be up
   to `CLOCK_SKEW` older than its `iat`. Once our clock has reached the `iat`, rules 1 and 2 decide.

Ending all tokens with `iat` <= cutoff + `CLOCK_SKEW` would be simpler, but would refuse, for their whole lifetime, the
tokens that users get from a provider with a correct clock within 5 s of "sign out everywhere". One case remains: a
token of a provider whose clock is ahead, issued seconds before the cutoff and not seen until our clock reaches its
`iat`.

Our own issuer needs no such estimate: its tokens name the newest cutoff that it knew of (the claim `cutoff`). That
cutoff and earlier ones do not end them, even within the same second.
"""

from typing import Final

from auth.identity import Identity

CLOCK_SKEW: Final = 5
"""Seconds by which an issuer's clock may be ahead of ours."""


def is_early(second: int, now: float) -> bool:
    """Whether an `iat` or `nbf` is further ahead of `now` than the allowed clock skew."""
    return second > now + CLOCK_SKEW


def is_fresh(iat: int, now: float) -> bool:
    """Whether a cutoff made by `now`, and not received yet, may be before `iat`."""
    return iat > now - CLOCK_SKEW


def newest_ended_iat(through: float, newest_seen: int) -> float:
    """The newest `iat` that a cutoff made at `through` ends, where `newest_seen` is the newest `iat` seen before it."""
    return max(through, min(newest_seen, through + CLOCK_SKEW))


def is_cut_off(identity: Identity, at: float, through: float, now: float) -> bool:
    """Whether a cutoff ends the token of `identity`, checked at `now`.

    `at` is the time of the cutoff, as tokens name it; `through` is the newest `iat` that it ends. All are seconds since
    the epoch.
    """
    if identity.cutoff >= at:
        return False
    return identity.issued_at <= through or now < identity.issued_at <= through + CLOCK_SKEW
