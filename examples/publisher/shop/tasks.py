"""Celery tasks."""

import os
from typing import Any

from celery import Task, shared_task

from gathering_client import GatewayError
from gathering_client.sync import connect

# Connects when it is used, so each process of the worker has connections of its own.
gateway = connect(os.environ["GATEWAY_URL"], token=os.environ["GATEWAY_TOKEN"])


@shared_task(bind=True, max_retries=10)
def publish(self: Task, event: str, data: dict[str, Any], **fields: Any) -> None:
    """Publish an event; tried again for some minutes while the gateway cannot take it."""
    try:
        gateway.publish(event, data, patience=5, **fields)
    except GatewayError as error:
        if not error.temporary:  # a refusal, such as a room that the token does not grant
            raise
        raise self.retry(exc=error, countdown=min(60, 2**self.request.retries)) from None
