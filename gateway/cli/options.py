"""Options that several commands have."""

from typing import Annotated

import typer

Url = Annotated[str, typer.Option(help="URL of the gateway", envvar="GATEWAY_URL")]
Token = Annotated[str, typer.Option(help="token for the gateway", envvar="GATEWAY_TOKEN", show_envvar=True)]
