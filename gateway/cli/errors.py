"""Errors of the commands, and how they end them."""

import sys
from typing import NoReturn

import typer

from gateway.service.config import ConfigError, Settings, load_settings


class ClientError(Exception):
    """A failed client command: one line for the user, with no token in it."""


def fail(error: object) -> NoReturn:
    """End with one line on the error output, and status 2."""
    print(f"gateway: {error}", file=sys.stderr)
    raise typer.Exit(2)


def configured() -> Settings:
    """The settings; ends where they cannot be read."""
    try:
        return load_settings()
    except ConfigError as error:
        fail(error)
