"""Errors of the client commands."""


class ClientError(Exception):
    """What went wrong, in one line and with no token in it."""
