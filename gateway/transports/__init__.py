"""The ways to a client, one driver each, that never know of one another."""
