"""Wiring of the site: environment, settings, ASGI and Celery."""

from charrnn_site.celery import app as celery_app

__all__ = ["celery_app"]
