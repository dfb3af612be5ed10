"""Signals of the database that become events."""

from typing import Any
from uuid import uuid4

from django.db import transaction
from django.db.models.signals import post_save
from django.dispatch import receiver

from shop.models import Order
from shop.tasks import publish


@receiver(post_save, sender=Order)
def order_saved(instance: Order, **kwargs: Any) -> None:
    data = {"order": instance.pk, "status": instance.status}
    # The key is made here and once, so the event is delivered once, however often the task runs.
    fields = {"circle_id": instance.circle, "idempotency_key": uuid4().hex}
    # After the commit: what is rolled back is never published.
    transaction.on_commit(lambda: publish.delay("order.saved", data, **fields))
