"""Errors and warnings of the commands, and the exit status."""

import sys
from typing import NoReturn

import typer

from gateway.service.config import ConfigError, Settings, load_settings


class ClientError(Exception):
    """A failed client command: one line for the user, without a token. A later attempt may succeed where it is
    `temporary`."""

    def __init__(self, message: str, temporary: bool = False) -> None:
        super().__init__(message)
        self.temporary = temporary


def fail(error: object) -> NoReturn:
    """Print one line to stderr, and exit with status 2."""
    print(f"gateway: {error}", file=sys.stderr)
    raise typer.Exit(2)


def warn(text: object) -> None:
    """Print one line to stderr."""
    print(f"gateway: warning: {text}", file=sys.stderr)


def configured() -> Settings:
    """The settings; exits with an error where they are invalid."""
    try:
        return load_settings()
    except ConfigError as error:
        fail(error)
