"""Settings of Django and Celery."""

import os

SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY", "for development only")
INSTALLED_APPS = ["shop.apps.ShopConfig"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", "redis://127.0.0.1:6379/0")
# A task is done when it has run, not when it begins: the task of a process that dies runs again.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
