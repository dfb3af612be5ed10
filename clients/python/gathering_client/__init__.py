"""Client of the gathering gateway: follow rooms and publish events, from asyncio or (`gathering_client.sync`) without.

async with connect("https://gateway.example.com", token=get_token) as client:
    async for event in client.subscribe("circle:7"):
        if isinstance(event, Gap):
            await load_everything_again()
        else:
            print(event.type, event.data)
"""

from gathering_client.actions import StateChange
from gathering_client.aio import Client, ItemsSubscription, Subscription, connect
from gathering_client.drafts import Draft, Receipt
from gathering_client.errors import Closed, GatewayError, Refused, RoomsRevoked, TokenRefused, Unreachable
from gathering_client.events import Cursor, Event, EventType, Gap, Snapshot
from gathering_client.freshness import Freshness
from gathering_client.items import Item, Items
from gathering_client.version import VERSION as __version__

__all__ = [
    "Client",
    "Closed",
    "Cursor",
    "Draft",
    "Event",
    "EventType",
    "Freshness",
    "Gap",
    "GatewayError",
    "Item",
    "Items",
    "ItemsSubscription",
    "Receipt",
    "Refused",
    "RoomsRevoked",
    "Snapshot",
    "StateChange",
    "Subscription",
    "TokenRefused",
    "Unreachable",
    "__version__",
    "connect",
]
