"""The time of issue of a token: one rule for accepting it, revoking it and removing its holder from a room.

`iat` counts whole seconds of the issuer's clock, and that may be up to `CLOCK_SKEW` seconds ahead of ours. A token that
says `iat` was therefore issued somewhere in [`iat` - `CLOCK_SKEW`, `iat` + 1) by our clock. It is accepted from the
beginning of that interval on. A *cutoff* (a revocation of a user or a tenant, or a removal from a room) ends every
token that may have been issued before it, as far as anything shows that the token may:

1. `iat` at or before the cutoff: its second had begun. That ends as well what was issued in the rest of that second,
   which nothing tells apart; a token of the next second is good.
2. The token was shown before the cutoff came, whatever its `iat`: a cutoff reaches as far as the newest `iat` that was
   shown (`reach`).
3. `iat` is ahead of our clock when the token is judged: its issuer's clock is ahead then, and the token may be up to
   `CLOCK_SKEW` older than it says. When its second has come, it is judged by 1 and 2 again.

Ending all with `iat` <= cutoff + `CLOCK_SKEW` would be simpler, and would refuse for their whole life the tokens of an
identity provider with a right clock that users get within 5 s of "sign out everywhere". What is left is a token of a
provider whose clock is ahead, issued seconds before the cutoff and never shown until its own second had come.

Our own issuer need not be guessed at: its tokens name the newest cutoff that it knew of (the claim `cutoff`), and that
one and those before it do not end them, though it be the same second.
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


def reach(through: float, shown: int) -> float:
    """The newest `iat` ended by a cutoff made at `through`, with a token of the `iat` `shown` seen before it."""
    return max(through, min(shown, through + CLOCK_SKEW))


def is_cut_off(identity: Identity, at: float, through: float, now: float) -> bool:
    """Whether a cutoff ends the token of `identity`, checked at `now`.

    `at` is the time of the cutoff, as tokens name it; `through` is the newest `iat` that it ends. All are seconds since
    the epoch.
    """
    if identity.cutoff >= at:
        return False
    return identity.issued_at <= through or now < identity.issued_at <= through + CLOCK_SKEW
