"""The face for asyncio; the names are those of the synchronous face."""

from gathering_client.aio.client import Client, connect
from gathering_client.aio.subscription import ItemsSubscription, Subscription

__all__ = ["Client", "ItemsSubscription", "Subscription", "connect"]
