"""What the gateway says to a client of itself and of its refusals."""

from auth.errors import AuthError
from gateway.core.admission import Limits
from gateway.core.connection import Connection
from gateway.core.errors import GatewayError
from schemas import messages
from schemas.events import rfc3339


def established(
    connection: Connection, cursor: str, subscribed: tuple[str, ...], limits: Limits
) -> messages.Established:
    """The first frame of a connection."""
    identity = connection.identity
    return messages.Established(
        connection_id=connection.id,
        client_id=connection.client_id,
        user_id=identity.user_id,
        tenant=identity.tenant,
        rooms=identity.grants.patterns,
        subscribed=subscribed,
        expires_at=rfc3339(identity.expires_at),
        cursor=cursor,
        limits=messages.Limits(
            rooms=limits.rooms,
            message_bytes=limits.message_bytes,
            commands_per_second=limits.commands_per_second,
            command_burst=limits.command_burst,
            events_per_second=connection.rate,
        ),
        ping_interval=limits.ping_interval,
    )


def refusal(error: GatewayError | AuthError) -> messages.Error:
    """The `error` frame for what was refused."""
    rooms = getattr(error, "rooms", None)
    return messages.Error(
        code=error.code,
        message=str(error),
        rooms=tuple(rooms) if rooms else None,
        retry_after=getattr(error, "retry_after", None),
        limit=getattr(error, "limit", None),
    )
