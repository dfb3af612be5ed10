"""The face without asyncio: for scripts, threads, Celery and Django. The names are those of the asyncio face."""

from gathering_client.sync.client import Client, connect
from gathering_client.sync.subscription import ItemsSubscription, Subscription

__all__ = ["Client", "ItemsSubscription", "Subscription", "connect"]
