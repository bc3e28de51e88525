"""Paths of pages and sockets."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path, re_path

from charrnn_site.middleware import deny
from generator.sockets.consumer import GenerationConsumer

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("generator.web.urls")),
]

handler400 = "charrnn_site.errors.bad_request"
handler404 = "charrnn_site.errors.not_found"
handler500 = "charrnn_site.errors.server_error"

websocket_urlpatterns = [
    path("ws/generations/<str:generation_id>/", GenerationConsumer.as_asgi()),
    re_path("", deny),  # type: ignore[arg-type] # without a last route an unknown path is a 500
]
