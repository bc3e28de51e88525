"""The Celery application; its settings are the CELERY_ ones of the site."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "charrnn_site.settings")

app = Celery("charrnn")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
