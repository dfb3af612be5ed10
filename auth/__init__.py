"""Who a client is and what it may do: tokens, keys, grants, revocation. No I/O, no clock: `now` comes in."""
