"""docs/protocol.md names every frame, command, route and scope that there is."""

import pytest

from auth.identity import SCOPES
from gateway.api import create_app, create_service
from schemas.commands import COMMAND_TYPES
from schemas.messages import Message
from tests.documentation.pages import ROOT
from tests.support.settings import settings_for

PAGE = (ROOT / "docs/protocol.md").read_text()
FRAMES = sorted(message.name for message in Message.__subclasses__())


@pytest.mark.parametrize("name", [*FRAMES, *COMMAND_TYPES])
def test_each_frame_and_command_is_named(name: str) -> None:
    """In code type."""
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("message", Message.__subclasses__(), ids=lambda message: message.name)
def test_each_member_of_a_frame_is_named(message: type[Message]) -> None:
    """In a table, in the text or in an example."""
    assert [name for name in message.model_fields if f"`{name}`" not in PAGE and f'"{name}":' not in PAGE] == []


def test_each_route_is_named() -> None:
    """With its path."""
    routes = create_app(create_service(settings_for())).openapi()["paths"]
    assert [path for path in routes if f"{path}`" not in PAGE] == []


def test_each_scope_is_named() -> None:
    """In the table of claims."""
    assert " ".join(SCOPES) in PAGE
