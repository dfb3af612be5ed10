"""Authentication and authorisation: tokens, keys, grants. No I/O and no clock: `now` is an argument."""
