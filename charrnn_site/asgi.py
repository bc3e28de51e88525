"""The ASGI application: pages by Django, sockets by Channels."""

from __future__ import annotations

import gc
import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "charrnn_site.settings")
django.setup(set_prefix=False)  # before anything that needs the app registry

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.sessions import CookieMiddleware  # noqa: E402
from django.conf import settings  # noqa: E402

from charrnn_site.middleware import BasePath, SameOriginSockets  # noqa: E402
from charrnn_site.pages import Pages  # noqa: E402
from charrnn_site.urls import websocket_urlpatterns  # noqa: E402

application = BasePath(
    ProtocolTypeRouter(
        {
            "http": Pages(),
            "websocket": SameOriginSockets(CookieMiddleware(URLRouter(websocket_urlpatterns))),
        }
    ),
    settings.BASE_PATH,
)

# What is loaded by now stays loaded. Each collection that looks through it would stop every socket
# for a tenth of a second.
gc.collect()
gc.freeze()
