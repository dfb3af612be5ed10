"""A Django project whose orders are published by a Celery task."""

from shop.celery import app as celery_app

__all__ = ["celery_app"]
